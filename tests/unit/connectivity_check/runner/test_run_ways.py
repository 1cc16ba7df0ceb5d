"""Rows by proxies of each kind, PAC files that fail or list several ways, and what is tried beside the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectivity_check.failure import Failure
from connectivity_check.model import Kind, Outcome, ProxyScheme, ProxyServer, Role, Route, Step
from connectivity_check.runner import RunOptions
from tests.fakes.network_world import SILENCE, Answer, Door, Gate, Page, Tcp, Tls, World
from tests.fakes.way_finder import FakeWayFinder
from tests.unit.connectivity_check.runner.scene import (
    PROXY,
    add_dead,
    check,
    open_world,
    outcomes,
    roles,
    target,
)

SECOND = ProxyServer("10.0.0.81", 3128)


def behind_proxy(gate: Gate | None = None, count: int = 2) -> tuple[World, list, ProxyServer]:  # type: ignore[type-arg]
    world, targets = open_world(count)
    gate = gate or Gate()
    world.doors[PROXY.host, PROXY.port] = Door(gate=gate)
    return world, targets, replace(PROXY, scheme=gate.scheme)


@pytest.mark.parametrize("scheme", list(ProxyScheme))
def test_through_a_proxy(scheme: ProxyScheme) -> None:
    world, targets, proxy = behind_proxy(Gate(scheme))
    ran = check(world, targets, ways=FakeWayFinder(Route(proxy)))
    assert outcomes(ran) == {Outcome.REACHABLE}
    probes = [o for o in ran.row().observations if o.role is Role.PROBE]
    assert [o.step for o in probes] == [
        Step.CONNECT, Step.PROXY_CONNECT, Step.TLS_HANDSHAKE, Step.HTTP_ROUND_TRIP,
    ]  # fmt: skip
    assert {o.via for o in probes} == {proxy.url}
    assert {c.where for c in ran.network.asked("connect")} == {f"{PROXY.host} {PROXY.port}"}


@pytest.mark.parametrize(
    ("scheme", "steps"),
    [
        (ProxyScheme.HTTP, ["connect", "exchange"]),
        (ProxyScheme.HTTPS, ["connect", "handshake", "exchange"]),
        (ProxyScheme.SOCKS5H, ["connect", "tunnel", "exchange"]),
    ],
)
def test_a_plain_row_through_a_proxy(scheme: ProxyScheme, steps: list[str]) -> None:
    """Absolute form for HTTP proxies; SOCKS has no such thing. The fake's proxy answers 400 to other forms."""
    world, _, proxy = behind_proxy(Gate(scheme))
    world.add("crl.site.example", "20.0.0.9", 80)
    ran = check(world, [target("crl.site.example", port=80, kind=Kind.CRL)], ways=FakeWayFinder(Route(proxy)))
    assert ran.verdicts() == ["reachable"]
    assert [c.operation for c in ran.network.calls if c.operation != "resolve"] == steps


def test_the_certificate_of_an_https_proxy_is_part_of_the_proxy() -> None:
    for kind, port in ((Kind.CRL, 80), (Kind.API, 443)):
        world, _, proxy = behind_proxy(Gate(ProxyScheme.HTTPS, tls=Tls.UNTRUSTED))
        world.add("a.site.example", "20.0.0.9", port)
        ran = check(world, [target("a.site.example", port=port, kind=kind)], ways=FakeWayFinder(Route(proxy)))
        assert ran.verdicts() == ["proxy.not_proxy"]
        assert ran.row().finding is not None
        assert ran.row().finding.step is Step.PROXY_CONNECT  # type: ignore[union-attr]


def test_a_name_that_the_proxy_denies() -> None:
    world, targets, proxy = behind_proxy(Gate(denied=frozenset({"ok1.site1.example"})))
    ran = check(world, targets, ways=FakeWayFinder(Route(proxy)))
    assert ran.verdicts() == ["reachable", "proxy.denied"]
    assert "proxy_connect: ok" in roles(ran, Role.CONTROL_NAME, 1)


def test_login_wanted() -> None:
    world, targets, proxy = behind_proxy(Gate(status=407))
    assert set(check(world, targets, ways=FakeWayFinder(Route(proxy))).verdicts()) == {"proxy.auth"}


