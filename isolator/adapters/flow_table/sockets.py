"""TCP and connected UDP sockets by sock_diag(7): list and destroy."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isolator.adapters.flow_table.netlink import Conversation, address
from isolator.model.flow import Hook, Packet

SOCK_DIAG = 4
"""NETLINK_SOCK_DIAG."""

_BY_FAMILY = 20
_DESTROY = 21
_REQUEST = struct.Struct("=BBBxI")
_IDENTITY = slice(4, 52)
"""struct inet_diag_sockid in struct inet_diag_msg: ports, addresses, interface, cookie."""
_UID = 64
_PORTS = struct.Struct(">HH")
_NUMBER = struct.Struct("=I")

_ESTABLISHED, _SYN_SENT, _SYN_RECEIVED, _TIME_WAIT, _LISTEN, _NEW_SYN_RECEIVED = 1, 2, 3, 6, 10, 12
_OPEN, _NONE = frozenset({"ack"}), frozenset[str]()
_FLAGS = {
    _SYN_SENT: frozenset({"syn"}),
    _SYN_RECEIVED: frozenset({"syn", "ack"}),
    _NEW_SYN_RECEIVED: frozenset({"syn", "ack"}),
}
_TCP_STATES = ((1 << 13) - 2) & ~(1 << _TIME_WAIT | 1 << _LISTEN)
"""Every TCP state in which something may be sent on behalf of a program."""

_QUESTIONS = tuple(
    (family, protocol, states)
    for family in (2, 10)
    for protocol, states in ((socket.IPPROTO_TCP, _TCP_STATES), (socket.IPPROTO_UDP, 1 << _ESTABLISHED))
)
"""AF_INET and AF_INET6 as Linux numbers them (sockets of the latter may hold IPv4 flows)."""


@dataclass(frozen=True, slots=True)
class LocalSocket:
    """A socket with a peer: the packet it sends next, and what names it to the kernel."""

    packet: Packet
    family: int
    protocol: int
    identity: bytes


def local_sockets(talk: Conversation) -> Iterator[LocalSocket]:
    """Every TCP socket but listeners and closed ones, and every connected UDP socket."""
    for family, protocol, states in _QUESTIONS:
        question = _REQUEST.pack(family, protocol, 0, states) + bytes(48)
        for answer in talk.dump(_BY_FAMILY, question):
            yield _socket(answer, protocol)


def _socket(answer: bytes, protocol: int) -> LocalSocket:
    family, state = answer[0], answer[1]
    identity = answer[_IDENTITY]
    width = 4 if family == 2 else 16
    source_port, destination_port = _PORTS.unpack_from(identity)
    is_tcp = protocol == socket.IPPROTO_TCP
    packet = Packet(
        hook=Hook.OUTPUT,
        source=address(identity[4 : 4 + width]),
        destination=address(identity[20 : 20 + width]),
        protocol="tcp" if is_tcp else "udp",
        source_port=source_port,
        destination_port=destination_port,
        tcp_flags=_FLAGS.get(state, _OPEN) if is_tcp else _NONE,
        uid=_NUMBER.unpack_from(answer, _UID)[0],
    )
    return LocalSocket(packet, family, protocol, identity)


def destroy(talk: Conversation, sockets: Sequence[LocalSocket]) -> int:
    """End the sockets; their owners get ECONNABORTED at once. Gives how many were still there.

    OSError EOPNOTSUPP where the kernel is built without INET_DIAG_DESTROY.
    """
    requests = [_REQUEST.pack(each.family, each.protocol, 0, 0) + each.identity for each in sockets]
    return talk.act(_DESTROY, requests)
