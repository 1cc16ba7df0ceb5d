"""Wildcards, networks, the hosts file, rewritten names, other resolvers, and the header echo."""

from __future__ import annotations

import pytest

from connectivity_check.model import Expectation, Outcome, Role, Route, Target
from connectivity_check.runner import RunOptions
from tests.fakes.network_world import SILENCE, Answer, Door, Gate, Page, Tcp, Tls, World
from tests.fakes.way_finder import FakeWayFinder
from tests.unit.connectivity_check.runner.scene import PROXY, Ran, add_dead, check, open_world, roles, target

WILD = target(None, 7, wildcard="wild.example", pattern="*.wild.example")


def with_wildcard(door: Door | None = None) -> World:
    world = World()
    world.add("*.wild.example", "20.3.0.1", 443, door or Door())
    return world


def test_a_network_is_not_probeable() -> None:
    ran = check(World(), [target(None, pattern="20.0.0.0/8")])
    assert ran.row().outcome is Outcome.NOT_PROBEABLE
    assert ran.network.calls == []


def test_a_wildcard_that_answers_nobody_is_not_probeable() -> None:
    ran = check(World(), [WILD])
    assert ran.verdicts() == ["meta.not_testable"]
    assert roles(ran, Role.RANDOM_LABEL) == ["resolve: dns_nxdomain_error"]


def test_a_wildcard_that_answers_everybody_is_probed() -> None:
    ran = check(with_wildcard(), [WILD])
    assert ran.row().outcome is Outcome.REACHABLE
    (label,) = {c.where for c in ran.network.asked("handshake")}
    assert label.endswith(".wild.example")
    assert len(label.partition(".")[0]) == 12


@pytest.mark.parametrize("others", [0, 1])
def test_a_resolver_that_answers_everything_proves_nothing(others: int) -> None:
    """Not even when no other row shows what the resolver does."""
    world, targets = open_world(others)
    world.other_names = Answer(("20.6.6.6",))
    world.doors["20.6.6.6", 443] = Door()
    ran = check(world, [*targets, WILD])
    assert ran.verdicts()[-1] == "meta.not_testable"
    assert "dns.nx_rewrite" in {f.failure.value for f in ran.report.findings}


CUT = Door(tls=Tls.RESET, tls_of={"ok0.site0.example": Tls.GOOD})


@pytest.mark.parametrize("door", [CUT, Door(tcp=Tcp.DROP), Door(page=Page(html=True))])
def test_controls_of_a_wildcard_row_are_about_the_name_that_was_tried(door: Door) -> None:
    world, targets = open_world(1)
    world.add("*.wild.example", "20.3.0.1", 443, door)
    ran = check(world, [*targets, WILD])
    assert ran.row(1).outcome is Outcome.BLOCKED
    where = [c.where for c in ran.network.calls]
    assert "" not in where
    assert not [each for each in where if each.startswith(("https:///", "http:///"))]


def test_a_wildcard_behind_a_proxy() -> None:
    refused = Gate(denied=frozenset({"*"}))
    for gate, said, verdict in (
        (Gate(), "ok", "meta.not_testable"),
        (refused, "proxy_status", "proxy.denied"),
    ):
        world = with_wildcard()
        world.doors[PROXY.host, PROXY.port] = Door(gate=gate)
        ran = check(world, [WILD], ways=FakeWayFinder(Route(PROXY)))
        assert ran.verdicts() == [verdict]
        assert ran.row().outcome is (Outcome.UNEXPLAINED if gate is refused else Outcome.NOT_PROBEABLE)
        assert roles(ran, Role.RANDOM_LABEL) == [f"proxy_connect: {said}"]
        assert not ran.network.asked("resolve")


def test_the_rule_behind_a_sample_is_tried() -> None:
    """The filter has opened the sample, not the wildcard."""
    sample = target("edr.wild.example", 2, wildcard="wild.example", pattern="*.wild.example")
    world, targets = open_world(1)
    good = {"edr.wild.example": Tls.GOOD, "ok0.site0.example": Tls.GOOD}
    world.add("edr.wild.example", "20.3.0.1", 443, Door(tls=Tls.RESET, tls_of=good))
    ran = check(world, [*targets, sample])
    assert ran.row(1).outcome is Outcome.DEGRADED
    assert roles(ran, Role.RANDOM_LABEL, 1) == ["tls_handshake: connection_reset"] * 2
    assert roles(ran, Role.CONTROL_SNI, 1) == ["tls_handshake: ok"]


def test_a_name_of_the_hosts_file_goes_where_it_says() -> None:
    world, targets = open_world(1)
    world.hosts["ok0.site0.example"] = ("20.77.0.1",)
    world.doors["20.77.0.1", 443] = Door()
    ran = check(world, targets)
    assert [c.where for c in ran.network.asked("connect", Role.PROBE)] == ["20.77.0.1 443"]
    assert ran.verdicts() == ["dns.local_override"]
    assert ran.row().outcome is Outcome.DEGRADED


