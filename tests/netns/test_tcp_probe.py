"""What the TCP probe learns from a real kernel: senders of ICMP errors, hops, and the TTL of an answer."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from connectivity_check.failure import Seen
from connectivity_check.model import Observation
from connectivity_check.probes.tcp import TcpProbe
from tests.netns.router_chain import RouterChain, router_chain

pytestmark = pytest.mark.netns

T = TypeVar("T")
OPEN, CLOSED = 443, 444
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])


class _Clock:
    def now(self) -> float:
        return time.monotonic()

    def utc(self) -> float:
        return time.time()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterChain]:
    with router_chain(tmp_path_factory.mktemp("chain")) as chain:
        listener = chain.host.in_namespace(
            lambda: socket.create_server(
                ("::", OPEN), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
            )
        )
        with listener:
            yield chain


@pytest.fixture
def chain(built: RouterChain) -> Iterator[RouterChain]:
    yield built
    built.clear()


def inside(chain: RouterChain, work: Callable[[TcpProbe], Awaitable[T]], source: str | None = None) -> T:
    async def run() -> T:
        return await work(TcpProbe(_Clock(), source_address=source))

    return chain.device.in_namespace(lambda: asyncio.run(run()))


def connect(
    chain: RouterChain, address: str, port: int, budget_s: float = 2.0, **options: Any
) -> Observation:
    async def work(probe: TcpProbe) -> Observation:
        tried = await probe.connect(address, port, budget_s=budget_s, **options)
        assert (tried.stream is None) == (tried.observation.seen is not None)
        if tried.stream is not None:
            tried.stream.close()
        return tried.observation

    return inside(chain, work)


def hops(chain: RouterChain, family: int, port: int = OPEN, budget_s: float = 4.0) -> Observation:
    return inside(chain, lambda probe: probe.hops(chain.target(family), port, budget_s=budget_s, max_hops=8))


def distance(chain: RouterChain, family: int, port: int, budget_s: float = 4.0) -> Observation:
    return inside(chain, lambda probe: probe.distance(chain.target(family), port, budget_s=budget_s))


@FAMILIES
def test_an_open_port(chain: RouterChain, family: int) -> None:
    observation = connect(chain, chain.target(family), OPEN)
    assert observation.ok
    rtt = observation.evidence["rtt_ms"]
    assert isinstance(rtt, float)
    assert 0 < rtt < 1000
    facts = {key: observation.evidence[key] for key in observation.evidence if key != "rtt_ms"}
    assert facts == {
        "address": chain.target(family),
        "port": OPEN,
        "family": family,
        "syns": 1,
        "source": chain.own(family),
    }


@FAMILIES
def test_a_closed_port_is_refused_without_icmp(chain: RouterChain, family: int) -> None:
    observation = connect(chain, chain.target(family), CLOSED)
    assert observation.seen is Seen.CONNECTION_REFUSED
    assert "icmp" not in observation.evidence
    assert "instant" not in observation.evidence


REJECTS = [
    (4, "admin-prohibited", 3, 13, Seen.HOST_UNREACHABLE),
    (4, "host-prohibited", 3, 10, Seen.HOST_UNREACHABLE),
    (4, "net-prohibited", 3, 9, Seen.NETWORK_UNREACHABLE),
    (4, "port-unreachable", 3, 3, Seen.CONNECTION_REFUSED),
    (4, "host-unreachable", 3, 1, Seen.HOST_UNREACHABLE),
    (4, "net-unreachable", 3, 0, Seen.NETWORK_UNREACHABLE),
    (6, "no-route", 1, 0, Seen.NETWORK_UNREACHABLE),
    (6, "admin-prohibited", 1, 1, Seen.HOST_UNREACHABLE),
    (6, "addr-unreachable", 1, 3, Seen.HOST_UNREACHABLE),
    (6, "port-unreachable", 1, 4, Seen.CONNECTION_REFUSED),
    (6, "policy-fail", 1, 5, Seen.HOST_UNREACHABLE),
    (6, "reject-route", 1, 6, Seen.HOST_UNREACHABLE),
]


@pytest.mark.parametrize(("family", "reason", "kind", "code", "seen"), REJECTS)
@pytest.mark.parametrize("router", ["near", "far"])
def test_a_router_that_rejects_is_named(
    chain: RouterChain, family: int, reason: str, kind: int, code: int, seen: Seen, router: str
) -> None:
    protocol = "icmp" if family == 4 else "icmpv6"
    chain.filter(getattr(chain, router), f"tcp dport {OPEN} reject with {protocol} type {reason}")
    observation = connect(chain, chain.target(family), OPEN)
    sender = chain.near_router(family) if router == "near" else chain.far_router(family)
    assert observation.seen is seen
    assert observation.evidence["icmp"] == {"from": sender, "type": kind, "code": code, "family": family}
    assert "instant" not in observation.evidence


@FAMILIES
def test_a_dropped_syn_is_silence_that_left_this_device(chain: RouterChain, family: int) -> None:
    chain.filter(chain.near, f"tcp dport {OPEN} drop")
    observation = connect(chain, chain.target(family), OPEN, budget_s=2.3)
    assert observation.seen is Seen.TIMEOUT
    assert 2.2 < observation.took_s < 3.0
    syns = observation.evidence["syns"]
    assert isinstance(syns, int)
    assert syns >= 2
    assert not {"unsent", "icmp", "instant", "rtt_ms"} & set(observation.evidence)


@FAMILIES
def test_a_filter_of_this_device_that_drops_is_told_from_the_network(chain: RouterChain, family: int) -> None:
    """Linux does not say EPERM for TCP: connect() goes on, and only TCP_INFO shows that nothing was sent."""
    chain.filter(chain.device, f"tcp dport {OPEN} drop", hook="output")
    observation = connect(chain, chain.target(family), OPEN, budget_s=2.3)
    assert observation.seen is Seen.PERMISSION_DENIED
    assert observation.evidence["unsent"] is True
    assert "instant" not in observation.evidence


@FAMILIES
def test_a_filter_of_this_device_that_rejects_names_this_device(chain: RouterChain, family: int) -> None:
    chain.filter(chain.device, f"tcp dport {OPEN} reject with icmpx type admin-prohibited", hook="output")
    observation = connect(chain, chain.target(family), OPEN)
    icmp = observation.evidence["icmp"]
    assert isinstance(icmp, dict)
    assert icmp["from"] == observation.evidence["source"] == chain.own(family)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("prohibit", Seen.PERMISSION_DENIED),
        ("unreachable", Seen.HOST_UNREACHABLE),
        ("blackhole", Seen.OTHER),
    ],
)
def test_a_route_that_refuses_does_so_at_once(chain: RouterChain, kind: str, seen: Seen) -> None:
    route = ["ip", "-n", chain.device.name, "route"]
    subprocess.run([*route, "add", kind, "10.77.0.0/16"], check=True)
    try:
        observation = connect(chain, "10.77.0.1", OPEN)
    finally:
        subprocess.run([*route, "del", kind, "10.77.0.0/16"], check=True)
    assert observation.seen is seen
    assert observation.evidence["instant"] is True
    assert observation.took_s < 0.5


def test_no_route_at_all(chain: RouterChain) -> None:
    route = ["ip", "-n", chain.device.name, "route"]
    subprocess.run([*route, "del", "default"], check=True)
    try:
        observation = connect(chain, chain.target(4), OPEN)
    finally:
        subprocess.run([*route, "add", "default", "via", chain.near_router(4)], check=True)
    assert observation.seen is Seen.NETWORK_UNREACHABLE
    assert observation.evidence["errno"] == "ENETUNREACH"
    assert observation.evidence["instant"] is True


def test_a_neighbour_that_is_not_there_is_reported_by_this_device_itself(chain: RouterChain) -> None:
    observation = connect(chain, "10.9.0.77", OPEN, budget_s=5.0)
    assert observation.seen is Seen.HOST_UNREACHABLE
    assert observation.evidence["icmp"] == {"from": chain.own(4), "type": 3, "code": 1, "family": 4}
    assert "unsent" not in observation.evidence


def test_a_syn_that_waits_for_a_neighbour_is_not_called_filtered(chain: RouterChain) -> None:
    """The budget ends before ARP gives up: no SYN was sent, but no filter of this device kept it back."""
    observation = connect(chain, "10.9.0.78", OPEN, budget_s=2.3)
    assert observation.seen is Seen.TIMEOUT
    assert "unsent" not in observation.evidence


def test_a_small_mss_is_announced(chain: RouterChain) -> None:
    chain.load(
        chain.near,
        "table inet t {\ncounter small { }\nchain c {\ntype filter hook forward priority 0;\n"
        f"tcp dport {OPEN} tcp flags & (syn | ack) == syn tcp option maxseg size 536 counter name small\n}}\n}}\n",
    )
    observation = connect(chain, chain.target(4), OPEN, mss=536)
    assert observation.ok
    assert observation.evidence["mss"] == 536
    assert _counted(chain, "small") == 1


def test_the_source_address_is_the_one_wished_for(chain: RouterChain) -> None:
    subprocess.run(["ip", "-n", chain.device.name, "addr", "add", "10.9.0.9/24", "dev", "right"], check=True)

    async def both(probe: TcpProbe) -> list[Observation]:
        tried = [await probe.connect(chain.target(family), CLOSED, budget_s=2) for family in (4, 6)]
        return [one.observation for one in tried]

    four, six = inside(chain, both, source="10.9.0.9")
    assert four.evidence["source"] == "10.9.0.9"
    assert six.evidence["source"] == chain.own(6)
    foreign = inside(chain, both, source="192.0.2.1")[0]
    assert foreign.seen is Seen.OTHER
    assert foreign.evidence["errno"] == "EADDRNOTAVAIL"


def test_three_hundred_at_once_are_cheap_and_leave_nothing_open(chain: RouterChain) -> None:
    chain.filter(chain.near, "tcp dport 9000-9199 drop")

    async def many(probe: TcpProbe) -> tuple[list[Observation], float]:
        ports = [OPEN] * 50 + [CLOSED] * 50 + [9000 + n for n in range(200)]
        began = time.process_time()
        tried = await asyncio.gather(*(probe.connect(chain.target(4), p, budget_s=1.5) for p in ports))
        for one in tried:
            if one.stream is not None:
                one.stream.close()
        return [one.observation for one in tried], time.process_time() - began

    observations, cpu_s = inside(chain, many)
    counts = [observation.seen for observation in observations]
    assert counts == [None] * 50 + [Seen.CONNECTION_REFUSED] * 50 + [Seen.TIMEOUT] * 200
    assert cpu_s < 1.0


@FAMILIES
def test_the_hop_walk_names_both_routers_and_reaches_the_host(chain: RouterChain, family: int) -> None:
    observation = hops(chain, family)
    kind = 11 if family == 4 else 3
    assert observation.ok
    assert [{key: hop[key] for key in hop if key != "ms"} for hop in _hops(observation)] == [
        {"ttl": 1, "from": chain.near_router(family), "type": kind, "code": 0},
        {"ttl": 2, "from": chain.far_router(family), "type": kind, "code": 0},
    ]
    assert observation.evidence["last_hop"] == chain.far_router(family)
    assert observation.evidence["last_ttl"] == 2
    assert observation.evidence["reached"] is True
    assert observation.evidence["reached_ttl"] == observation.evidence["max_ttl"] == 3
    assert observation.evidence["answer"] == "syn_ack"
    assert observation.took_s < 1.5


@FAMILIES
@pytest.mark.parametrize(("router", "last_ttl"), [("near", 1), ("far", 2)])
def test_the_walk_ends_at_the_router_that_drops(
    chain: RouterChain, family: int, router: str, last_ttl: int
) -> None:
    chain.filter(getattr(chain, router), f"tcp dport {OPEN} drop")
    observation = hops(chain, family)
    assert observation.ok
    assert observation.evidence["last_ttl"] == last_ttl
    assert observation.evidence["reached"] is False
    assert observation.evidence["max_ttl"] == 8
    assert 1.5 < observation.took_s < 3.0


def test_a_silent_router_does_not_end_the_walk(chain: RouterChain) -> None:
    chain.filter(chain.near, "icmp type time-exceeded drop", hook="output")
    observation = hops(chain, 4)
    assert [hop["ttl"] for hop in _hops(observation)] == [2]
    assert observation.evidence["reached"] is True


def test_the_walk_ends_at_a_router_that_rejects(chain: RouterChain) -> None:
    chain.filter(chain.far, f"tcp dport {OPEN} reject with icmp type admin-prohibited")
    observation = hops(chain, 4)
    last = _hops(observation)[-1]
    assert (last["from"], last["type"], last["code"]) == (chain.far_router(4), 3, 13)
    assert observation.evidence["reached"] is False
    assert observation.took_s < 1.5


def test_a_reset_from_the_way_shows_as_a_target_that_is_too_near(chain: RouterChain) -> None:
    chain.filter(chain.near, f"tcp dport {OPEN} reject with tcp reset")
    observation = hops(chain, 4)
    assert observation.evidence["reached_ttl"] == 2
    assert observation.evidence["answer"] == "rst"


def test_the_walk_sends_at_most_two_syns_a_ttl(chain: RouterChain) -> None:
    chain.load(
        chain.device,
        "table inet t {\ncounter syns { }\nchain c {\ntype filter hook output priority 0;\n"
        f"tcp dport {OPEN} counter name syns\n}}\n}}\n",
    )
    chain.filter(chain.near, f"tcp dport {OPEN} drop")
    hops(chain, 4)
    # One TTL answers at once; the other seven are asked twice, and nothing else is sent.
    assert _counted(chain, "syns", chain.device.name) == 1 + 7 * 2


def test_a_walk_into_nothing_says_so_within_the_budget(chain: RouterChain) -> None:
    chain.filter(chain.device, "tcp dport 443 drop", hook="output")
    observation = hops(chain, 4, budget_s=1.0)
    assert observation.seen is Seen.TIMEOUT
    assert observation.took_s < 1.4


@FAMILIES
@pytest.mark.parametrize(("port", "answer"), [(OPEN, "syn_ack"), (CLOSED, "rst")])
def test_the_distance_of_the_host(chain: RouterChain, family: int, port: int, answer: str) -> None:
    observation = distance(chain, family, port)
    assert observation.ok
    assert (observation.evidence["answer"], observation.evidence["ttl"]) == (answer, 62)
    tries = observation.evidence["tries"]
    assert isinstance(tries, int)
    assert tries <= 22


@FAMILIES
@pytest.mark.parametrize(("router", "ttl"), [("near", 64), ("far", 63)])
def test_a_reset_of_a_router_comes_from_nearer(
    chain: RouterChain, family: int, router: str, ttl: int
) -> None:
    chain.filter(getattr(chain, router), f"tcp dport {OPEN} reject with tcp reset")
    observation = distance(chain, family, OPEN)
    assert (observation.evidence["answer"], observation.evidence["ttl"]) == ("rst", ttl)


@pytest.mark.parametrize("start", [255, 128, 64, 32, 200, 3])
def test_the_distance_of_hosts_that_start_elsewhere(chain: RouterChain, start: int) -> None:
    chain.host.write_sysctls({"net/ipv4/ip_default_ttl": str(start)})
    try:
        observation = distance(chain, 4, OPEN)
    finally:
        chain.host.write_sysctls({"net/ipv4/ip_default_ttl": "64"})
    assert observation.evidence["ttl"] == start - 2


def test_the_distance_of_what_is_on_the_same_wire(chain: RouterChain) -> None:
    """A TTL of 255 as it left: the largest minimum there is."""
    chain.near.write_sysctls({"net/ipv4/ip_default_ttl": "255"})
    try:
        observation = inside(chain, lambda probe: probe.distance(chain.near_router(4), CLOSED, budget_s=4))
    finally:
        chain.near.write_sysctls({"net/ipv4/ip_default_ttl": "64"})
    assert observation.evidence["ttl"] == 255


def test_the_distance_survives_lost_answers(chain: RouterChain) -> None:
    """Every fifth SYN is lost: a wrong TTL must not be given; none, or the right one."""
    chain.filter(chain.near, f"tcp dport {OPEN} tcp flags & (syn | ack) == syn numgen inc mod 5 == 4 drop")
    ttls = [distance(chain, 4, OPEN).evidence.get("ttl") for _ in range(6)]
    assert set(ttls) <= {62, None}
    assert 62 in ttls


@pytest.mark.parametrize("statement", ["drop", "reject with icmp type admin-prohibited"])
def test_no_answer_has_no_distance(chain: RouterChain, statement: str) -> None:
    chain.filter(chain.far, f"tcp dport {OPEN} {statement}")
    observation = distance(chain, 4, OPEN, budget_s=1.0)
    assert observation.seen in (Seen.TIMEOUT, Seen.HOST_UNREACHABLE)
    assert "ttl" not in observation.evidence
    assert "answer" not in observation.evidence
    assert observation.took_s < 1.5


def _hops(observation: Observation) -> list[dict[str, Any]]:
    found = observation.evidence["hops"]
    assert isinstance(found, list)
    return found


def _counted(chain: RouterChain, name: str, namespace: str | None = None) -> int:
    argv = ["ip", "netns", "exec", namespace or chain.near.name, "nft", "list", "counter", "inet", "t", name]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"packets (\d+)", listed)
    assert found is not None
    return int(found[1])
