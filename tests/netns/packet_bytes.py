"""A `Packet` value as the bytes of a real packet, so that one value is both walked and sent."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address

from isolator.model.flow import Address, Packet
from isolator.wire.checksum import checksum, pseudo_header

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmpv6": 58, "sctp": 132, "udplite": 136}
_TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16}
_FRAGMENT = 44
"""Next-header number of the IPv6 fragment header (RFC 8200, section 4.5)."""
_ND_WITH_TARGET = (135, 136)


class Piece(Enum):
    """Which part of a datagram the packet is."""

    WHOLE = "whole"
    FIRST = "first"
    LATER = "later"


def packet_bytes(packet: Packet, marker: bytes, *, piece: Piece = Piece.WHOLE, padding: int = 0) -> bytes:
    """The packet with `marker` somewhere in it; `padding` more bytes at its end."""
    number = PROTOCOLS[packet.protocol]
    # A later fragment's data looks like the header that it is not: ports and flags of a listed door.
    body = _BODIES[packet.protocol](packet, marker)
    body += b"." * padding
    if piece is Piece.FIRST:
        body += b"." * (-len(body) % 8)
    make = _ip4 if packet.source.version == 4 else _ip6
    return make(packet, number, body, piece)


def _ip4(packet: Packet, protocol: int, body: bytes, piece: Piece) -> bytes:
    fragment = {Piece.WHOLE: 0x4000, Piece.FIRST: 0x2000, Piece.LATER: 64}[piece]
    ends = packet.source.packed + packet.destination.packed
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(body), 4711, fragment, packet.hop_limit, protocol)
    header = start + struct.pack("!H", checksum(start + b"\0\0" + ends)) + ends
    return header + body


def _ip6(packet: Packet, protocol: int, body: bytes, piece: Piece) -> bytes:
    if piece is not Piece.WHOLE:
        offset = 0x0001 if piece is Piece.FIRST else 64 << 3
        body = struct.pack("!BBHI", protocol, 0, offset, 4711) + body
        protocol = _FRAGMENT
    header = struct.pack("!IHBB", 6 << 28, len(body), protocol, packet.hop_limit)
    return header + packet.source.packed + packet.destination.packed + body


def _summed(packet: Packet, number: int, body: bytes, at: int) -> bytes:
    pseudo = pseudo_header(packet.source.packed, packet.destination.packed, number, len(body))
    total = checksum((b"" if number == 1 else pseudo) + body)
    return body[:at] + struct.pack("!H", total) + body[at + 2 :]


def _tcp(packet: Packet, marker: bytes) -> bytes:
    flags = sum(_TCP_FLAGS[flag] for flag in packet.tcp_flags)
    ports = (packet.source_port, packet.destination_port)
    body = struct.pack("!HHIIBBHHH", *ports, 1000, 2000, 5 << 4, flags, 8192, 0, 0) + marker
    return _summed(packet, 6, body, 16)


def _udp(packet: Packet, marker: bytes) -> bytes:
    body = struct.pack("!HHHH", packet.source_port, packet.destination_port, 8 + len(marker), 0) + marker
    return _summed(packet, 17, body, 6)


def _udplite(packet: Packet, marker: bytes) -> bytes:
    return struct.pack("!HHHH", packet.source_port, packet.destination_port, 8, 0) + marker


def _sctp(packet: Packet, marker: bytes) -> bytes:
    return struct.pack("!HHII", packet.source_port, packet.destination_port, 0, 0) + marker


def _icmp(packet: Packet, marker: bytes) -> bytes:
    body = struct.pack("!BBHI", packet.icmp_type, packet.icmp_code or 0, 0, 1400)
    if packet.embedded is not None:
        body += _quoted(packet.destination, packet.embedded)
    return _summed(packet, 1, body + marker, 2)


def _icmpv6(packet: Packet, marker: bytes) -> bytes:
    word = 1400 if packet.icmp_type == 2 else 0
    body = struct.pack("!BBHI", packet.icmp_type, packet.icmp_code or 0, 0, word)
    if packet.embedded is not None:
        body += _quoted(packet.destination, packet.embedded)
    if packet.icmp_type in _ND_WITH_TARGET:
        body += packet.destination.packed.rjust(16, b"\0")
    if packet.icmp_type == 134:
        body += struct.pack("!II", 0, 0)
    if packet.icmp_type in (133, 134, 135, 136):
        body += b"\x01\x01"  # a link-layer address option; the marker is the address
    return _summed(packet, 58, body + marker, 2)


def _quoted(source: Address, destination: Address) -> bytes:
    """Head of the packet that an ICMP error is about: TCP from the host to port 443."""
    ports = struct.pack("!HHI", 50_000, 443, 1)
    ends = source.packed + destination.packed
    if isinstance(destination, IPv4Address):
        return struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0x4000, 64, 6, 0) + ends + ports
    return struct.pack("!IHBB", 6 << 28, 20, 6, 64) + ends + ports


def _opaque(_packet: Packet, marker: bytes) -> bytes:
    return b"\0\0\x08\0" + marker


_BODIES: dict[str, Callable[[Packet, bytes], bytes]] = {
    "tcp": _tcp,
    "udp": _udp,
    "udplite": _udplite,
    "sctp": _sctp,
    "icmp": _icmp,
    "icmpv6": _icmpv6,
    "gre": _opaque,
    "esp": _opaque,
}
