"""IP packets: IPv4 (RFC 791), IPv6 (RFC 8200) and the headers of UDP, TCP and ICMP inside them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from isolator.model.datagram import Datagram
from isolator.model.flow import Address
from isolator.wire.checksum import checksum, ones_sum, pseudo_header
from isolator.wire.parse_error import ParseError, Unreadable

TCP = 6
UDP = 17
ICMP = 1
ICMPV6 = 58

MAX_EXTENSIONS = 8
"""IPv6 extension headers walked in one packet; a real one has four at most (RFC 8200 section 4.1)."""

MAX_DATAGRAM = 0xFFFF - 28
"""Bytes that fit into one UDP datagram over IPv4."""

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_TCP = struct.Struct("!HHIIBBH")
_DONT_FRAGMENT = 0x4000
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION = 0, 43, 44, 60
_TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")
_FLAG_SETS = tuple(
    frozenset(name for bit, name in enumerate(_TCP_FLAGS) if bits >> bit & 1) for bits in range(256)
)


@dataclass(frozen=True, slots=True)
class IpPacket:
    """One whole IP packet. `extras` counts the bytes of IPv4 options or IPv6 extension headers."""

    source: Address
    destination: Address
    protocol: int
    hop_limit: int
    length: int
    extras: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class TcpSegment:
    """The TCP header fields that rules and checks read (RFC 9293 section 3.1), and the payload.

    `acknowledgement` means something only with the flag "ack".
    """

    source_port: int
    destination_port: int
    sequence: int
    flags: frozenset[str]
    payload: bytes
    acknowledgement: int = 0


@dataclass(frozen=True, slots=True)
class IcmpMessage:
    """An ICMP or ICMPv6 message; `embedded` is the destination of the packet an error is about."""

    kind: int
    code: int
    embedded: Address | None


def parse_ip(data: bytes, *, verify: bool = False) -> IpPacket:
    """Read one IP packet that fills the buffer exactly.

    Raises ParseError for a buffer shorter or longer than the packet says (a queue that cut it, bytes smuggled
    behind it), for fragments, and for impossible header lengths. `verify` checks the IPv4 header sum too.
    """
    if not data:
        raise ParseError(Unreadable.IP_TRUNCATED)
    version = data[0] >> 4
    if version == 4:
        return _parse_ipv4(data, verify)
    if version == 6:
        return _parse_ipv6(data)
    raise ParseError(Unreadable.IP_VERSION)


def _parse_ipv4(data: bytes, verify: bool) -> IpPacket:
    if len(data) < 20:
        raise ParseError(Unreadable.IP_TRUNCATED)
    first, _, length, _, fragment, hops, protocol, _, source, destination = _IPV4.unpack_from(data)
    header = (first & 15) * 4
    if not 20 <= header <= length:
        raise ParseError(Unreadable.IP_HEADER)
    if length != len(data):
        raise ParseError(Unreadable.IP_LENGTH)
    # More fragments, an offset, or the reserved bit that nobody may set.
    if fragment & ~_DONT_FRAGMENT:
        raise ParseError(Unreadable.IP_FRAGMENT)
    if verify and ones_sum(data[:header]):
        raise ParseError(Unreadable.IP_CHECKSUM)
    return IpPacket(
        IPv4Address(source), IPv4Address(destination), protocol, hops, length, header - 20, data[header:]
    )


def _parse_ipv6(data: bytes) -> IpPacket:
    if len(data) < 40:
        raise ParseError(Unreadable.IP_TRUNCATED)
    _, length, protocol, hops, source, destination = _IPV6.unpack_from(data)
    # Zero would mean a jumbogram (RFC 2675) or a segment batch; neither carries what is judged here.
    if length + 40 != len(data):
        raise ParseError(Unreadable.IP_LENGTH)
    protocol, at = _skip_extensions(data, protocol)
    return IpPacket(
        IPv6Address(source), IPv6Address(destination), protocol, hops, len(data), at - 40, data[at:]
    )


def _skip_extensions(data: bytes, following: int) -> tuple[int, int]:
    """Walk the extension headers; gives the upper protocol and where it begins."""
    at = 40
    for _ in range(MAX_EXTENSIONS):
        if following == _FRAGMENT:
            raise ParseError(Unreadable.IP_FRAGMENT)
        if following not in (_HOP_BY_HOP, _ROUTING, _DESTINATION):
            return following, at
        if at + 8 > len(data):
            raise ParseError(Unreadable.IP_TRUNCATED)
        following, size = data[at], (data[at + 1] + 1) * 8
        at += size
        if at > len(data):
            raise ParseError(Unreadable.IP_TRUNCATED)
    raise ParseError(Unreadable.IP_HEADER)


def parse_udp(packet: IpPacket, *, verify: bool = False) -> Datagram:
    """Read the UDP datagram that fills the packet's payload exactly (no room for data behind it).

    `verify` checks the checksum. A field that holds the sum of the pseudo-header alone passes: so looks a
    datagram whose checksum the sending kernel left to the network card, as over veth. Zero means "none" in
    IPv4 and is wrong in IPv6 (RFC 8200 section 8.1).
    """
    if packet.protocol != UDP:
        raise ParseError(Unreadable.NOT_UDP)
    segment = packet.payload
    if len(segment) < 8:
        raise ParseError(Unreadable.UDP_TRUNCATED)
    source_port, destination_port, length, field = _UDP.unpack_from(segment)
    if length != len(segment):
        raise ParseError(Unreadable.UDP_LENGTH)
    if verify and not _udp_checksum_right(packet, field):
        raise ParseError(Unreadable.UDP_CHECKSUM)
    return Datagram(packet.source, source_port, packet.destination, destination_port, segment[8:])


def _udp_checksum_right(packet: IpPacket, field: int) -> bool:
    if field == 0:
        return packet.source.version == 4
    segment = packet.payload
    pseudo = pseudo_header(packet.source.packed, packet.destination.packed, UDP, len(segment))
    offloaded = ones_sum(pseudo)
    return (offloaded + ones_sum(segment)) % 0xFFFF == 0 or field % 0xFFFF == offloaded


def parse_tcp(packet: IpPacket) -> TcpSegment:
    """Read the TCP header; the checksum is the kernel's business."""
    if packet.protocol != TCP:
        raise ParseError(Unreadable.NOT_TCP)
    segment = packet.payload
    if len(segment) < 20:
        raise ParseError(Unreadable.TCP_TRUNCATED)
    source_port, destination_port, sequence, acknowledged, offset, bits, _ = _TCP.unpack_from(segment)
    header = (offset >> 4) * 4
    if not 20 <= header <= len(segment):
        raise ParseError(Unreadable.TCP_HEADER)
    return TcpSegment(
        source_port, destination_port, sequence, _FLAG_SETS[bits], segment[header:], acknowledged
    )


