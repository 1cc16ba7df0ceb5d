"""A whole packet as the flow gate's segment (RFC 9293 section 3.1)."""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from isolator.model.flow import Address
from isolator.model.segment import FlowKey, Segment
from isolator.wire.checksum import ones_sum
from isolator.wire.parse_error import ParseError, Unreadable

_TCP = 6
_FRAGMENTED = 0xBFFF
"""More fragments, an offset, or the reserved bit; not the bit that forbids fragments."""
FEWEST_HOPS = 32
"""A segment that dies on the way is read by us and not by the server; systems start with 64 at least."""

_HEAD = struct.Struct("!4xIIBB")
_PORTS = struct.Struct("!HH")
_NAMES = ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr")
_FLAGS = tuple(frozenset(name for bit, name in enumerate(_NAMES) if bits >> bit & 1) for bits in range(256))


def parse_segment(data: bytes, token: int, *, inbound: bool) -> Segment:
    """Read one whole packet; `inbound` says that the server sent it, the flow is the client's all the same.

    Raises ParseError for what is no whole TCP segment, for IP options and extension headers, and for a wrong
    checksum or few hops: the server would not read such a segment, so it must not be judged as if it did. On
    the way in the kernel has looked at the checksum, or left it to hardware.
    """
    if not data:
        raise ParseError(Unreadable.IP_TRUNCATED)
    if data[0] == 0x45:
        at, ends_at = 20, 12
        hops = _check_ipv4(data)
    elif data[0] >> 4 == 6:
        at, ends_at = 40, 8
        hops = _check_ipv6(data)
    else:
        raise ParseError(Unreadable.IP_OPTIONS if data[0] >> 4 == 4 else Unreadable.IP_VERSION)
    if len(data) < at + 20:
        raise ParseError(Unreadable.TCP_TRUNCATED)
    sequence, acknowledgement, offset, bits = _HEAD.unpack_from(data, at)
    head = (offset >> 4) * 4
    if head < 20 or at + head > len(data):
        raise ParseError(Unreadable.TCP_HEADER)
    if not inbound:
        if not _is_right(data, at, ends_at):
            raise ParseError(Unreadable.TCP_CHECKSUM)
        if hops < FEWEST_HOPS:
            raise ParseError(Unreadable.IP_HOPS)
    flow = _flow(data[ends_at : at + 4], inbound)
    return Segment(flow, sequence, acknowledgement, _FLAGS[bits], data[at + head :], token)


def _check_ipv4(data: bytes) -> int:
    if len(data) < 20:
        raise ParseError(Unreadable.IP_TRUNCATED)
    if data[2] << 8 | data[3] != len(data):
        raise ParseError(Unreadable.IP_LENGTH)
    if (data[6] << 8 | data[7]) & _FRAGMENTED:
        raise ParseError(Unreadable.IP_FRAGMENT)
    if data[9] != _TCP:
        raise ParseError(Unreadable.NOT_TCP)
    return data[8]


def _check_ipv6(data: bytes) -> int:
    if len(data) < 40:
        raise ParseError(Unreadable.IP_TRUNCATED)
    if (data[4] << 8 | data[5]) + 40 != len(data):
        raise ParseError(Unreadable.IP_LENGTH)
    if data[6] != _TCP:
        raise ParseError(Unreadable.NOT_TCP)
    return data[7]


def _is_right(data: bytes, at: int, ends_at: int) -> bool:
    """Check the sum over addresses and segment, which are neighbours, and the rest of the pseudo-header."""
    return (ones_sum(data[ends_at:]) + _TCP + len(data) - at) % 0xFFFF == 0


@lru_cache(maxsize=4_096)
def _flow(ends: bytes, inbound: bool) -> FlowKey:
    """Give the connection of two addresses and two ports, as they stand in the packet."""
    size = len(ends) // 2 - 2
    source, destination = _address(ends[:size]), _address(ends[size:-4])
    source_port, destination_port = _PORTS.unpack_from(ends, 2 * size)
    if inbound:
        return FlowKey(destination, destination_port, source, source_port)
    return FlowKey(source, source_port, destination, destination_port)


@lru_cache(maxsize=4_096)
def _address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
