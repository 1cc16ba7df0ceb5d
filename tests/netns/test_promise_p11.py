"""P11: each dropped packet is counted under its reason, and `explain` says what the wire does.

The tables are read twice: what was sent must appear in one counter and no other, and the reason that explain
gives for a destination is the counter that a packet to it moves.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import dns.message
import pytest

from isolator.model.datagram import Datagram
from isolator.model.flow import Hook, Packet
from isolator.wire.ip_packet import render_udp
from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, world
from tests.lab.agent import Agent
from tests.lab.namespace import Namespace
from tests.lab.ports import ECHO, RDP, SMB
from tests.netns.packet_bytes import Piece, packet_bytes

pytestmark = pytest.mark.netns

V4, V6 = socket.AF_INET, socket.AF_INET6
N = 20
NAMED = "edge.svc.vendor.example"
NAMED4, NAMED6, LISTED4, LISTED6 = "20.91.0.1", "2603:1097::1", "20.90.0.7", "2603:1099::7"
LISTENER = 7100
ROWS = (
    Row(NAMED, ECHO),
    Row("20.90.0.0/24", ECHO),
    Row("20.90.0.0/24", ECHO, "udp"),
    Row("2603:1099::/64", ECHO),
)
MARKER = b"p11-marker"
Counters = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Scene:
    lab: Lab
    agent: Agent

    def counters(self) -> Counters:
        found: Any = orders.status(self.agent)["counters"]
        return {side: dict(found[side]) for side in ("accepted", "dropped")}

    def moved(self, act: Callable[[], object]) -> Counters:
        """Which counters an action moves, and by how much."""
        before = self.counters()
        act()
        after = self.counters()
        return {
            side: {
                reason: count - before[side].get(reason, 0)
                for reason, count in after[side].items()
                if count != before[side].get(reason, 0)
            }
            for side in after
        }


@pytest.fixture(scope="module")
def free() -> Iterator[Scene]:
    """Not isolated, with a list of its own in agent.yaml."""
    with Lab(container=True) as lab:
        lab.resolver.put(Host(NAMED, (NAMED4,), (NAMED6,)))
        lab.servers.listen(lab.device, [("tcp_echo", LISTENER)])
        policy = write_list(lab.directory / "own.yaml", ROWS)
        with lab.agent(f"lists: [{policy}]\n") as agent:
            yield Scene(lab, agent)


@pytest.fixture
def isolated(free: Scene) -> Iterator[Scene]:
    orders.isolate(free.agent)
    yield free
    orders.release(free.agent)


# Counters


def datagrams(
    source: Namespace, there: str, port: int, payload: bytes = MARKER, *, answered: bool = False
) -> None:
    """N datagrams from one socket, which stays until each has been answered where answers come.

    A socket that is gone when its answer comes would have the kernel send an ICMP error: one more drop.
    """
    family = V6 if ":" in there else V4
    with source.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        for _ in range(N):
            with contextlib.suppress(OSError):  # the filter tells the sender at once
                sock.sendto(payload, (there, port))
        for _ in range(N if answered else 0):
            sock.recv(4096)


def connections(lab: Lab, there: str, port: int) -> None:
    family = V6 if ":" in there else V4
    for _ in range(N):
        lab.reach.connect(there, port, family=family)


def pings(lab: Lab, there: str) -> None:
    with lab.device.socket(V4, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        for number in range(N):
            body = b"\x08\0" + (0xF7FF - number).to_bytes(2, "big") + b"\0\0" + number.to_bytes(2, "big")
            with contextlib.suppress(OSError):
                sock.sendto(body, (there, 0))


def fragments(lab: Lab) -> None:
    """First pieces of a datagram to a door that is open for whole ones."""
    own = ip_address(lab.device.addresses.v4)
    packet = Packet(
        hook=Hook.OUTPUT,
        source=own,
        destination=ip_address(LISTED4),
        protocol="udp",
        source_port=5000,
        destination_port=ECHO,
    )
    data = packet_bytes(packet, MARKER, piece=Piece.FIRST)
    with lab.device.socket(V4, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for _ in range(N):
            with contextlib.suppress(OSError):
                raw.sendto(data, (LISTED4, 0))


def queries(lab: Lab, kind: str, name: str = NAMED) -> None:
    query = dns.message.make_query(name, kind)
    datagrams(lab.device, "192.168.50.1", 53, query.to_wire(), answered=True)


def an_answer() -> bytes:
    return dns.message.make_response(dns.message.make_query(NAMED, "A")).to_wire()


def unasked(lab: Lab) -> None:
    """Answers in the resolver's name to a port of the device where nobody waits for one."""
    ends = (ip_address("192.168.50.1"), 53, ip_address(lab.device.addresses.v4), 40_000)
    data = render_udp(Datagram(*ends, an_answer()))
    with lab.router.socket(V4, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        for _ in range(N):
            raw.sendto(data, (lab.device.addresses.v4, 0))


FAR = world.UNLISTED_ADDRESS
DROPS: dict[str, tuple[str, Callable[[Lab], None]]] = {
    "udp": ("not_listed", lambda lab: datagrams(lab.device, FAR.v4, ECHO)),
    "udp v6": ("not_listed", lambda lab: datagrams(lab.device, FAR.v6, ECHO)),
    "tcp": ("not_listed", lambda lab: connections(lab, FAR.v4, ECHO)),
    "tcp v6": ("not_listed", lambda lab: connections(lab, FAR.v6, ECHO)),
    "another port": ("not_listed", lambda lab: connections(lab, LISTED4, 443)),
    "ping": ("not_listed", lambda lab: pings(lab, FAR.v4)),
    "ping of a listed address": ("not_listed", lambda lab: pings(lab, LISTED4)),
    "fragments": ("fragment", fragments),
    "inbound": ("inbound_not_listed", lambda lab: datagrams(lab.neighbour, lab.device.addresses.v4, ECHO)),
    "inbound v6": ("inbound_not_listed", lambda lab: datagrams(lab.neighbour, lab.device.addresses.v6, ECHO)),
    "forwarded": ("forwarded", lambda lab: datagrams(lab.container, FAR.v4, ECHO)),
    "forwarded to a listed door": ("forwarded", lambda lab: datagrams(lab.container, LISTED4, ECHO)),
    "forwarded inwards": (
        "forwarded",
        lambda lab: datagrams(lab.internet, lab.container.addresses.v4, ECHO),
    ),
    "another resolver": ("resolver_not_approved", lambda lab: datagrams(lab.device, "8.8.8.8", 53)),
    "a name": ("dns_name_not_allowed", lambda lab: queries(lab, "A", world.UNLISTED)),
    "a type": ("dns_type_not_allowed", lambda lab: queries(lab, "TXT")),
    "a type withheld": ("dns_type_withheld", lambda lab: queries(lab, "HTTPS")),
    "no DNS": (
        "dns_unreadable",
        lambda lab: datagrams(lab.device, "192.168.50.1", 53, b"?" * 40, answered=True),
    ),
    "an answer nobody asked for": ("dns_unasked_answer", unasked),
    "an answer outwards": (
        "dns_not_a_query",
        lambda lab: datagrams(lab.device, "192.168.50.1", 53, an_answer()),
    ),
}


def settle(scene: Scene) -> None:
    """Until neighbours are known both ways, so that only what a test sends is counted."""
    for space in (scene.lab.neighbour, scene.lab.container):
        datagrams(space, scene.lab.device.addresses.v4, ECHO)
        datagrams(space, scene.lab.device.addresses.v6, ECHO)


@pytest.mark.parametrize("kind", DROPS)
def test_what_is_dropped_is_counted_once_under_its_reason(isolated: Scene, kind: str) -> None:
    reason, send = DROPS[kind]
    for _ in range(3):
        settle(isolated)
        moved = isolated.moved(lambda: send(isolated.lab))
        if moved["dropped"] == {reason: N}:
            return
        # A stack says a word of its own now and then (RFC 2710, RFC 3376); not three times in a row.
    assert moved["dropped"] == {reason: N}


def test_nothing_dropped_is_left_uncounted(isolated: Scene) -> None:
    """All kinds in one go: what did not come out of the device is the sum of the counters."""
    settle(isolated)
    with isolated.lab.judge.watch(MARKER) as sniffer:
        moved = isolated.moved(lambda: [send(isolated.lab) for _, send in DROPS.values()])
        assert not sniffer.report().seen(MARKER)
    assert sum(moved["dropped"].values()) == N * len(DROPS)


def test_counters_begin_anew_with_each_isolation_and_end_with_it(free: Scene) -> None:
    for _ in range(2):
        orders.isolate(free.agent)
        try:
            assert free.counters()["dropped"].get("forwarded", 0) == 0
            datagrams(free.lab.container, FAR.v4, ECHO)
            assert free.counters()["dropped"]["forwarded"] == N
        finally:
            orders.release(free.agent)


# Explain


@dataclass(frozen=True, slots=True)
class Asked:
    """A destination: its text for explain, how a test goes there, whether it is open and why."""

    text: str
    open: bool
    reason: str
    host: str
    port: int = ECHO
    udp: bool = False


TABLE = (
    Asked(f"tcp://{NAMED}:{ECHO}", True, "learned_address", NAMED),
    Asked(f"tcp://{NAMED4}:{ECHO}", True, "learned_address", NAMED4),
    Asked(f"tcp://[{NAMED6}]:{ECHO}", True, "learned_address", NAMED6),
    Asked(f"tcp://{LISTED4}:{ECHO}", True, "listed_network", LISTED4),
    Asked(f"tcp://[{LISTED6}]:{ECHO}", True, "listed_network", LISTED6),
    Asked(f"udp://{LISTED4}:{ECHO}", True, "listed_network", LISTED4, udp=True),
    Asked(f"udp://[{LISTED6}]:{ECHO}", False, "not_listed", LISTED6, udp=True),
    Asked(f"udp://{NAMED4}:{ECHO}", False, "not_listed", NAMED4, udp=True),
    Asked(f"tcp://{LISTED4}:{SMB}", False, "not_listed", LISTED4, SMB),
    Asked(f"tcp://{NAMED}:{SMB}", False, "not_listed", NAMED, SMB),
    Asked(f"tcp://{FAR.v4}:{ECHO}", False, "not_listed", FAR.v4),
    Asked(f"tcp://[{FAR.v6}]:{ECHO}", False, "not_listed", FAR.v6),
    Asked(f"udp://{FAR.v4}:{ECHO}", False, "not_listed", FAR.v4, udp=True),
    Asked(f"tcp://192.168.50.20:{RDP}", False, "not_listed", "192.168.50.20", RDP),
    Asked("udp://93.184.216.200:53", False, "resolver_not_approved", FAR.v4, 53, udp=True),
    Asked(f"tcp://{world.UNLISTED}:{ECHO}", False, "dns_name_not_allowed", world.UNLISTED),
    Asked(f"tcp://127.0.0.1:{LISTENER}", True, "loopback", "127.0.0.1", LISTENER),
    Asked(f"tcp://192.168.50.10:{LISTENER}", True, "loopback", "192.168.50.10", LISTENER),
)


def go(scene: Scene, asked: Asked) -> bool:
    family = V6 if ":" in asked.host else V4
    probe = scene.lab.reach.udp if asked.udp else scene.lab.reach.tcp
    return probe(asked.host, asked.port, family=family).ok


def test_every_destination_of_the_table_is_reached_while_not_isolated(free: Scene) -> None:
    """Positive control, and explain says so, with what isolation would change."""
    for asked in TABLE:
        assert go(free, asked), asked
        said: Any = orders.explain(free.agent, asked.text)
        assert (said["verdict"], said["reason"]) == ("accept", "not_isolated"), asked
        assert said["during"] == "not isolated"
        if asked.host not in (NAMED4, NAMED6):  # an address that only a name opens: nobody knows it yet
            would = said["if_isolated"]
            assert ((would["verdict"] == "accept"), would["reason"]) == (asked.open, asked.reason), asked


@pytest.mark.parametrize("asked", TABLE, ids=lambda asked: asked.text)
def test_explain_says_what_the_wire_does(isolated: Scene, asked: Asked) -> None:
    said: Any = orders.explain(isolated.agent, asked.text)
    assert said["during"] == "isolation"
    went: list[bool] = []
    moved = isolated.moved(lambda: went.append(go(isolated, asked)))
    assert went == [asked.open]
    assert (said["verdict"] == "accept", said["reason"]) == (asked.open, asked.reason)
    assert moved["accepted" if asked.open else "dropped"].get(said["reason"], 0) > 0, moved
    assert said["rule"]
    by_an_entry = asked.reason in ("learned_address", "listed_network") or asked.host == NAMED
    assert (said["entry"] is not None) is by_an_entry


def test_a_resolver_is_explained_as_judged_by_name(isolated: Scene) -> None:
    said = orders.explain(isolated.agent, "udp://192.168.50.1:53")
    assert said["verdict"] == "queue"
    assert isolated.lab.reach.dns(NAMED).ok
    assert isolated.lab.reach.dns(world.UNLISTED).detail == "refused"


def test_an_address_learned_by_a_name_is_explained_with_it(isolated: Scene) -> None:
    assert isolated.lab.reach.tcp(NAMED).ok
    said: Any = orders.explain(isolated.agent, f"tcp://{NAMED4}:{ECHO}")
    assert said["pattern"] == NAMED
    assert said["entry"] == "own#1"
