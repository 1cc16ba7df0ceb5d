"""Attack table rows 14, 33 and 34: QUIC, tunnels and odd packets to listed addresses.

| row | held by |
|---|---|
| 33 raw bytes, SSH and HTTP where TLS is meant | also `test_names_on_the_wire.test_what_is_no_hello_is_refused` |
| 33 GRE, ESP, SCTP, UDP-Lite by rule | also `packet_table`, without an agent |
| 34 fragments by rule | also `packet_table`, without an agent |
| 34 inside a connection | `test_bypass_desync` |
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting, PadN

from tests.e2e.attempts import OTHERS, Attempt
from tests.e2e.attempts import UDP as DATAGRAM
from tests.lab import Lab
from tests.netns.bypass_scene import (
    ALLOWED,
    AT,
    CLOCK,
    CLOCK_PORT,
    NETWORK,
    PORT,
    QUIC_PORT,
    Played,
    Trick,
    played,
)
from tests.netns.odd_packets import network, send_raw
from tests.netns.told_bytes import Say, datagram, hello, noise, saying

pytestmark = pytest.mark.netns

INITIAL = b"\xc3\0\0\0\1\x08" + b"d" * 8
"""The head of a QUIC version 1 Initial packet (RFC 9000 section 17.2.2)."""

TUNNELS = OTHERS | {"AH": 51, "EtherIP": 97, "L2TP": 115, "DCCP": 33, "any host": 61}
TUNNEL_PORTS = {
    "VXLAN": 4789,
    "GENEVE": 6081,
    "WireGuard": 51820,
    "OpenVPN": 1194,
    "IPsec": 4500,
    "GTP": 2152,
}
NO_HELLO: dict[str, Say] = {
    "noise": lambda marker: [noise(64) + marker, marker],
    "SSH": lambda marker: [b"SSH-2.0-" + marker + b"\r\n", marker],
    "OpenVPN": lambda marker: [b"\0\x2a\x38" + noise(8) + marker, marker],
    "SOCKS": lambda marker: [b"\5\1\0" + marker, marker],
    "noise in a TLS record": lambda marker: [b"\x17\3\3\0\x40" + marker + noise(48), marker],
}

Packets = Callable[[Lab, str, bytes], Sequence[Any]]


def sending(there: str, packets: Packets) -> Callable[[Lab, bytes], None]:
    """The attempt that sends packets made by hand."""
    return lambda lab, marker: send_raw(lab, there, packets(lab, there, marker))


def protocol(there: str, number: int) -> Callable[[Lab, bytes], None]:
    """The attempt that sends the marker in a packet of a protocol."""

    def play(lab: Lab, marker: bytes) -> None:
        with contextlib.ExitStack() as opened:
            Attempt("tunnel", number, there, payload=marker.rjust(32, b"\0")).send(lab.device, opened)

    return play


def mapped(port: int) -> Callable[[Lab, bytes], None]:
    """QUIC by an IPv6 socket to an IPv4 address."""

    def play(lab: Lab, marker: bytes) -> None:
        with contextlib.ExitStack() as opened:
            way = Attempt("QUIC", DATAGRAM, AT[ALLOWED].v4, port, INITIAL + marker, mapped=True)
            way.send(lab.device, opened)

    return play


def stray(flags: str, **fields: Any) -> Packets:
    """A segment of no connection."""
    return lambda lab, there, marker: [
        network(lab, there) / TCP(sport=4242, dport=PORT, flags=flags, seq=9, ack=9, **fields) / marker
    ]


def first_piece(lab: Lab, there: str, marker: bytes) -> Sequence[Any]:
    """The first fragment of a hello; the rest never comes."""
    body = TCP(sport=4242, dport=PORT, flags="PA") / (hello(ALLOWED, marker) + bytes(3))
    if ":" in there:
        return [network(lab, there) / IPv6ExtHdrFragment(m=1, nh=6) / body]
    return [network(lab, there, flags="MF") / body]


def later_piece(lab: Lab, there: str, marker: bytes) -> Sequence[Any]:
    """A later fragment whose bytes look like a header for a listed door."""
    body = bytes(UDP(sport=4242, dport=CLOCK_PORT) / marker)
    if ":" in there:
        return [network(lab, there) / IPv6ExtHdrFragment(m=0, offset=8, nh=17) / body]
    return [network(lab, there, frag=8, proto=17) / body]


def overlapping(lab: Lab, there: str, marker: bytes) -> Sequence[Any]:
    """Two fragments with other bytes at one place: a door's port first, another's in the overlap."""
    first = bytes(UDP(sport=4242, dport=CLOCK_PORT, len=40) / bytes(32))
    second = bytes(UDP(sport=4242, dport=PORT, len=40)) + marker + bytes(16)
    head = network(lab, there)
    if ":" in there:
        pieces = ((first, 0, 1), (second, 0, 0))
        return [head / IPv6ExtHdrFragment(m=m, offset=at, nh=17) / data for data, at, m in pieces]
    return [
        network(lab, there, flags="MF", proto=17) / first,
        network(lab, there, frag=0, proto=17) / second[:40],
        network(lab, there, frag=1, proto=17) / (marker + bytes(24)),
    ]


def tiny_pieces(lab: Lab, there: str, marker: bytes) -> Sequence[Any]:
    """Fragments of eight bytes, so that the flags are not in the first (RFC 1858)."""
    whole = bytes(TCP(sport=4242, dport=PORT, flags="S") / marker)
    pieces = [whole[at : at + 8] for at in range(0, len(whole), 8)]
    last = len(pieces) - 1
    return [
        network(lab, there, flags="MF" if at < last else 0, frag=at, proto=6) / piece
        for at, piece in enumerate((*pieces[:-1], marker))
    ]


def with_options(port: int, *, connecting: bool = False) -> Packets:
    """A packet whose IP options hold the marker."""

    def made(lab: Lab, there: str, marker: bytes) -> Sequence[Any]:
        body = TCP(sport=4242, dport=port, flags="S") if connecting else UDP(sport=4242, dport=port)
        if ":" in there:
            return [network(lab, there) / IPv6ExtHdrDestOpt(options=[PadN(optdata=marker)]) / body]
        return [
            network(lab, there, options=[IPOption(copy_flag=1, optclass=0, option=30, value=marker)]) / body
        ]

    return made


def source_routed(lab: Lab, there: str, marker: bytes) -> Sequence[Any]:
    """By way of a listed address to an unlisted one (RFC 5095 forbids it)."""
    routed = IPv6ExtHdrRouting(addresses=["2606:2800:220:1::200"], type=0)
    return [network(lab, there) / routed / UDP(sport=4242, dport=CLOCK_PORT) / marker]


ODD: dict[str, tuple[Packets, str]] = {
    "data of no connection": (stray("PA"), "flow_unknown"),
    "data without flags": (stray(""), "tcp_malformed"),
    "data with every flag": (stray("FSRPAUEC"), "tcp_malformed"),
    "an end of no connection, with data": (stray("FA"), "flow_unknown"),
    "a reset of no connection, with data": (stray("R"), "flow_unknown"),
    "a beginning with data": (stray("S"), "tcp_syn_data"),
    "a beginning with data and an end": (stray("SF"), "tcp_malformed"),
    "a beginning with a wrong checksum": (stray("S", chksum=0x4321), "tcp_malformed"),
    "a header cut short": (stray("S", dataofs=4), "tcp_malformed"),
    "a first fragment": (first_piece, "fragment"),
    "a later fragment": (later_piece, "fragment"),
    "overlapping fragments": (overlapping, "fragment"),
}


def tricks() -> Iterator[Trick]:
    """Every attempt, IPv4 and IPv6."""
    for v in ("v4", "v6"):
        to, clock, net = (getattr(each, v) for each in (AT[ALLOWED], AT[CLOCK], NETWORK))
        for name, there in (("a listed name", to), ("a name listed for UDP 443", clock)):
            yield Trick(f"QUIC to {name}, {v}", datagram(there, QUIC_PORT, INITIAL), "quic_refused")
        for name, number in TUNNELS.items():
            # IPv6 reads AH as a header with another behind it: zeros, so options for every hop.
            reason = "ip_options" if (name, v) == ("AH", "v6") else "not_listed"
            yield Trick(f"{name} to a listed name, {v}", protocol(to, number), reason)
        for name in ("GRE", "ESP", "IPv6 in IP"):
            yield Trick(f"{name} to a listed network, {v}", protocol(net, TUNNELS[name]), "not_listed")
        for name, port in TUNNEL_PORTS.items():
            yield Trick(f"{name} to a listed name, {v}", datagram(to, port), "not_listed")
            yield Trick(f"{name} to a listed clock, {v}", datagram(clock, port), "not_listed")
        for name, what in NO_HELLO.items():
            yield Trick(f"{name} in TCP, {v}", saying(to, PORT, what), "tls_unreadable")
        for name, (packets, reason) in ODD.items():
            there = clock if "fragment" in name and "first" not in name else to
            yield Trick(f"{name}, {v}", sending(there, packets), reason)
        listed = sending(to, with_options(PORT, connecting=True))
        yield Trick(f"options to a listed name, {v}", listed, "tcp_malformed")
        yield Trick(f"a datagram to the clock, {v}", datagram(clock, CLOCK_PORT), None)
        yield Trick(f"a long datagram to the clock, {v}", datagram(clock, CLOCK_PORT, bytes(4000)), None)
        yield Trick(f"raw bytes to a listed network, {v}", saying(net, PORT, NO_HELLO["noise"]), None)
        for name, there, packets in (
            ("the clock", clock, with_options(CLOCK_PORT)),
            ("a listed network", net, with_options(PORT, connecting=True)),
        ):
            yield Trick(f"options to {name}, {v}", sending(there, packets), "ip_options")
    yield Trick("a source route", sending(AT[CLOCK].v6, source_routed), "ip_options")
    yield Trick("QUIC by a mapped address", mapped(QUIC_PORT), "quic_refused")
    yield Trick("fragments of eight bytes", sending(AT[ALLOWED].v4, tiny_pieces), "fragment")


TRICKS = tuple(tricks())


@pytest.fixture(scope="module")
def made() -> Iterator[Played]:
    with played(TRICKS) as opened:
        yield opened


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_each_attempt(made: Played, trick: Trick) -> None:
    made.judge(trick)