def parse_icmp(packet: IpPacket) -> IcmpMessage:
    """Read an ICMP (RFC 792) or ICMPv6 (RFC 4443) header and whom an error is about.

    An error's inner packet is cut short by design, so only its fixed header is read; `embedded` is None for
    messages that are no errors and for errors too short to tell.
    """
    data = packet.payload
    if packet.protocol != (ICMP if packet.source.version == 4 else ICMPV6):
        raise ParseError(Unreadable.NOT_ICMP)
    if len(data) < 8:
        raise ParseError(Unreadable.ICMP_TRUNCATED)
    kind, code, inner = data[0], data[1], data[8:]
    embedded: Address | None = None
    if packet.protocol == ICMP:
        # Unreachable, quench, redirect, time exceeded, parameter problem.
        if kind in (3, 4, 5, 11, 12) and len(inner) >= 20 and inner[0] >> 4 == 4:
            embedded = IPv4Address(inner[16:20])
    elif 0 < kind < 128 and len(inner) >= 40 and inner[0] >> 4 == 6:
        embedded = IPv6Address(inner[24:40])
    return IcmpMessage(kind, code, embedded)


def render_udp(datagram: Datagram, *, hop_limit: int = 64) -> bytes:
    """Give the whole IP packet of a datagram, checksums included.

    Raises ValueError when source and destination are of two families or the payload does not fit.
    """
    source, destination = datagram.source.packed, datagram.destination.packed
    length = 8 + len(datagram.payload)
    if len(source) != len(destination) or length - 8 > MAX_DATAGRAM:
        raise ValueError("a datagram needs addresses of one family and a payload that fits")
    ports = datagram.source_port, datagram.destination_port
    bare = _UDP.pack(*ports, length, 0) + datagram.payload
    total = ones_sum(pseudo_header(source, destination, UDP, length)) + ones_sum(bare)
    # Of the two zeros this gives all ones, as it must: the other says that there is no checksum (RFC 768).
    segment = _UDP.pack(*ports, length, 0xFFFF - total % 0xFFFF) + datagram.payload
    if len(source) == 16:
        return _IPV6.pack(6 << 28, length, UDP, hop_limit, source, destination) + segment
    header = _IPV4.pack(0x45, 0, 20 + length, 0, _DONT_FRAGMENT, hop_limit, UDP, 0, source, destination)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + segment
