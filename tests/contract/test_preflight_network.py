"""One suite for `ports.Network`: the fake of the unit tests, and the real one on loopback servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectivity_check.core.facts import addresses_of
from connectivity_check.failure import Seen
from connectivity_check.model import (
    Expectation,
    Json,
    Observation,
    ProxyScheme,
    ProxyServer,
    Role,
    Route,
    Step,
)
from connectivity_check.ports import HttpRequest, Network, Stream
from connectivity_check.probes import network as real
from connectivity_check.probes.trust import Trust
from connectivity_check.runner import RunOptions, SystemClock, Tools, run
from tests.contract.loopback_world import LoopbackWorld
from tests.fakes.network import FakeNetwork
from tests.fakes.network_world import SILENCE, Answer, Door, Gate, Page, Tcp, Tls, World
from tests.fakes.virtual_time import LoopClock, in_virtual_time
from tests.fakes.way_finder import FakeWayFinder
from tests.unit.connectivity_check.runner.scene import target

GOOD, CLOSED, DROP = ("127.9.0.1", 21001), ("127.9.0.1", 21002), ("127.9.0.1", 21003)
TLS = {kind: ("127.9.0.2", 21100 + n) for n, kind in enumerate(Tls)}
HTML, MISSING, CUT = ("127.9.0.3", 21201), ("127.9.0.3", 21202), ("127.9.0.3", 21203)
PROXY, SOCKS = ("127.9.0.4", 21301), ("127.9.0.4", 21302)
MUTE_PROXY, NO_PROXY = ("127.9.0.4", 21303), ("127.9.0.4", 21304)
HTTP_PROXY = ProxyServer(*PROXY)
SOCKS_PROXY = ProxyServer(*SOCKS, ProxyScheme.SOCKS5H)


def world() -> World:
    """What both networks are made from. Names lead to addresses that only the proxies reach."""
    made = World(other_doors=Door(tcp=Tcp.REFUSE))
    made.doors = {
        GOOD: Door(tls_of={"stranger.example": Tls.WRONG_NAME}),
        CLOSED: Door(tcp=Tcp.REFUSE),
        DROP: Door(tcp=Tcp.DROP),
        HTML: Door(page=Page(html=True, body="<html><title>Blocked</title></html>")),
        MISSING: Door(page=Page(status=404)),
        CUT: Door(page=Page(cut=Seen.EOF)),
        PROXY: Door(gate=Gate(denied=frozenset({"denied.test"}))),
        SOCKS: Door(gate=Gate(ProxyScheme.SOCKS5H, denied=frozenset({"denied.test"}))),
        MUTE_PROXY: Door(gate=Gate(silent=True)),
        NO_PROXY: Door(page=Page(status=405)),
        **{TLS[kind]: Door(tls=kind) for kind in Tls},
    }
    made.add("good.test", "20.0.0.1")
    made.add("denied.test", "20.0.0.2")
    made.add("reset.test", "20.0.0.3", 443, Door(tls=Tls.RESET))
    made.add("plain.test", "20.0.0.4", 80)
    made.names["dual.test"] = Answer(("20.0.0.5", "2001:db8::5"))
    made.names["mute.test"] = SILENCE
    made.names["sunk.test"] = Answer(("0.0.0.0",), Seen.DNS_BOGON)
    made.names["empty.test"] = Answer(seen=Seen.DNS_NO_ANSWER)
    return made


@dataclass(frozen=True, slots=True)
class Ground:
    """A network of one kind, and how to run something in it."""

    make: Callable[[], Network]
    clock: SystemClock | LoopClock
    go: Callable[[Awaitable[None]], None]

    def do(self, case: Callable[[Network], Awaitable[None]]) -> None:
        """Run a case with a fresh network, and close that."""

        async def whole() -> None:
            network = self.make()
            try:
                await case(network)
            finally:
                await network.close()
            if isinstance(network, FakeNetwork):
                assert network.open_streams == 0

        self.go(whole())


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackWorld]:
    with LoopbackWorld(world(), tmp_path_factory.mktemp("loopback")).open() as served:
        yield served


@pytest.fixture(params=["fake", "real"])
def ground(request: pytest.FixtureRequest) -> Ground:
    if request.param == "fake":
        return Ground(lambda: FakeNetwork(world(), LoopClock()), LoopClock(), in_virtual_time)  # type: ignore[arg-type]
    served: LoopbackWorld = request.getfixturevalue("loopback")
    ca = str(served.ca_file)

    def make() -> Network:
        return real.build(SystemClock(), Trust(ca, ca), servers=[served.resolver])

    return Ground(make, SystemClock(), asyncio.run)  # type: ignore[arg-type]


def holds(seen: Observation, **evidence: Json) -> None:
    """The evidence has these, among others."""
    assert {key: seen.evidence.get(key) for key in evidence} == evidence


async def connected(network: Network, where: tuple[str, int]) -> Stream:
    tried = await network.connect(*where, budget_s=3)
    assert tried.stream is not None, tried.observation
    return tried.stream


@pytest.mark.parametrize(
    ("name", "seen", "addresses", "rcode"),
    [
        ("good.test", None, ["20.0.0.1"], "NOERROR"),
        ("dual.test", None, ["20.0.0.5", "2001:db8::5"], "NOERROR"),
        ("gone.test", Seen.DNS_NXDOMAIN, None, "NXDOMAIN"),
        ("empty.test", Seen.DNS_NO_ANSWER, None, "NOERROR"),
        ("sunk.test", Seen.DNS_BOGON, ["0.0.0.0"], "NOERROR"),
    ],
)
def test_resolve(
    ground: Ground, name: str, seen: Seen | None, addresses: list[str] | None, rcode: str
) -> None:
    async def case(network: Network) -> None:
        found = await network.resolve(name, budget_s=3, role=Role.RETRY)
        assert (found.step, found.seen, found.role, found.via) == (Step.RESOLVE, seen, Role.RETRY, "")
        holds(found, name=name, rcode=rcode, transport="udp", resolver=found.evidence["resolver"])
        assert addresses_of(found) == tuple(addresses or ())
        assert 0 <= found.took_s < 3

    ground.do(case)


def test_a_resolver_that_says_nothing_takes_the_budget(ground: Ground) -> None:
    async def case(network: Network) -> None:
        found = await network.resolve("mute.test", budget_s=0.4)
        assert found.seen is Seen.TIMEOUT
        assert 0.3 <= found.took_s < 1
        assert "rcode" not in found.evidence

    ground.do(case)


def test_connect(ground: Ground) -> None:
    async def case(network: Network) -> None:
        tried = await network.connect(*GOOD, budget_s=3, mss=536)
        holds(tried.observation, address=GOOD[0], port=GOOD[1], family=4, syns=1, mss=536)
        assert tried.observation.ok
        assert tried.observation.evidence["source"]
        stream = tried.stream
        assert stream is not None
        assert (stream.address, stream.via) == (GOOD[0], "")
        stream.close()
        stream.close()
        with pytest.raises(OSError, match="closed"):
            await stream.send(b"late")

    ground.do(case)


@pytest.mark.parametrize(
    ("where", "seen", "slow"), [(CLOSED, Seen.CONNECTION_REFUSED, False), (DROP, Seen.TIMEOUT, True)]
)
def test_connect_in_vain(ground: Ground, where: tuple[str, int], seen: Seen, slow: bool) -> None:
    async def case(network: Network) -> None:
        tried = await network.connect(*where, budget_s=0.5, role=Role.OTHER_PORT)
        assert (tried.observation.seen, tried.stream) == (seen, None)
        assert tried.observation.role is Role.OTHER_PORT
        assert (0.45 <= tried.observation.took_s < 1) == slow
        holds(tried.observation, address=where[0], port=where[1])
        if not slow:
            holds(tried.observation, errno="ECONNREFUSED")

    ground.do(case)


ENDS = {
    Tls.GOOD: None,
    Tls.RESET: Seen.CONNECTION_RESET,
    Tls.SILENT: Seen.TIMEOUT,
    Tls.END: Seen.EOF,
    Tls.NOT_TLS: Seen.NOT_TLS,
    Tls.UNTRUSTED: Seen.TLS_UNKNOWN_AUTHORITY,
    Tls.WRONG_NAME: Seen.TLS_INVALID_HOSTNAME,
}


@pytest.mark.parametrize("kind", list(ENDS))
def test_handshake(ground: Ground, kind: Tls) -> None:
    async def case(network: Network) -> None:
        stream = await connected(network, TLS[kind])
        tried = await network.handshake(stream, "good.test", budget_s=0.5 if kind is Tls.SILENT else 5)
        seen = tried.observation
        assert (seen.step, seen.seen) == (Step.TLS_HANDSHAKE, ENDS[kind])
        holds(seen, server_name="good.test", address=TLS[kind][0], port=TLS[kind][1])
        finished = kind in (Tls.GOOD, Tls.UNTRUSTED, Tls.WRONG_NAME)
        stages = {Tls.NOT_TLS: "server_hello"}
        assert seen.evidence["stage"] == ("finished" if finished else stages.get(kind, "client_hello"))
        assert bool(seen.evidence.get("chain")) == finished
        assert (tried.stream is not None) == finished
        if finished:
            good = True if kind is Tls.GOOD else seen.evidence["verified_public"]
            holds(seen, verified_public=good, name_matches=kind is not Tls.WRONG_NAME, expired=False)
            assert (seen.evidence["verified_system"] is True) == (kind is Tls.GOOD)
        if tried.stream:
            tried.stream.close()
        with pytest.raises(OSError, match="closed"):  # taken over: closed by the step, or with the new stream
            await stream.send(b"x")

    ground.do(case)


def test_the_name_decides_at_one_address(ground: Ground) -> None:
    async def case(network: Network) -> None:
        for name, seen in (("good.test", None), ("stranger.example", Seen.TLS_INVALID_HOSTNAME)):
            tried = await network.handshake(await connected(network, GOOD), name, budget_s=5)
            assert tried.observation.seen is seen
            assert tried.stream is not None
            tried.stream.close()

    ground.do(case)


@pytest.mark.parametrize(
    ("where", "statuses", "seen", "status"),
    [
        (GOOD, (), None, 200),
        (GOOD, (204,), Seen.HTTP_STATUS, 200),
        (HTML, (), Seen.HTTP_CONTENT, 200),
        (MISSING, (), None, 404),
        (MISSING, (200,), Seen.HTTP_STATUS, 404),
        (CUT, (), Seen.EOF, None),
    ],
)
def test_exchange(
    ground: Ground, where: tuple[str, int], statuses: tuple[int, ...], seen: Seen | None, status: int | None
) -> None:
    async def case(network: Network) -> None:
        stream = await connected(network, where)
        url = f"http://{where[0]}:{where[1]}/x"
        found = await network.exchange(stream, HttpRequest(url), Expectation(statuses=statuses), budget_s=3)
        stream.close()
        assert (found.step, found.seen) == (Step.HTTP_ROUND_TRIP, seen)
        holds(found, url=url, method="GET", status=status)

    ground.do(case)


@pytest.mark.parametrize("proxy", [HTTP_PROXY, SOCKS_PROXY], ids=str)
def test_a_tunnel_and_what_goes_through_it(ground: Ground, proxy: ProxyServer) -> None:
    async def case(network: Network) -> None:
        stream = await connected(network, (proxy.host, proxy.port))
        tunnel = await network.tunnel(stream, proxy, "good.test", 443, budget_s=3)
        assert tunnel.observation.ok
        assert (tunnel.observation.step, tunnel.observation.via) == (Step.PROXY_CONNECT, proxy.url)
        holds(tunnel.observation, proxy=proxy.url, scheme=proxy.scheme.value, target="good.test:443")
        assert tunnel.stream is not None
        assert (tunnel.stream.via, tunnel.stream.address) == (proxy.url, proxy.host)
        tls = await network.handshake(tunnel.stream, "good.test", budget_s=5)
        assert tls.observation.ok
        assert tls.observation.via == proxy.url
        assert tls.stream is not None
        found = await network.exchange(
            tls.stream, HttpRequest("https://good.test/"), Expectation(), budget_s=3
        )
        assert (found.ok, found.via) == (True, proxy.url)
        tls.stream.close()

    ground.do(case)


@pytest.mark.parametrize(
    ("proxy", "host", "seen", "evidence"),
    [
        (HTTP_PROXY, "denied.test", Seen.PROXY_STATUS, {"status": 403}),
        (HTTP_PROXY, "gone.test", Seen.PROXY_STATUS, {"status": 503}),
        (SOCKS_PROXY, "denied.test", Seen.SOCKS_REPLY, {"socks_reply": 2}),
        (ProxyServer(*MUTE_PROXY), "good.test", Seen.TIMEOUT, {}),
    ],
)
def test_no_tunnel(
    ground: Ground, proxy: ProxyServer, host: str, seen: Seen, evidence: dict[str, Json]
) -> None:
    async def case(network: Network) -> None:
        stream = await connected(network, (proxy.host, proxy.port))
        tried = await network.tunnel(stream, proxy, host, 443, budget_s=0.6, role=Role.CONTROL_NAME)
        assert (tried.observation.seen, tried.stream) == (seen, None)
        assert tried.observation.role is Role.CONTROL_NAME
        holds(tried.observation, target=f"{host}:443", **evidence)
        with pytest.raises(OSError, match="closed"):
            await stream.send(b"x")

    ground.do(case)


def test_a_plain_request_through_a_proxy(ground: Ground) -> None:
    async def case(network: Network) -> None:
        stream = await connected(network, PROXY)
        request = HttpRequest("http://plain.test/", absolute_form=True, proxy=HTTP_PROXY)
        found = await network.exchange(stream, request, Expectation(), budget_s=3)
        stream.close()
        assert found.ok
        holds(found, url="http://plain.test/", status=200)

    ground.do(case)


@pytest.mark.parametrize("where", [DROP, TLS[Tls.SILENT], MUTE_PROXY])
def test_a_step_that_is_cancelled_ends_at_once(ground: Ground, where: tuple[str, int]) -> None:
    """And closes what it took over."""

    taken: list[Stream] = []

    async def step(network: Network) -> None:
        tried = await network.connect(*where, budget_s=30)
        assert tried.stream is not None
        taken.append(tried.stream)
        if where == MUTE_PROXY:
            await network.tunnel(tried.stream, ProxyServer(*where), "good.test", 443, budget_s=30)
        else:
            await network.handshake(tried.stream, "good.test", budget_s=30)

    async def case(network: Network) -> None:
        task = asyncio.create_task(step(network))
        await asyncio.sleep(0.3)
        began = ground.clock.now()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert ground.clock.now() - began < 0.5
        assert len(taken) == (where != DROP)
        for stream in taken:
            with pytest.raises(OSError, match="closed"):
                await stream.send(b"x")

    ground.do(case)


ROWS = [
    (target(GOOD[0], 1, GOOD[1]), None, "reachable"),
    (target(CLOSED[0], 2, CLOSED[1]), None, "tcp.refused_host"),
    (target(TLS[Tls.UNTRUSTED][0], 3, TLS[Tls.UNTRUSTED][1]), None, "tls.intercept_untrusted"),
    (target(HTML[0], 4, HTML[1]), None, "http.block_page"),
    (target("good.test", 5), HTTP_PROXY, "reachable"),
    (target("denied.test", 6), HTTP_PROXY, "proxy.denied"),
    (target("good.test", 7), SOCKS_PROXY, "reachable"),
    (target("denied.test", 8), SOCKS_PROXY, "proxy.socks"),
    (target(DROP[0], 9, DROP[1]), None, "tcp.dropped"),
    (target(None, 10, pattern="20.0.0.0/8"), None, "meta.not_testable"),
]


def test_a_whole_run(ground: Ground) -> None:
    """The same verdicts by the fake and by the real network, within the same time."""
    waiting: dict[str, list[ProxyServer | None]] = {}
    for row, way, _ in ROWS:
        if way and row.host:
            waiting.setdefault(row.host, []).append(way)

    class Ways(FakeWayFinder):
        """The ways of a host in the order of its rows."""

        async def route(self, url: str, host: str) -> Route:
            ways = waiting.get(host)
            return Route(ways.pop(0)) if ways else Route()

    async def case(network: Network) -> None:
        began = ground.clock.now()
        tools = Tools(network, Ways(), ground.clock)
        report = await run([row for row, _, _ in ROWS], tools, RunOptions(timeout_s=2.0))
        found = [(row.failure or row.outcome).value for row in report.rows]
        assert found == [verdict for _, _, verdict in ROWS]
        assert ground.clock.now() - began < 1.5 * 2.0

    ground.do(case)


def test_a_real_run_that_is_stopped_ends_at_once(loopback: LoopbackWorld) -> None:
    async def case() -> float:
        stop = asyncio.Event()
        network = real.build(SystemClock(), Trust(), servers=[loopback.resolver])
        asyncio.get_running_loop().call_later(0.4, stop.set)
        rows = [target(DROP[0], n, DROP[1]) for n in range(20)]
        began = time.monotonic()
        report = await run(
            rows, Tools(network, FakeWayFinder(), SystemClock()), RunOptions(timeout_s=20, stop=stop)
        )
        assert len(report.rows) == len(report.recording.unfinished) == 20
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await network.close()
        return time.monotonic() - began

    assert asyncio.run(case()) < 1.5


def test_the_loopback_world_is_a_world(tmp_path: Path) -> None:
    """It can be opened and closed twice, and leaves no listener."""
    served = World(doors={("127.9.1.1", 21901): Door()})
    for _ in range(2):
        with LoopbackWorld(served, tmp_path).open():
            pass