def test_a_proxy_is_resolved_once_for_all_rows() -> None:
    world, targets, _ = behind_proxy(count=30)
    world.names["proxy.corp.example"] = Answer((PROXY.host,))
    ran = check(world, targets, ways=FakeWayFinder(Route(ProxyServer("proxy.corp.example", PROXY.port))))
    assert outcomes(ran) == {Outcome.REACHABLE}
    assert len([c for c in ran.network.asked("resolve") if c.where == "proxy.corp.example"]) == 1


def test_a_proxy_that_only_the_hosts_file_knows() -> None:
    """`localhost` is where local agents listen; DNS does not know it."""
    world, targets, _ = behind_proxy()
    world.hosts["localhost"] = (PROXY.host,)
    ran = check(world, targets, ways=FakeWayFinder(Route(ProxyServer("localhost", PROXY.port))))
    assert outcomes(ran) == {Outcome.REACHABLE}


def test_a_proxy_that_nobody_knows() -> None:
    world, targets, _ = behind_proxy()
    ran = check(world, targets, ways=FakeWayFinder(Route(ProxyServer("gone.corp.example", 3128))))
    assert set(ran.verdicts()) == {"proxy.unresolved"}


@pytest.mark.parametrize("tcp", [Tcp.DROP, Tcp.REFUSE])
def test_a_proxy_that_is_not_there(tcp: Tcp) -> None:
    world, targets, proxy = behind_proxy(count=98)
    world.doors[PROXY.host, PROXY.port] = Door(tcp=tcp)
    ran = check(world, targets, ways=FakeWayFinder(Route(proxy)))
    assert set(ran.verdicts()) == {"proxy.unreachable"}
    assert ran.took_s <= 1.25 * 5


def test_the_local_resolver_need_not_know_what_the_proxy_knows() -> None:
    """Then the row passes, with a note."""
    world, targets, proxy = behind_proxy(Gate())
    world.resolvers, world.elsewhere = ("10.0.0.66",), {}
    ran = check(world, targets, ways=FakeWayFinder(Route(proxy)))
    assert roles(ran, Role.ALTERNATE) == ["resolve: ok"]


def test_a_dead_local_resolver_costs_a_proxied_row_one_second_at_most() -> None:
    world, _, proxy = behind_proxy(Gate())
    world.other_names = SILENCE
    world.doors["20.1.1.1", 443] = Door()
    ran = check(world, [target("20.1.1.1")], ways=FakeWayFinder(Route(proxy)))
    assert outcomes(ran) == {Outcome.REACHABLE}
    assert ran.took_s <= 1.2


def test_a_pac_file_without_an_answer() -> None:
    world, targets = open_world(2)
    bad = Route(source="http://wpad/wpad.dat", error="FindProxyForURL threw: ReferenceError", pac=True)
    ran = check(world, targets, ways=FakeWayFinder(of={"ok1.site1.example": bad}))
    assert ran.verdicts() == ["reachable", "proxy.pac_error"]
    assert ran.row(1).observations == ()


def test_a_pac_file_is_asked_for_each_target() -> None:
    world, targets = open_world(2)
    world.add("crl.site.example", "20.0.0.9", 80)
    ways = FakeWayFinder()
    wild = target(None, 5, wildcard="wild.example", pattern="*.wild.example")
    net = target(None, 6, pattern="20.0.0.0/8")
    check(world, [*targets, target("crl.site.example", 3, 80, Kind.CRL), wild, net], ways=ways)
    assert ways.asked == [
        ("https://ok0.site0.example/", "ok0.site0.example"),
        ("https://ok1.site1.example/", "ok1.site1.example"),
        ("http://crl.site.example/", "crl.site.example"),
        ("https://wild.example/", "wild.example"),
    ]


@pytest.mark.parametrize("tcp", [Tcp.DROP, Tcp.REFUSE])
@pytest.mark.parametrize("next_way", [SECOND, None])
def test_the_next_way_of_a_pac_file_is_tried_when_a_proxy_is_not_there(
    tcp: Tcp, next_way: ProxyServer | None
) -> None:
    """`PROXY a; PROXY b; DIRECT`: clients go on, and so does the check."""
    world, targets, proxy = behind_proxy()
    world.doors[PROXY.host, PROXY.port] = Door(tcp=tcp)
    world.doors[SECOND.host, SECOND.port] = Door(gate=Gate())
    ran = check(world, targets, ways=FakeWayFinder(Route(proxy, "pac", (next_way,), pac=True)))
    assert outcomes(ran) <= {Outcome.REACHABLE, Outcome.DEGRADED}
    last = [o for o in ran.row().observations if o.step is Step.HTTP_ROUND_TRIP]
    assert [o.via for o in last] == [next_way.url if next_way else ""]


