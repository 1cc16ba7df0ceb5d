"""Entries of connection tracking by netlink: list and delete (linux/netfilter/nfnetlink_conntrack.h)."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isolator.adapters.flow_table.netlink import Conversation, address, attribute, attributes
from isolator.model.flow import Address, Hook, Packet

NETFILTER = 12
"""NETLINK_NETFILTER."""

_GET = 1 << 8 | 1
_DELETE = 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _ZONE = 1, 2, 12, 18
_TUPLE_ADDRESSES, _TUPLE_PROTOCOL = 1, 2
_NESTED = 0x8000
_OPEN, _NONE = frozenset({"ack"}), frozenset[str]()
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
"""Of the calling thread's network namespace; asking by netlink first would load the tracking."""


FlowKey = tuple[str, Address, int | None, Address, int | None]
"""Protocol and both ends, seen from this host."""


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
    """A tracked flow: both directions, and the attributes that name it to the kernel."""

    original: End
    reply: End
    family: int
    names: tuple[tuple[int, bytes], ...]

    @property
    def request(self) -> bytes:
        """Body of a request about exactly this entry; a new one of the same ends has another id."""
        header = struct.pack("=BBH", self.family, 0, 0)
        return header + b"".join(attribute(kind, value) for kind, value in self.names)


def is_tracking() -> bool:
    """Does this network namespace track connections, with at least one entry?"""
    try:
        return int(_COUNT.read_text()) > 0
    except (OSError, ValueError):
        return False


def entries(talk: Conversation) -> Iterator[Entry]:
    """Every entry of both address families."""
    for family in (2, 10):
        for answer in talk.dump(_GET, struct.pack("=BBH", family, 0, 0)):
            fields = attributes(answer, 4)
            original = fields[_TUPLE_ORIGINAL]
            names = (
                (_TUPLE_ORIGINAL | _NESTED, original),
                *_optional(fields, _ID),
                *_optional(fields, _ZONE),
            )
            yield Entry(_end(original), _end(fields[_TUPLE_REPLY]), family, names)


def _optional(fields: dict[int, bytes], kind: int) -> tuple[tuple[int, bytes], ...]:
    return ((kind, fields[kind]),) if kind in fields else ()


def _end(data: bytes) -> End:
    parts = attributes(data)
    addresses = attributes(parts[_TUPLE_ADDRESSES])
    protocol = attributes(parts[_TUPLE_PROTOCOL])
    source, destination = (addresses[1], addresses[2]) if 1 in addresses else (addresses[3], addresses[4])
    return End(
        address(source),
        address(destination),
        protocol[1][0],
        int.from_bytes(protocol[2], "big") if 2 in protocol else None,
        int.from_bytes(protocol[3], "big") if 3 in protocol else None,
    )


def outgoing_packet(
    entry: Entry, own: Container[Address], owners: Mapping[FlowKey, int | None]
) -> Packet | None:
    """What this host sends, or forwards, in that flow; None when both ends are on this host.

    Addresses are those the filter sees, after destination NAT: the reply's source is who is really
    talked to. `owners` gives the user of the socket, where there is one.
    """
    original, reply = entry.original, entry.reply
    source, source_port = original.source, original.source_port
    there, port = reply.source, reply.source_port
    hook = Hook.OUTPUT
    if source in own:
        if there in own:
            return None
    elif there in own:
        source, source_port, there, port = there, port, reply.destination, reply.destination_port
    else:
        hook = Hook.FORWARD
    name = _NAMES.get(original.protocol, str(original.protocol))
    flags = _OPEN if name == "tcp" else _NONE
    uid = owners.get((name, source, source_port, there, port))
    return Packet(hook, source, there, name, source_port, port, tcp_flags=flags, uid=uid)


def delete(talk: Conversation, doomed: Sequence[Entry]) -> int:
    """Delete the entries and give how many were still there."""
    return talk.act(_DELETE, [entry.request for entry in doomed])
