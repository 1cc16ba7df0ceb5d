"""What looks like another fault: shared front ends, rotating addresses, half a family, a page by itself."""

from __future__ import annotations

import pytest

from connectivity_check.core.analyze import judge_row
from connectivity_check.core.controls import UNROUTABLE
from connectivity_check.core.known import Known, Pass
from connectivity_check.failure import Seen
from connectivity_check.model import (
    ConsumerPath,
    Json,
    Kind,
    Observation,
    Outcome,
    PathKind,
    PathSettings,
    Role,
    Scope,
    Step,
    Target,
)
from connectivity_check.runner import RunOptions
from tests.fakes.network_world import Door, Page, Tcp, World
from tests.unit.connectivity_check.runner.scene import PORTAL, check, open_world, target

HOST = "api.vendor.example"
ROW = Target(1, HOST, HOST)
OTHER = Pass("ok.other.test", 443, "20.0.0.2", "", "other.test")


def saw(step: Step, seen: Seen | None = None, role: Role = Role.PROBE, **evidence: Json) -> Observation:
    return Observation(step, seen, evidence, 0.01, role=role)


def verdict(*seen: Observation, **facts: object) -> str:
    row = judge_row(ROW, seen, Known(passes=(OTHER,), **facts), 5.0)  # type: ignore[arg-type]
    return str(row.failure)


SILENT = saw(Step.CONNECT, Seen.TIMEOUT, address="20.0.0.1", port=443, syns=3, family=4)


@pytest.mark.parametrize(
    ("cnames", "code"), [((), "dns.sinkhole"), (("t-9.cdn.example",), "tcp.dropped")], ids=["filter", "cdn"]
)
def test_unrelated_names_may_share_the_front_end_of_a_cdn(cnames: tuple[str, ...], code: str) -> None:
    resolved = saw(Step.RESOLVE, addresses=["20.0.0.1"], cnames=cnames, resolver="10.0.0.53")
    shared = {"20.0.0.1": frozenset({"vendor.example", "storage.test"})}
    assert verdict(resolved, SILENT, names_of=shared) == code


def answer(address: str, kind: str = "A", source: str = "10.0.0.53") -> dict[str, Json]:
    return {"type": kind, "from": source, "addresses": [address] if address else [], "rcode": "NOERROR"}


TWO = [answer("20.0.0.1"), answer("20.0.0.9"), answer("", "AAAA")]


@pytest.mark.parametrize(
    ("sent", "answers", "code"),
    [
        (2, TWO, "dns.injected"),
        (3, TWO, "tcp.dropped"),
        (2, [answer("20.0.0.1"), answer("20.0.0.9", source="10.0.0.54"), answer("", "AAAA")], "tcp.dropped"),
    ],
    ids=["one question, two answers", "asked again", "two resolvers"],
)
def test_addresses_that_rotate_are_no_injection(sent: int, answers: list[Json], code: str) -> None:
    resolved = saw(Step.RESOLVE, addresses=["20.0.0.1"])
    again = saw(Step.RESOLVE, role=Role.RETRY, addresses=["20.0.0.1"], answers=answers, sent=sent)
    assert verdict(resolved, SILENT, again) == code


@pytest.mark.parametrize("changed", [Role.SMALL_MSS, Role.TLS12])
@pytest.mark.parametrize("flaky", [True, False])
def test_what_passes_unchanged_needs_no_change_to_pass(changed: Role, flaky: bool) -> None:
    """Silence once is not a path-MTU hole, even when a handshake with small segments passes."""
    cut = saw(Step.TLS_HANDSHAKE, Seen.TIMEOUT, server_name=HOST, address="20.0.0.1")
    again = saw(Step.TLS_HANDSHAKE, None if flaky else Seen.TIMEOUT, Role.RETRY)
    found = verdict(cut, again, saw(Step.TLS_HANDSHAKE, role=changed))
    real = {Role.SMALL_MSS: "ip.pmtu_hole", Role.TLS12: "tls.version_low"}[changed]
    assert found == ("meta.flaky" if flaky else real)


def test_ipv4_that_leads_nowhere_is_told() -> None:
    world, targets = open_world(1)
    name = str(targets[0].host)
    world.add(name, "2603::1")
    world.doors["20.0.0.1", 443] = Door(tcp=Tcp.DROP)
    ran = check(world, targets)
    (row,) = ran.report.rows
    assert (row.outcome, str(row.failure)) == (Outcome.DEGRADED, "meta.flaky")
    assert row.finding is not None
    assert row.finding.scope is Scope.FAMILY


@pytest.mark.parametrize("fake", [True, False])
def test_a_port_that_only_accepts_proves_nothing_behind_a_gateway(fake: bool) -> None:
    world = World()
    world.add("relay.example", "20.0.0.1", 3478)
    if fake:
        world.doors[UNROUTABLE, 3478] = Door()
    ran = check(world, [target("relay.example", port=3478, kind=Kind.OPAQUE)])
    assert ran.row().outcome is (Outcome.UNEXPLAINED if fake else Outcome.REACHABLE)
    assert ran.verdicts() == (["tcp.fake_accept"] if fake else ["reachable"])


@pytest.mark.parametrize(("open_rows", "code"), [(3, "tcp.dropped"), (0, "http.captive_portal")])
def test_a_portal_stops_more_than_one_row(open_rows: int, code: str) -> None:
    world, targets = open_world(open_rows)
    world.add("shut.lost.example", "20.9.9.9", 443, Door(tcp=Tcp.DROP))
    world.add(PORTAL, "20.8.8.8", 80, Door(page=Page(status=302, body="")))
    ran = check(world, [*targets, target("shut.lost.example", 9)])
    assert ran.verdicts()[-1] == code


@pytest.mark.parametrize(("other", "told"), [("http://PROXY.corp:3128", 0), ("http://proxy.corp:8080", 1)])
def test_one_proxy_in_two_spellings_is_no_conflict(other: str, told: int) -> None:
    ways = (
        ConsumerPath("edr", PathKind.PROXY, "http://proxy.corp:3128", "managed file"),
        ConsumerPath("user", PathKind.PROXY, other, "HTTPS_PROXY"),
    )
    world, targets = open_world(1)
    ran = check(world, targets, options=RunOptions(path=PathSettings(consumers=ways)))
    found = [each for each in ran.report.findings if str(each.failure) == "proxy.consumer_conflict"]
    assert len(found) == told
