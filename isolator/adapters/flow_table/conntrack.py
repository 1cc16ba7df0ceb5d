"""Entries of connection tracking by netlink: list and delete (linux/netfilter/nfnetlink_conntrack.h)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from isolator.adapters.flow_table.netlink import Conversation, attribute, attributes
from isolator.model.flow import Address, Hook, Packet

NETFILTER = 12
"""NETLINK_NETFILTER."""

_GET = 1 << 8 | 1
_DELETE = 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE = 1, 2, 12, 18
_TUPLE_ADDRESSES, _TUPLE_PROTOCOL = 1, 2
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
"""Of the calling thread's network namespace; asking by netlink first would load the tracking."""


@dataclass(frozen=True, slots=True)
class End:
    """One direction of an entry."""

    source: Address
    destination: Address
    protocol: int
    source_port: int | None
    destination_port: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A tracked flow: both directions, and what names it to the kernel."""

    original: End
    reply: End
    request: bytes


def is_tracking() -> bool:
    """Does this network namespace track connections, with at least one entry?"""
    try:
        return int(_COUNT.read_text()) > 0
    except (OSError, ValueError):
        return False


def entries(talk: Conversation) -> Iterator[Entry]:
    """Every entry of both address families."""
    for family in (2, 10):
        header = struct.pack("=BBH", family, 0, 0)
        for answer in talk.dump(_GET, header):
            fields = attributes(answer, 4)
            named = b"".join(
                attribute(kind | (0x8000 if kind == _TUPLE_ORIGINAL else 0), fields[kind])
                for kind in (_TUPLE_ORIGINAL, _ID, _ZONE)
                if kind in fields
            )
            yield Entry(_end(fields[_TUPLE_ORIGINAL]), _end(fields[_TUPLE_REPLY]), header + named)


def _end(data: bytes) -> End:
    parts = attributes(data)
    addresses = attributes(parts[_TUPLE_ADDRESSES])
    protocol = attributes(parts[_TUPLE_PROTOCOL])
    source, destination = (addresses[1], addresses[2]) if 1 in addresses else (addresses[3], addresses[4])
    return End(
        ip_address(source),
        ip_address(destination),
        protocol[1][0],
        int.from_bytes(protocol[2], "big") if 2 in protocol else None,
        int.from_bytes(protocol[3], "big") if 3 in protocol else None,
    )


def outgoing_packet(entry: Entry, own: Collection[Address]) -> Packet | None:
    """What this host sends, or forwards, in that flow; None when both ends are on this host.

    Addresses are those the filter sees, after destination NAT: the reply's source is who is really
    talked to.
    """
    original, reply = entry.original, entry.reply
    far_is_own = _is_own(reply.source, own)
    if _is_own(original.source, own):
        if far_is_own:
            return None
        hook, there = Hook.OUTPUT, (original.source, original.source_port, reply.source, reply.source_port)
    elif far_is_own:
        hook, there = (
            Hook.OUTPUT,
            (reply.source, reply.source_port, reply.destination, reply.destination_port),
        )
    else:
        hook, there = Hook.FORWARD, (original.source, original.source_port, reply.source, reply.source_port)
    name = _NAMES.get(original.protocol, str(original.protocol))
    flags = frozenset({"ack"}) if name == "tcp" else frozenset()
    return Packet(hook, there[0], there[2], name, there[1], there[3], tcp_flags=flags)


def _is_own(address: Address, own: Collection[Address]) -> bool:
    return address.is_loopback or address in own


def delete(talk: Conversation, doomed: Sequence[Entry]) -> int:
    """Delete the entries and give how many were still there."""
    return talk.act(_DELETE, [entry.request for entry in doomed])
