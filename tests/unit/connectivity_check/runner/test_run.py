"""The run as a whole: every row, as soon as it is done, none at another's expense, and within its time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectivity_check.core.controls import UNROUTABLE
from connectivity_check.failure import Failure, Seen
from connectivity_check.model import Kind, ListInfo, Outcome, PathKind, Role, Row, Step
from connectivity_check.runner import RunOptions
from connectivity_check.runner.session import ALONE, CONTROLS_PER_ADDRESS, LIMITS
from tests.fakes.network import Call
from tests.fakes.network_world import SILENCE, Answer, Door, Page, Tcp, Tls, World
from tests.unit.connectivity_check.runner.scene import (
    PORTAL,
    Ran,
    add_dead,
    check,
    nothing,
    open_world,
    outcomes,
    roles,
    target,
)


def test_an_empty_list_gives_an_empty_report() -> None:
    ran = check(World(), [])
    assert ran.report.rows == ()
    assert ran.took_s < 1


def test_a_healthy_list() -> None:
    ran = check(*open_world(98))
    assert outcomes(ran) == {Outcome.REACHABLE}
    assert ran.took_s < 0.2, "rows side by side"
    assert [(o.step, o.role) for o in ran.row().observations] == [
        (Step.RESOLVE, Role.PROBE),
        (Step.CONNECT, Role.PROBE),
        (Step.TLS_HANDSHAKE, Role.PROBE),
        (Step.HTTP_ROUND_TRIP, Role.PROBE),
    ]


def test_what_the_report_says_of_the_run() -> None:
    world, targets = open_world(1)
    options = RunOptions(timeout_s=4, lists=(ListInfo("streamlined", "2024-12", 1),), host="ws-1")
    recording = check(world, targets, options=options).report.recording
    assert recording.started_at == "2024-05-01T12:00:00.000Z"
    assert (recording.timeout_s, recording.host, recording.lists) == (4, "ws-1", options.lists)
    assert recording.source_address == "10.0.0.10"
    assert recording.path.kind is PathKind.DIRECT
    assert 0 < recording.took_s < 1


def test_observations_are_stamped_with_the_time_of_the_run() -> None:
    ran = check(*open_world(1))
    begins = [o.started_s for o in ran.row().observations]
    assert begins == pytest.approx([0, 0.01, 0.02, 0.04])


@pytest.mark.parametrize("kind", [Kind.CRL, Kind.OCSP, Kind.CTL, Kind.PLAIN])
def test_plain_rows_have_no_handshake(kind: Kind) -> None:
    world = World()
    world.add("crl.site.example", "20.0.0.1", 80)
    ran = check(world, [target("crl.site.example", port=80, kind=kind)])
    assert outcomes(ran) == {Outcome.REACHABLE}
    assert not ran.network.asked("handshake")
    assert [c.where for c in ran.network.asked("exchange")] == ["http://crl.site.example/"]


def test_an_opaque_port_is_only_connected_to() -> None:
    world = World()
    world.add("push.site.example", "20.0.0.1", 5671)
    ran = check(world, [target("push.site.example", port=5671, kind=Kind.OPAQUE)])
    assert outcomes(ran) == {Outcome.REACHABLE}
    assert not ran.network.asked("handshake")
    assert not ran.network.asked("exchange")


def test_an_address_is_not_resolved() -> None:
    world = World(doors={("2001:db8::7", 443): Door()})
    ran = check(world, [target("2001:db8::7")])
    assert outcomes(ran) == {Outcome.REACHABLE}
    assert [c.role for c in ran.network.asked("resolve")] == [Role.RANDOM_NAME]


def test_the_same_row_twice_is_two_rows() -> None:
    world, targets = open_world(1)
    ran = check(world, [*targets, *targets])
    assert ran.verdicts() == ["reachable", "reachable"]


def test_rows_come_when_they_are_done() -> None:
    world, targets = open_world(3)
    add_dead(world, targets, 3)
    ran = check(world, targets)
    assert [row.outcome for row in ran.rows[:3]] == [Outcome.REACHABLE] * 3
    assert max(ran.times[:3]) < 0.2
    assert min(ran.times[3:]) > 3


def test_healthy_rows_are_not_delayed_by_dead_neighbours() -> None:
    world, targets = open_world(20)
    alone = max(check(world, targets).times)
    add_dead(world, targets, 60)
    for n in range(20):
        world.names[f"mute{n}.site.example"] = SILENCE
        targets.append(target(f"mute{n}.site.example", 100 + n))
    ran = check(world, targets)
    assert max(t for row, t in zip(ran.rows, ran.times, strict=True) if row.target.n <= 20) == alone


@pytest.mark.parametrize("timeout_s", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("kind", ["dropped", "no resolver", "tls silent", "answer silent", "all of it"])
def test_98_dead_rows_end_within_five_quarters_of_the_timeout(kind: str, timeout_s: float) -> None:
    world, targets = nothing()
    if kind == "no resolver":
        world.other_names = SILENCE
        targets = [target(f"a.site{n}.example", n + 1) for n in range(98)]
    elif kind == "dropped":
        add_dead(world, targets, 98)
    elif kind == "tls silent":
        add_dead(world, targets, 98, Door(tls=Tls.SILENT))
    elif kind == "answer silent":
        add_dead(world, targets, 98, Door(page=Page(cut=Seen.TIMEOUT)))
    else:
        add_dead(world, targets, 98, Door(rtt_s=0.6 * timeout_s, tls=Tls.SILENT))
        world.names = {n: replace(a, after_s=0.2 * timeout_s) for n, a in world.names.items()}
    ran = check(world, targets, options=RunOptions(timeout_s=timeout_s, deadline_s=10 * timeout_s))
    assert ran.took_s <= 1.25 * timeout_s
    assert Outcome.REACHABLE not in outcomes(ran)
    assert not ran.report.interrupted


def test_concurrency_is_a_limit() -> None:
    world, targets = open_world(12)
    ran = check(world, targets, options=RunOptions(concurrency=3))
    assert outcomes(ran) == {Outcome.REACHABLE}
    assert most_at_once(ran.network.asked("connect", Role.PROBE)) <= 3


def most_at_once(calls: list[Call]) -> int:
    """How many of the calls were under way at the worst moment."""
    return max((sum(o.began <= c.began < o.ended for o in calls) for c in calls), default=0)


def test_no_controls_where_nothing_fails() -> None:
    ran = check(*open_world(9))
    assert {c.role for c in ran.network.calls} == {Role.PROBE, Role.RANDOM_NAME}


def test_controls_are_for_those_that_fail() -> None:
    world, targets = open_world(9)
    add_dead(world, targets, 1, Door(tls=Tls.RESET))
    ran = check(world, targets)
    assert [
        row.target.host for row in ran.report.rows if {o.role for o in row.observations} > {Role.PROBE}
    ] == ["dead0.lost0.example"]
    assert Role.CONTROL_SNI in {o.role for o in ran.row(9).observations}


def test_limits_hold_for_the_run() -> None:
    world, targets = open_world(2)
    add_dead(world, targets, 60)
    ran = check(world, targets)
    assert len(ran.network.asked("hops")) == LIMITS_OF["hops"]
    alone = ran.network.asked("connect", Role.RETRY)
    assert 0 < len(alone) <= ALONE
    assert most_at_once(alone) == 1


LIMITS_OF = {ask.value: limit for ask, limit in LIMITS.items()}


def test_the_limit_of_distances() -> None:
    world, targets = open_world(2)
    add_dead(world, targets, 60, Door(tcp=Tcp.REFUSE))
    ran = check(world, targets)
    assert 0 < len(ran.network.asked("distance")) <= LIMITS_OF["distance"]
    assert set(ran.verdicts()[2:]) == {"tcp.refused_host"}


def test_one_address_is_not_scanned() -> None:
    """Forty names of one address that is cut for all of them."""
    world, targets = open_world(1)
    for n in range(40):
        world.add(f"a.cdn{n}.example", "20.7.7.7", 443, Door(tcp=Tcp.REFUSE))
        targets.append(target(f"a.cdn{n}.example", n + 2))
    ran = check(world, targets)
    at = [c for c in ran.network.calls if c.where.startswith("20.7.7.7 ") and c.role is not Role.PROBE]
    assert 0 < len(at) <= CONTROLS_PER_ADDRESS


@pytest.mark.parametrize("accepts", [True, False])
def test_shared_controls_are_done_once(accepts: bool) -> None:
    world, targets = open_world(1)
    world.add(PORTAL, "20.8.8.8", 80, Door(page=Page(body="Microsoft Connect Test")))
    add_dead(world, targets, 30, Door(tls=Tls.SILENT))
    if accepts:
        world.doors[UNROUTABLE, 443] = Door(tls=Tls.SILENT)
    ran = check(world, targets)
    assert len([c for c in ran.network.asked("connect") if c.where.startswith(UNROUTABLE)]) == 1
    assert len(ran.network.asked("exchange", Role.PORTAL)) == 1
    assert len(ran.network.asked("resolve", Role.RANDOM_NAME)) == 1
    shared = {o.role for o in ran.report.recording.shared}
    assert shared == {Role.UNROUTABLE, Role.PORTAL, Role.RANDOM_NAME}
    assert (ran.report.recording.path.kind is PathKind.TRANSPARENT) == accepts
    assert (Failure.TCP_FAKE_ACCEPT.value in ran.verdicts()) == accepts


def test_a_captive_portal_is_asked_about_once_and_named_everywhere() -> None:
    world, targets = nothing()
    world.other_doors = Door(tls=Tls.RESET)
    add_dead(world, targets, 5)
    world.add(PORTAL, "20.8.8.8", 80, Door(page=Page(status=302, body="")))
    ran = check(world, targets)
    assert set(ran.verdicts()) == {"http.captive_portal"}
    assert len(ran.network.asked("exchange", Role.PORTAL)) == 1


def test_a_failing_row_waits_for_one_that_passes_to_be_held_against() -> None:
    """It fails at once; the only row that passes takes half a second."""
    world, targets = open_world(1)
    world.names["ok0.site0.example"] = replace(world.names["ok0.site0.example"], after_s=0.5)
    add_dead(world, targets, 1, Door(tls=Tls.RESET, tls_of={"ok0.site0.example": Tls.GOOD}))
    ran = check(world, targets)
    assert ran.verdicts() == ["reachable", "tls.sni_reset"]
    assert "ok0.site0.example" in [c.where for c in ran.network.asked("handshake", Role.CONTROL_SNI)]


def test_nobody_waits_for_a_pass_when_all_have_failed() -> None:
    world, targets = nothing()
    add_dead(world, targets, 3, Door(tcp=Tcp.LOCAL))
    assert check(world, targets).took_s < 2
    assert set(check(world, targets).verdicts()) == {"tcp.local_block"}


def test_all_addresses_are_tried_and_all_are_reported() -> None:
    world = World(doors={("20.0.0.1", 443): Door(), ("20.0.0.2", 443): Door(tcp=Tcp.REFUSE)})
    world.names["two.site.example"] = Answer(("20.0.0.1", "20.0.0.2"))
    ran = check(world, [target("two.site.example")])
    assert sorted(c.where for c in ran.network.asked("connect", Role.PROBE)) == [
        "20.0.0.1 443",
        "20.0.0.2 443",
    ]
    assert ran.verdicts() == ["meta.flaky"]
    assert ran.row().outcome is Outcome.DEGRADED


def test_at_most_four_addresses_of_a_family() -> None:
    world = World(other_doors=Door())
    many = (*(f"20.0.0.{n}" for n in range(1, 12)), *(f"2001:db8::{n}" for n in range(1, 12)))
    world.names["many.site.example"] = Answer(many)
    ran = check(world, [target("many.site.example")])
    tried = [c.where for c in ran.network.asked("connect", Role.PROBE)]
    assert tried == [f"{each} 443" for each in (*many[11:15], *many[:4])]
    assert left_out(ran.row()) == [14] * 8


def test_the_row_says_how_many_addresses_were_left_out() -> None:
    """Of those that fail and of a row that fails as a whole, too; and nothing when there were no others."""
    world = World(other_doors=Door(tcp=Tcp.REFUSE), doors={("20.0.0.1", 443): Door()})
    world.names["some.site.example"] = Answer(tuple(f"20.0.0.{n}" for n in range(1, 7)))
    world.names["none.site.example"] = Answer(tuple(f"20.0.1.{n}" for n in range(1, 6)))
    world.names["four.site.example"] = Answer(tuple(f"20.0.0.{n}" for n in range(1, 5)))
    ran = check(world, [target(f"{name}.site.example", n) for n, name in enumerate(("some", "none", "four"))])
    assert [left_out(row) for row in ran.report.rows] == [[2] * 4, [1] * 4, [None] * 4]
    assert ran.verdicts()[0] == "meta.flaky"
    assert "2 more addresses of the name were not tried" in ran.row().finding.reasons  # type: ignore[union-attr]


def left_out(row: Row) -> list[object]:
    """What each connection of the row itself says of the addresses that nobody tried."""
    own = [o for o in row.observations if o.step is Step.CONNECT and o.role is Role.PROBE]
    return [o.evidence.get("left_out") for o in own]


def test_ipv6_is_preferred_when_it_is_nearly_as_fast() -> None:
    world = World(doors={("20.0.0.1", 443): Door(), ("2001:db8::1", 443): Door(rtt_s=0.03)})
    world.names["dual.site.example"] = Answer(("20.0.0.1", "2001:db8::1"))
    ran = check(world, [target("dual.site.example")])
    tls = [o for o in ran.row().observations if o.step is Step.TLS_HANDSHAKE]
    assert tls[0].evidence["address"] == "2001:db8::1"


def test_broken_ipv6_delays_neither_the_request_nor_the_verdict_of_others() -> None:
    world, targets = open_world(3)
    world.names["ok0.site0.example"] = Answer(("20.0.0.1", "2001:db8::dead"))
    ran = check(world, targets)
    assert ran.verdicts() == ["ip.v6_broken", "reachable", "reachable"]
    assert ran.network.asked("exchange")[0].began < 0.2
    assert ran.time_of("ok1.site1.example") < 0.1


def test_what_a_wrong_certificate_hides_is_read() -> None:
    page = Page(status=200, html=True, body="<title>Blocked</title>")
    world = World()
    world.add("a.site.example", "20.0.0.1", 443, Door(tls=Tls.UNTRUSTED, page=page))
    ran = check(world, [target("a.site.example")])
    assert roles(ran, Role.AFTER_FAILURE) == ["http_round_trip: http_unexpected_content"]
    assert ran.verdicts() == ["tls.intercept_untrusted"]


def test_an_error_of_our_own_is_not_swallowed() -> None:
    world, targets = open_world(3)

    def broken(row: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check(world, targets, on_row=broken)


def test_a_cut_inside_the_services_own_tls_is_never_blamed_on_a_filter() -> None:
    """Nobody on the way can read the request there, so another row that passes later changes nothing."""
    world, targets = nothing()
    add_dead(world, targets, 1, Door(page=Page(cut=Seen.CONNECTION_RESET)))
    world.add("late.site.example", "20.0.0.9", 443)
    world.names["late.site.example"] = Answer(("20.0.0.9",), after_s=2.4)
    targets.append(target("late.site.example", 2))
    ran: Ran = check(world, targets)
    assert ran.verdicts()[0] == "meta.unexplained"
