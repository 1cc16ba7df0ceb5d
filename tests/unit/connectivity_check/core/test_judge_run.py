"""What holds for a whole run, and the exit code it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectivity_check.core.analyze import judge
from connectivity_check.core.judge_run import exit_code
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    BlockerKind,
    Confidence,
    ConsumerPath,
    Finding,
    Observation,
    Outcome,
    PathKind,
    PathSettings,
    Recording,
    Report,
    Role,
    Row,
    Scope,
    Step,
)
from tests.unit.connectivity_check.core.cases import (
    ADDRESS,
    HOST,
    RESOLVER,
    TARGET,
    VIA,
    WELL,
    answered,
    connected,
    resolved,
    saw,
    shaken,
    target,
)

Chain = tuple[Observation, ...]


def run_findings(*chains: Chain, shared: Chain = (), path: PathSettings | None = None) -> tuple[Finding, ...]:
    """Give what is found of a run whose rows saw these chains, each for a host of its own."""
    targets = tuple(target(f"h{n}.test") for n in range(len(chains)))
    return judge(Recording(targets, chains, shared, path=path or PathSettings())).findings


def one(found: Sequence[Finding]) -> Finding:
    """Give the only finding."""
    assert len(found) == 1, found
    return found[0]


MUTE_RESOLVER = resolved(seen=Seen.TIMEOUT)
SILENT = (WELL[0], connected(seen=Seen.TIMEOUT))
REFUSED = (WELL[0], connected(seen=Seen.CONNECTION_REFUSED))


def test_no_resolver_answers() -> None:
    found = one(run_findings((MUTE_RESOLVER,), (resolved(seen=Seen.NETWORK_UNREACHABLE),)))
    assert found.failure is Failure.DNS_TIMEOUT
    assert found.blocked_by.kind is BlockerKind.RESOLVER
    assert found.blocked_by.address == RESOLVER
    assert found.scope is Scope.ALL
    assert found.confidence is Confidence.CERTAIN


def test_no_connection_is_answered() -> None:
    found = one(run_findings(SILENT, SILENT))
    assert found.failure is Failure.META_UNEXPLAINED
    assert found.severity is Severity.UNKNOWN
    assert found.scope is Scope.ALL
    assert found.reasons == ("none of 2 connections was answered",)


@pytest.mark.parametrize(
    "chains",
    [
        pytest.param((WELL, (MUTE_RESOLVER,)), id="one row passes"),
        pytest.param(((*WELL[:3], replace(answered(), took_s=3.0)), SILENT), id="one row passes slowly"),
        pytest.param(((MUTE_RESOLVER,), (resolved(seen=Seen.DNS_NXDOMAIN),)), id="a resolver says no"),
        pytest.param((SILENT, REFUSED), id="somebody refuses"),
        pytest.param(((*WELL[:2], shaken(Seen.CONNECTION_RESET)), SILENT), id="somebody accepts"),
        pytest.param(((), ()), id="nothing was tried"),
        pytest.param(((), (saw(Step.RESOLVE, Seen.TIMEOUT, Role.RETRY),)), id="controls alone were tried"),
        pytest.param(
            ((saw(Step.PROXY_CONNECT, Seen.PROXY_STATUS, Role.PROBE, VIA, status=403),),),
            id="a proxy answers",
        ),
        pytest.param((), id="no rows"),
    ],
)
def test_something_worked(chains: tuple[Chain, ...]) -> None:
    assert run_findings(*chains) == ()


def test_a_resolver_that_rewrites() -> None:
    name = resolved("20.0.6.6", "20.0.6.7", role=Role.RANDOM_NAME, name="q9x8.vendor.example")
    found = one(run_findings(WELL, shared=(resolved(seen=Seen.DNS_NXDOMAIN, role=Role.RANDOM_NAME), name)))
    assert found.failure is Failure.DNS_NX_REWRITE
    assert found.severity is Severity.WARNING
    assert found.blocked_by.address == RESOLVER
    assert found.reasons == ("q9x8.vendor.example, which does not exist, resolves to 20.0.6.6, 20.0.6.7",)


def test_a_resolver_that_does_not_rewrite() -> None:
    assert run_findings(WELL, shared=(resolved(seen=Seen.DNS_NXDOMAIN, role=Role.RANDOM_NAME),)) == ()


def dated(skew_s: float) -> Chain:
    """Give a row that passes and whose answer tells the time."""
    return (*WELL[:3], answered(skew_s=skew_s))


@pytest.mark.parametrize(
    ("skews", "words"),
    [
        ((4000.0, 4001.0), "2 hosts tell the time; this clock is 4001 s behind"),
        ((-4000.0, -4001.0, 0.0), "3 hosts tell the time; this clock is 4000 s ahead"),
    ],
)
def test_a_wrong_clock(skews: tuple[float, ...], words: str) -> None:
    found = one(run_findings(*map(dated, skews)))
    assert found.failure is Failure.CLOCK_SKEW
    assert found.severity is Severity.WARNING
    assert found.blocked_by.kind is BlockerKind.HOST
    assert found.reasons == (words,)


@pytest.mark.parametrize(
    "skews", [(4000.0,), (299.0, 299.0), (4000.0, 4000.0, 1.0, 1.0), (4000.0, 0.0, 0.0)], ids=str
)
def test_a_clock_that_not_most_hosts_call_wrong(skews: tuple[float, ...]) -> None:
    assert run_findings(*map(dated, skews)) == ()


def ways(*consumers: tuple[str, PathKind, str]) -> PathSettings:
    """Give the settings of a device with these consumers."""
    return PathSettings(consumers=tuple(ConsumerPath(*each, source="registry") for each in consumers))


def test_consumers_that_are_told_different_ways() -> None:
    told = ways(
        ("sensor", PathKind.PROXY, "http://a.test:3128"),
        ("antivirus", PathKind.DIRECT, ""),
        ("user", PathKind.PAC, "http://wpad/wpad.dat"),
    )
    found = one(run_findings(WELL, path=told))
    assert found.failure is Failure.PROXY_CONSUMER_CONFLICT
    assert found.blocked_by.kind is BlockerKind.HOST
    assert found.reasons == (
        "sensor: proxy http://a.test:3128 (registry)",
        "antivirus: direct (registry)",
        "user: pac http://wpad/wpad.dat (registry)",
    )


@pytest.mark.parametrize(
    "told",
    [
        ways(),
        ways(("sensor", PathKind.DIRECT, "")),
        ways(("sensor", PathKind.DIRECT, ""), ("user", PathKind.DIRECT, "")),
        ways(("a", PathKind.PROXY, "http://P.test:8080"), ("b", PathKind.PROXY, "http://p.test:8080")),
    ],
)
def test_consumers_that_agree(told: PathSettings) -> None:
    assert run_findings(WELL, path=told) == ()


VIA_HEADER = {"header": "Via", "sent": "", "got": "1.1 gw\n"}
CASE = {"header": "X-Test", "sent": "a", "got": "b"}


@pytest.mark.parametrize(
    ("changed", "box"), [([VIA_HEADER, CASE], "1.1 gw\n"), ([CASE], ""), ([CASE, {"header": 5}], "")]
)
def test_headers_that_were_changed(changed: list[dict[str, Any]], box: str) -> None:
    echo = answered(role=Role.HEADER_ECHO, tampered=changed)
    found = one(run_findings(WELL, shared=(answered(role=Role.HEADER_ECHO, tampered=[]), echo)))
    assert found.failure is Failure.HTTP_HEADER_TAMPER
    assert found.severity is Severity.WARNING
    assert found.blocked_by.kind is BlockerKind.PROXY
    assert found.blocked_by.name == box
    assert "X-Test: sent 'a', got 'b'" in found.reasons[0]
    assert "\n" not in found.reasons[0]


@pytest.mark.parametrize("changed", [[], None, "X-Test", 5, ["X-Test"]])
def test_headers_that_were_not_changed(changed: object) -> None:
    assert run_findings(WELL, shared=(answered(role=Role.HEADER_ECHO, tampered=changed),)) == ()


def row(outcome: Outcome, *, required: bool = True) -> Row:
    """Give a judged row."""
    return Row(replace(TARGET, required=required), outcome)


OK, BAD, ODD, BLIND, OPEN = (
    row(each)
    for each in (
        Outcome.REACHABLE,
        Outcome.BLOCKED,
        Outcome.DEGRADED,
        Outcome.NOT_PROBEABLE,
        Outcome.UNEXPLAINED,
    )
)
OPTIONAL = row(Outcome.BLOCKED, required=False)
NOT_MEASURED = Finding(Failure.DNS_TIMEOUT, Step.RESOLVE, (), scope=Scope.ALL)
PORTAL = Finding(Failure.HTTP_CAPTIVE_PORTAL, Step.CONNECT, (), scope=Scope.ALL)
ONE_ROW = Finding(Failure.META_UNEXPLAINED, Step.CONNECT, (), scope=Scope.ENDPOINT)


@pytest.mark.parametrize(
    ("rows", "findings", "code", "strict"),
    [
        pytest.param((OK,), (), 0, 0, id="open"),
        pytest.param((OK, BAD), (), 1, 1, id="one blocked"),
        pytest.param((OK, ODD), (), 0, 1, id="one degraded"),
        pytest.param((OK, OPTIONAL), (), 0, 0, id="an optional one blocked"),
        pytest.param((OPTIONAL,), (), 0, 0, id="nothing required"),
        pytest.param((), (), 0, 0, id="no rows"),
        pytest.param((OK, OPEN), (), 3, 3, id="one unexplained"),
        pytest.param((OPEN, BAD), (), 1, 1, id="one unexplained and one blocked"),
        pytest.param((OPEN, ODD), (), 3, 1, id="one unexplained and one degraded"),
        pytest.param((OK, BLIND), (), 0, 0, id="one that cannot be tried"),
        pytest.param((BLIND, BLIND), (), 3, 3, id="none that can be tried"),
        pytest.param((BAD,), (NOT_MEASURED,), 3, 3, id="nothing was measured"),
        pytest.param((BAD,), (replace(ONE_ROW, scope=Scope.ALL),), 3, 3, id="nothing answered"),
        pytest.param((BAD,), (ONE_ROW,), 1, 1, id="a finding of one row"),
        pytest.param((BAD,), (PORTAL,), 1, 1, id="another finding of all"),
    ],
)
def test_exit_code(rows: tuple[Row, ...], findings: tuple[Finding, ...], code: int, strict: int) -> None:
    report = Report(Recording((), ()), rows, findings)
    assert exit_code(report) == code
    assert exit_code(report, strict=True) == strict


def test_a_dead_network_ends_with_3_though_its_rows_are_blocked() -> None:
    report = judge(Recording((target(HOST),), ((MUTE_RESOLVER,),)))
    assert report.rows[0].outcome is Outcome.BLOCKED
    assert exit_code(report) == 3


def test_a_mute_address_ends_with_3() -> None:
    assert exit_code(judge(Recording((TARGET,), ((resolved(ADDRESS), SILENT[1]),)))) == 3
