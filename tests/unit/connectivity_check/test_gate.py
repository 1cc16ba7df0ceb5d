"""What a report means for a script."""

from __future__ import annotations

import pytest

from connectivity_check.failure import Failure
from connectivity_check.gate import Code, exit_code, line
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Finding,
    Outcome,
    Recording,
    Report,
    Row,
    Scope,
    Target,
)

GOOD, DEGRADED, BLOCKED = Outcome.REACHABLE, Outcome.DEGRADED, Outcome.BLOCKED
SKIPPED, UNEXPLAINED = Outcome.NOT_PROBEABLE, Outcome.UNEXPLAINED


def row(outcome: Outcome, *, required: bool = True, partial: bool = False, host: str = "a.example") -> Row:
    bad = outcome in (BLOCKED, UNEXPLAINED)
    blocker = Blocker(BlockerKind.FIREWALL, "192.0.2.1")
    finding = Finding(Failure.TCP_ICMP_ADMIN, None, ("said so",), blocked_by=blocker) if bad else None
    return Row(Target(1, host, host, required=required), outcome, finding=finding, partial=partial)


def report(*rows: Row, findings: tuple[Finding, ...] = (), interrupted: bool = False) -> Report:
    return Report(Recording((), (), took_s=2.14), rows, findings, interrupted)


def whole(failure: Failure, scope: Scope = Scope.ALL) -> Finding:
    return Finding(failure, None, ("every row says so",), scope=scope)


OPTIONAL = row(BLOCKED, required=False)


@pytest.mark.parametrize(("rows", "strict", "expected"), [
    ((row(GOOD), row(GOOD)), False, Code.OPEN),
    ((row(GOOD), OPTIONAL), True, Code.OPEN),
    ((row(GOOD), row(BLOCKED)), False, Code.BLOCKED),
    ((row(GOOD), row(SKIPPED)), True, Code.OPEN),
    ((row(GOOD), row(DEGRADED)), False, Code.OPEN),
    ((row(GOOD), row(DEGRADED)), True, Code.BLOCKED),
    ((row(GOOD), row(DEGRADED, required=False)), True, Code.OPEN),
    ((row(GOOD), row(UNEXPLAINED)), False, Code.UNKNOWN),
    ((row(GOOD), row(UNEXPLAINED, required=False)), False, Code.OPEN),
    ((row(UNEXPLAINED), row(BLOCKED)), False, Code.BLOCKED),
    ((), False, Code.UNKNOWN),
    ((row(SKIPPED),), False, Code.UNKNOWN),
    ((row(GOOD, required=False),), False, Code.UNKNOWN),
])  # fmt: skip
def test_exit_codes(rows: tuple[Row, ...], strict: bool, expected: Code) -> None:
    assert exit_code(report(*rows), strict=strict) is expected


def test_a_run_that_somebody_stopped_is_never_a_verdict() -> None:
    for rows in ((row(GOOD),), (row(BLOCKED),)):
        assert exit_code(report(*rows, interrupted=True), stopped=True) is Code.UNKNOWN


@pytest.mark.parametrize("failure", [Failure.DNS_TIMEOUT, Failure.META_UNEXPLAINED])
def test_without_a_network_nothing_was_measured(failure: Failure) -> None:
    blocked = row(BLOCKED)
    assert exit_code(report(blocked, findings=(whole(failure),))) is Code.UNKNOWN
    assert exit_code(report(blocked, findings=(whole(failure, Scope.SEVERAL),))) is Code.BLOCKED


def test_a_firewall_that_drops_everything_is_a_verdict() -> None:
    assert exit_code(report(row(BLOCKED), findings=(whole(Failure.TCP_DROPPED),))) is Code.BLOCKED


def test_the_line_when_open() -> None:
    found = report(row(GOOD), row(DEGRADED), row(SKIPPED), OPTIONAL)
    assert line(found, Code.OPEN) == "open: 2 of 2 required endpoints reachable (2.1 s)"
    assert line(found, Code.OPEN, kept="r.json").endswith("; see r.json")


def test_the_line_when_blocked_names_the_first_and_who_blocks_it() -> None:
    found = report(
        row(GOOD), row(DEGRADED), row(UNEXPLAINED, host="b.example"), row(BLOCKED, host="c.example")
    )
    assert line(found, Code.BLOCKED, kept="r.json") == (
        "blocked: 2 of 4 required endpoints (2.1 s); first: c.example:443 tcp.icmp_admin by firewall 192.0.2.1; see r.json"
    )


def test_with_strictness_a_warning_blocks() -> None:
    found = report(row(GOOD), row(DEGRADED, host="b.example"))
    assert line(found, Code.BLOCKED, strict=True) == (
        "blocked: 1 of 2 required endpoints (2.1 s); first: b.example:443 degraded"
    )


@pytest.mark.parametrize(("found", "words"), [
    (report(), "no required endpoint could be tried"),
    (report(row(BLOCKED), findings=(whole(Failure.DNS_TIMEOUT),)), "nothing could be measured: every row says so"),
    (report(row(GOOD), row(UNEXPLAINED), interrupted=True), "stopped early, 1 of 2"),
    (report(row(GOOD), row(UNEXPLAINED)), "1 of 2 required endpoints without an answer; first: a.example:443"),
])  # fmt: skip
def test_the_line_when_unknown(found: Report, words: str) -> None:
    said = line(found, Code.UNKNOWN)
    assert said.startswith("unknown: ")
    assert words in said


def test_addresses_keep_their_brackets() -> None:
    assert "[2001:db8::1]:443" in line(report(row(BLOCKED, host="2001:db8::1")), Code.BLOCKED)