def test_a_name_that_only_the_hosts_file_has() -> None:
    world = World(hosts={"own.site.example": ("20.77.0.1",)}, doors={("20.77.0.1", 443): Door()})
    ran = check(world, [target("own.site.example")])
    assert [c.where for c in ran.network.asked("connect", Role.PROBE)] == ["20.77.0.1 443"]
    assert ran.row().outcome in (Outcome.REACHABLE, Outcome.DEGRADED)


def test_a_hosts_file_that_cuts_a_name_off() -> None:
    world, targets = open_world(2)
    world.hosts["ok0.site0.example"] = ("0.0.0.0",)
    world.doors["0.0.0.0", 443] = Door(tcp=Tcp.REFUSE)
    ran = check(world, targets)
    assert ran.verdicts() == ["dns.local_override", "reachable"]
    assert ran.row().outcome is Outcome.BLOCKED


def test_a_second_opinion() -> None:
    world, targets = open_world(1)
    world.elsewhere = {"9.9.9.9": {"lost.site.example": Answer(("20.4.4.4",))}}
    ran = check(
        world, [*targets, target("lost.site.example", 2)], options=RunOptions(control_resolver="9.9.9.9")
    )
    assert ran.verdicts() == ["reachable", "dns.nxdomain"]
    asked = [o for o in ran.row(1).observations if o.role is Role.OTHER_RESOLVER]
    assert [(o.evidence["resolver"], o.evidence["addresses"]) for o in asked] == [("9.9.9.9", ["20.4.4.4"])]


def test_a_silent_resolver_is_asked_over_tcp_and_nobody_is_at_a_test_address() -> None:
    world, targets = open_world(1)
    world.names["mute.site.example"] = SILENCE
    ran = check(world, [*targets, target("mute.site.example", 2)])
    assert ran.verdicts() == ["reachable", "dns.timeout"]
    assert roles(ran, Role.DNS_TCP, 1) == ["resolve: generic_timeout_error"]
    assert roles(ran, Role.UNROUTABLE, 1) == ["resolve: generic_timeout_error"]


def test_unrelated_names_at_one_dead_address() -> None:
    world, targets = open_world(1)
    for n in range(4):
        world.add(f"a.sunk{n}.example", "20.66.6.6", 443, Door(tcp=Tcp.REFUSE))
        targets.append(target(f"a.sunk{n}.example", n + 2))
    ran = check(world, targets)
    assert set(ran.verdicts()[1:]) == {"dns.sinkhole"}


def echo(wanted: str, where: tuple[str, int], tampered: tuple[tuple[str, str, str], ...] = ()) -> Ran:
    world, targets = open_world(1)
    world.names["echo.corp.example"] = Answer(("20.50.0.1",))
    world.doors[where] = Door(page=Page(tampered=tampered))
    return check(world, targets, options=RunOptions(control_host=wanted))


@pytest.mark.parametrize(
    ("wanted", "where", "url"),
    [
        ("echo.corp.example", ("20.50.0.1", 80), "http://echo.corp.example/"),
        ("echo.corp.example:8080", ("20.50.0.1", 8080), "http://echo.corp.example:8080/"),
        ("20.50.0.1:8080", ("20.50.0.1", 8080), "http://20.50.0.1:8080/"),
        ("[2001:db8::50]:8080", ("2001:db8::50", 8080), "http://[2001:db8::50]:8080/"),
        ("[2001:db8::50]", ("2001:db8::50", 80), "http://[2001:db8::50]/"),
        ("2001:db8::50", ("2001:db8::50", 80), "http://[2001:db8::50]/"),
    ],
)
def test_the_header_echo(wanted: str, where: tuple[str, int], url: str) -> None:
    ran = echo(wanted, where, (("via", "", "1.1 box"),))
    assert [c.where for c in ran.network.asked("exchange", Role.HEADER_ECHO)] == [url]
    assert [f.failure.value for f in ran.report.findings] == ["http.header_tamper"]


def test_headers_that_came_as_sent() -> None:
    assert echo("echo.corp.example", ("20.50.0.1", 80)).report.findings == ()


def test_an_echo_that_is_not_there_delays_nobody() -> None:
    ran = echo("echo.corp.example", ("20.50.0.9", 80))
    assert ran.verdicts() == ["reachable"]
    assert ran.times[0] < 0.1


def test_extras_of_a_healthy_row() -> None:
    """What else its clients do: h2, big bodies, parts of files."""
    world = World()
    world.add("up.site.example", "20.0.0.1")
    every = Expectation(h2=True, upload=True, ranges=True)
    ran = check(world, [target("up.site.example", expectation=every)])
    assert ran.verdicts() == ["reachable"]
    got = {role: roles(ran, role) for role in (Role.ALPN, Role.BODY, Role.RANGE)}
    assert got == {
        Role.ALPN: ["tls_handshake: ok"], Role.BODY: ["http_round_trip: ok"], Role.RANGE: ["http_round_trip: ok"],
    }  # fmt: skip


def test_dead_names_do_not_hold_up_the_random_one() -> None:
    world: World
    targets: list[Target]
    world, targets = open_world(1)
    add_dead(world, targets, 3)
    world.other_names = SILENCE
    ran = check(world, targets)
    assert len(ran.network.asked("resolve", Role.RANDOM_NAME)) == 1
    assert [o.seen for o in ran.report.recording.shared if o.role is Role.RANDOM_NAME] != []
