"""Attack table row 25: root sets the gate's marks itself, on connections, datagrams, queries and packets made by hand.

| row | held by |
|---|---|
| 25 queries over UDP to the IPv4 resolver, datagrams to strangers | also `test_promise_p4.test_a_mark_of_ones_own_opens_nothing` |
| 25 by rule, also when nobody judges | also `packet_table`, rows "forged mark" |
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6ExtHdrFragment

from isolator.model.ruleset import APPROVED_BIT, FLOW_BIT
from tests.e2e.attempts import OTHERS
from tests.lab import Lab, topology, world, zone
from tests.netns.bypass_scene import (
    ALLOWED,
    AT,
    CLOCK,
    PORT,
    QUIC_PORT,
    QUIET,
    Played,
    Trick,
    family_of,
    played,
)
from tests.netns.odd_packets import Connection, network, send_raw, within
from tests.netns.told_bytes import EVIL, datagram, hello, mark_of, naming, saying

pytestmark = pytest.mark.netns

MARKS = {
    "approved": APPROVED_BIT,
    "flow": FLOW_BIT,
    "both": APPROVED_BIT | FLOW_BIT,
    "all": 0xFFFF_FFFF,
}
ROUTER = topology.ADDRESSES[topology.ROUTER]


def query(marker: bytes) -> bytes:
    """A question whose name holds the marker, below a zone that nobody listed."""
    return zone.ask(f"{marker.decode()}.{world.TUNNEL_ZONE}", zone.A, 4711)


def asking(resolver: str, mark: int) -> Callable[[Lab, bytes], None]:
    """The query over UDP."""

    def play(lab: Lab, marker: bytes) -> None:
        with lab.device.socket(family_of(resolver), socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            mark_of(sock, mark)
            sock.sendto(query(marker), (resolver, 53))

    return play


def asking_by_tcp(resolver: str, mark: int) -> Callable[[Lab, bytes], None]:
    """The query over TCP."""

    def framed(marker: bytes) -> Sequence[bytes]:
        return [len(query(marker)).to_bytes(2, "big") + query(marker)]

    return saying(resolver, 53, framed, mark=mark)


def segment(there: str, flags: str, mark: int, *, piece: bool = False) -> Callable[[Lab, bytes], None]:
    """A segment made by hand, of no connection."""

    def play(lab: Lab, marker: bytes) -> None:
        body: Any = TCP(sport=4242, dport=PORT, flags=flags, seq=9, ack=9) / (
            hello(ALLOWED, marker) + bytes(3)
        )
        head = network(lab, there)
        if piece and ":" in there:
            head = head / IPv6ExtHdrFragment(m=1, nh=6)
        elif piece:
            head = network(lab, there, flags="MF")
        send_raw(lab, there, [head / body], mark=mark)

    return play


def protocol(there: str, number: int, mark: int) -> Callable[[Lab, bytes], None]:
    """A packet of another protocol."""

    def play(lab: Lab, marker: bytes) -> None:
        with (
            lab.device.socket(family_of(there), socket.SOCK_RAW, number) as sock,
            contextlib.suppress(OSError),
        ):
            mark_of(sock, mark)
            sock.sendto(marker.rjust(32, b"\0"), (there, 0))

    return play


def beside(mark: int) -> Callable[[Connection, bytes], None]:
    """In an approved connection: the same ends but one."""

    def act(opened: Connection, marker: bytes) -> None:
        opened.inject(opened.head(sport=opened.own_port ^ 1) / marker, mark=mark)

    return act


def tricks() -> Iterator[Trick]:
    """Every attempt with every mark, IPv4 and IPv6."""
    for v in ("v4", "v6"):
        to, clock, quiet = (getattr(AT[name], v) for name in (ALLOWED, CLOCK, QUIET))
        far, resolver = getattr(world.UNLISTED_ADDRESS, v), getattr(ROUTER, v)
        for name, mark in MARKS.items():
            here = f"mark {name}, {v}"
            yield Trick(
                f"a foreign name, {here}", saying(to, PORT, naming(EVIL), mark=mark), "tls_name_not_allowed"
            )
            yield Trick(f"no hello, {here}", saying(to, PORT, lambda m: [m], mark=mark), "tls_unreadable")
            yield Trick(
                f"not asked for, {here}", saying(quiet, PORT, naming(ALLOWED), mark=mark), "not_listed"
            )
            yield Trick(
                f"unlisted by TCP, {here}", saying(far, PORT, naming(ALLOWED), mark=mark), "not_listed"
            )
            yield Trick(f"unlisted by UDP, {here}", datagram(far, 7, mark=mark), "not_listed")
            yield Trick(f"QUIC, {here}", datagram(clock, QUIC_PORT, mark=mark), "quic_refused")
            yield Trick(f"another port, {here}", datagram(to, PORT, mark=mark), "not_listed")
            yield Trick(f"GRE, {here}", protocol(to, OTHERS["GRE"], mark), "not_listed")
            yield Trick(f"data of no connection, {here}", segment(to, "PA", mark), "flow_unknown")
            yield Trick(f"a beginning with data, {here}", segment(to, "S", mark), "tcp_syn_data")
            yield Trick(f"a first fragment, {here}", segment(to, "PA", mark, piece=True), "fragment")
            yield Trick(f"a query, {here}", asking(resolver, mark), "dns_name_not_allowed")
            yield Trick(f"a query to another resolver, {here}", asking(far, mark), "resolver_not_approved")
            yield Trick(f"a query by TCP, {here}", asking_by_tcp(resolver, mark), "dns_name_not_allowed")
            greeted = within(to, PORT, beside(mark), hello(ALLOWED, b"-" * 16))
            yield Trick(f"beside an approved connection, {here}", greeted, "flow_unknown")
        allowed = saying(to, PORT, naming(ALLOWED), mark=0x1)
        yield Trick(f"a mark that is not ours, {v}", allowed, None)


TRICKS = tuple(tricks())


@pytest.fixture(scope="module")
def made() -> Iterator[Played]:
    with played(TRICKS) as opened:
        yield opened


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_each_attempt(made: Played, trick: Trick) -> None:
    made.judge(trick)
