"""Any world, any list, any ways, any end: every row is in the report, and no row says more than is true."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from connectivity_check.failure import Seen
from connectivity_check.model import Expectation, Kind, Outcome, ProxyScheme, ProxyServer, Route, Target
from connectivity_check.runner import RunOptions
from tests.fakes.network_world import NXDOMAIN, SILENCE, Answer, Door, Gate, Page, Tcp, Tls, World
from tests.fakes.way_finder import FakeWayFinder
from tests.unit.connectivity_check.runner.scene import Ran, check, target

PROXIES = tuple(
    ProxyServer(f"10.0.0.{80 + n}", 3128, scheme) for n, scheme in enumerate([*ProxyScheme, ProxyScheme.HTTP])
)
NAMED_PROXY = ProxyServer("proxy.corp.example", 3128)

times = st.sampled_from([0.0, 0.01, 0.2, 1.0, 2.0, 4.0, 9.0])
pages = st.builds(
    Page,
    status=st.sampled_from([200, 204, 302, 403, 404, 407, 500, 511]),
    html=st.booleans(),
    parsed=st.booleans(),
    cut=st.sampled_from([None, None, None, Seen.TIMEOUT, Seen.CONNECTION_RESET, Seen.EOF]),
    after_s=times,
)
names = tuple(f"h{n}.zone{n % 3}.example" for n in range(6))
doors = st.builds(
    Door,
    tcp=st.one_of(st.just(Tcp.ACCEPT), st.sampled_from(Tcp)),
    rtt_s=times,
    tls=st.one_of(st.just(Tls.GOOD), st.sampled_from(Tls)),
    tls_of=st.dictionaries(st.sampled_from(names), st.sampled_from(Tls), max_size=2),
    page=st.one_of(st.just(Page()), pages),
)
addresses = st.sampled_from(["20.0.0.1", "20.0.0.2", "20.0.0.3", "2001:db8::1", "2001:db8::2", "10.1.1.1"])
answers = st.one_of(
    st.builds(
        Answer,
        addresses=st.lists(addresses, min_size=1, max_size=4, unique=True).map(tuple),
        after_s=times,
    ),
    st.sampled_from(
        [NXDOMAIN, SILENCE, Answer(seen=Seen.DNS_NO_ANSWER), Answer(("0.0.0.0",), Seen.DNS_BOGON)]
    ),
)
ways = st.one_of(st.none(), st.sampled_from([*PROXIES, NAMED_PROXY]))
routes = st.builds(
    Route,
    proxy=ways,
    fallbacks=st.lists(ways, max_size=2).map(tuple),
    error=st.sampled_from(["", "", "", "", "the PAC file threw"]),
)
expectations = st.builds(
    Expectation,
    kind=st.sampled_from(Kind),
    statuses=st.sampled_from([(), (200,), (200, 404)]),
    html_allowed=st.booleans(),
    h2=st.booleans(),
    upload=st.booleans(),
    ranges=st.booleans(),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World(
        names=draw(st.dictionaries(st.sampled_from([*names, "*.zone1.example", NAMED_PROXY.host]), answers)),
        doors=draw(st.dictionaries(st.tuples(addresses, st.sampled_from([80, 443])), doors)),
        other_names=draw(st.sampled_from([NXDOMAIN, NXDOMAIN, SILENCE, Answer(("20.0.0.1",))])),
        other_doors=draw(st.sampled_from([Door(tcp=Tcp.DROP), Door(tcp=Tcp.REFUSE), Door()])),
        hosts=draw(
            st.dictionaries(st.sampled_from(names), st.lists(addresses, min_size=1).map(tuple), max_size=1)
        ),
    )
    for proxy in PROXIES:
        gates = st.builds(
            Gate,
            scheme=st.sampled_from([proxy.scheme, proxy.scheme, *ProxyScheme]),
            denied=st.frozensets(st.sampled_from([*names, "*"]), max_size=2),
            status=st.sampled_from([0, 0, 0, 403, 407, 500, 503]),
            silent=st.sampled_from([False, False, True]),
            tls=st.sampled_from([Tls.GOOD, Tls.GOOD, Tls.UNTRUSTED, Tls.SILENT]),
        )
        tcp = draw(st.one_of(st.just(Tcp.ACCEPT), st.sampled_from(Tcp)))
        world.doors[proxy.host, proxy.port] = Door(tcp=tcp, gate=draw(gates))
    return world


@st.composite
def rows(draw: st.DrawFn) -> Target:
    host = draw(st.one_of(st.sampled_from(names), addresses, st.none()))
    wildcard = draw(st.sampled_from(["", "zone1.example", "zone2.example"]))
    return target(
        host,
        draw(st.integers(1, 99)),
        draw(st.sampled_from([443, 80])),
        expectation=draw(expectations),
        wildcard=wildcard,
        required=draw(st.booleans()),
    )


@dataclass(frozen=True, slots=True)
class Given:
    """One run to be."""

    world: World
    targets: list[Target]
    ways: FakeWayFinder
    timeout_s: float

    def run(self, **options: object) -> Ran:
        """Run it, as `scene.check` holds it."""
        stop_at = options.pop("stop_at", None)
        wanted = RunOptions(timeout_s=self.timeout_s, **options)  # type: ignore[arg-type]
        return check(self.world, self.targets, ways=self.ways, options=wanted, stop_at=stop_at)  # type: ignore[arg-type]


givens = st.builds(
    Given,
    worlds(),
    st.lists(rows(), max_size=7),
    st.builds(FakeWayFinder, routes, st.dictionaries(st.sampled_from(names), routes, max_size=3)),
    st.sampled_from([0.5, 5.0, 20.0]),
)


def straight(world: World, row: Target) -> bool | None:
    """Whether a direct row works by the simplest reading; None where it is not simple."""
    if (
        row.host is None
        or row.route.proxy
        or row.route.fallbacks
        or row.route.error
        or row.host in world.hosts
    ):
        return None
    answer = Answer((row.host,)) if _literal(row.host) else world.answer(row.host)
    if answer.seen:
        return False
    there = [world.door(address, row.port) for address in answer.addresses[:4]]
    if any(door.tcp is not Tcp.ACCEPT for door in there) and any(door.tcp is Tcp.ACCEPT for door in there):
        return None
    if all(door.tcp is not Tcp.ACCEPT for door in there):
        return False
    if len(there) != 1 or there[0].rtt_s > 0.2 or answer.after_s > 0.2:
        return None
    door, kind = there[0], row.expectation.kind
    if row.tls and door.tls_of.get(row.host, door.tls) is not Tls.GOOD:
        return False
    if kind is Kind.OPAQUE:
        # Where any address accepts, an accepted connection proves nothing of this one.
        return None if world.other_doors.tcp is Tcp.ACCEPT else True
    return True if door.page == Page() else None


def _literal(host: str) -> bool:
    return ":" in host or host[0].isdigit()


@settings(max_examples=150)
@given(givens)
def test_every_row_and_none_of_them_lies(run: Given) -> None:
    ran = run.run()
    assert not ran.report.interrupted
    assert ran.took_s <= 1.25 * run.timeout_s + 0.1
    for row in ran.report.rows:
        works = straight(run.world, row.target)
        if works is True and run.timeout_s > 1:
            assert row.outcome in (Outcome.REACHABLE, Outcome.DEGRADED), row.finding
        if works is False:
            assert row.outcome is not Outcome.REACHABLE, row.observations
        assert (row.finding is None) <= (row.outcome is Outcome.REACHABLE)
        if row.finding:
            assert row.finding.reasons
            assert row.finding.hint


@settings(max_examples=150)
@given(givens, st.floats(0, 6), st.sampled_from([1, 2, 256]))
def test_any_run_can_be_stopped_at_any_moment(run: Given, moment: float, concurrency: int) -> None:
    ran = run.run(stop=asyncio.Event(), stop_at=moment, concurrency=concurrency)
    assert ran.took_s <= moment + 0.15


@settings(max_examples=60)
@given(givens, st.floats(0, 6))
def test_any_run_ends_by_its_deadline(run: Given, deadline_s: float) -> None:
    ran = run.run(deadline_s=deadline_s)
    assert ran.took_s <= deadline_s + 0.15