@pytest.mark.parametrize("why", ["unknown here", "dropped", "refused"])
def test_direct_first_and_a_proxy_next(why: str) -> None:
    """`DIRECT; PROXY b`: inside names go direct, what is not there goes by the proxy."""
    world, targets, proxy = behind_proxy(count=1)
    if why == "unknown here":
        world.doors["20.0.0.99", 443] = Door()
        targets = [target("gone.site.example")]
    else:
        world.doors["20.0.0.1", 443] = Door(tcp=Tcp.DROP if why == "dropped" else Tcp.REFUSE)
    ran = check(world, targets, ways=FakeWayFinder(Route(None, "pac", (proxy,))))
    assert ran.report.recording.targets[0].route.proxy == proxy
    vias = [o.via for o in ran.row().observations if o.step is Step.PROXY_CONNECT and o.role is Role.PROBE]
    assert vias == [proxy.url]


def test_direct_first_and_nothing_next() -> None:
    world, _, proxy = behind_proxy()
    world.doors[PROXY.host, PROXY.port] = Door(tcp=Tcp.REFUSE)
    gone = target("gone.site.example")
    ran = check(world, [gone], ways=FakeWayFinder(Route(None, "pac", (proxy,))))
    assert ran.verdicts() == ["dns.nxdomain"]


def test_ways_that_are_all_dead() -> None:
    world, targets, proxy = behind_proxy(count=20)
    world.doors[PROXY.host, PROXY.port] = Door(tcp=Tcp.DROP)
    route = Route(proxy, "pac", (SECOND, ProxyServer("10.0.0.82", 3128)), pac=True)
    ran = check(world, targets, ways=FakeWayFinder(route))
    assert ran.took_s <= 1.25 * 5
    assert Outcome.REACHABLE not in outcomes(ran)


def test_a_proxy_that_answers_is_not_passed_over() -> None:
    """Only a proxy that is not there is; one that says no has spoken (as clients take it)."""
    world, targets, proxy = behind_proxy(Gate(denied=frozenset({"*"})))
    world.doors[SECOND.host, SECOND.port] = Door(gate=Gate())
    ran = check(world, targets, ways=FakeWayFinder(Route(proxy, "pac", (SECOND,), pac=True)))
    assert not [c for c in ran.network.asked("connect", Role.PROBE) if c.where.startswith(SECOND.host)]


def test_a_wrong_direct_of_a_pac_file() -> None:
    world, targets, proxy = behind_proxy(count=1)
    add_dead(world, targets, 1)
    world.add("dead0.lost0.example", "20.9.0.1", 443, Door(tcp=Tcp.PROHIBIT))
    ways = FakeWayFinder(Route(pac=True), of={"ok0.site0.example": Route(proxy, pac=True)})
    ran = check(world, targets, ways=ways)
    assert roles(ran, Role.ALTERNATE, 1), "the proxy of the other rows is tried"


def test_a_service_that_is_down_by_a_free_way_as_well() -> None:
    world, targets = open_world(1)
    add_dead(world, targets, 1, Door(tls=Tls.RESET))
    free = ProxyServer("10.0.0.99", 3128)
    world.doors[free.host, free.port] = Door(gate=Gate())
    ran = check(world, targets, options=RunOptions(control_proxy=free))
    assert ran.row(1).failure is Failure.META_SERVICE_DOWN
    assert roles(ran, Role.CONTROL_PATH, 1)[-1] == "tls_handshake: connection_reset"


def test_a_tunnel_to_what_the_proxy_cannot_reach() -> None:
    world, targets, proxy = behind_proxy(Gate())
    world.doors["20.0.0.2", 443] = Door(tcp=Tcp.DROP)
    ran = check(world, targets, ways=FakeWayFinder(Route(proxy)))
    assert ran.verdicts() == ["reachable", "proxy.upstream_timeout"]
    assert ran.took_s <= 1.25 * 5


def test_a_page_instead_of_a_service_through_a_proxy() -> None:
    world, _, proxy = behind_proxy()
    world.add("crl.site.example", "20.0.0.9", 80, Door(page=Page(html=True, parsed=False)))
    ran = check(world, [target("crl.site.example", port=80, kind=Kind.CRL)], ways=FakeWayFinder(Route(proxy)))
    assert ran.verdicts() == ["rev.crl"]
