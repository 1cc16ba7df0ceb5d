"""Packets that no honest program sends, through the device's own stack; also inside a connection."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from tests.lab import Lab
from tests.netns.bypass_scene import family_of
from tests.netns.told_bytes import CONNECT_S, LISTEN_S, mark_of

_REPAIR, _REPAIR_QUEUE, _QUEUE_SEQ = 19, 20, 21
_RECEIVED, _SENT, _OFF_QUIETLY = 1, 2, -1
"""TCP_REPAIR and its values (linux/tcp.h): root asks the kernel for the numbers of a connection."""


def send_raw(lab: Lab, there: str, packets: Sequence[Any], *, mark: int = 0) -> None:
    """Send whole packets (scapy's, or bytes) by a raw socket; what the kernel says is of no interest."""
    with lab.device.socket(family_of(there), socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        mark_of(sock, mark)
        for packet in packets:
            with contextlib.suppress(OSError):
                sock.sendto(bytes(packet), (there, 0))


def network(lab: Lab, there: str, **fields: Any) -> Any:
    """The network header from the device to an address."""
    here = lab.device.addresses
    if ":" in there:
        return IPv6(src=here.v6, dst=there, **fields)
    return IP(src=here.v4, dst=there, **fields)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection that the kernel has opened, and the numbers at which it stands."""

    lab: Lab
    socket: socket.socket
    there: str
    port: int
    own_port: int
    next: int
    """Sequence number of the next byte from the device."""
    expected: int
    """Sequence number of the next byte from the server."""

    def head(self, flags: str = "PA", *, at: int = 0, **fields: Any) -> Any:
        """A TCP header of this connection, so many bytes ahead of where it stands."""
        ends = {"sport": self.own_port, "dport": self.port}
        numbers = {"seq": (self.next + at) % (1 << 32), "ack": self.expected, "window": 502}
        return TCP(flags=flags, **ends | numbers | fields)

    def inject(self, *segments: Any, mark: int = 0, **network_fields: Any) -> None:
        """Send segments beside the kernel's own."""
        head = network(self.lab, self.there, **network_fields)
        send_raw(self.lab, self.there, [head / segment for segment in segments], mark=mark)

    def say(self, *pieces: bytes) -> None:
        """Say it on the kernel's socket, and listen for a moment: reset, end and silence are all the same."""
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.socket.sendall(piece)
            while self.socket.recv(1 << 16):
                pass


@contextlib.contextmanager
def connection(lab: Lab, there: str, port: int, *greeting: bytes) -> Iterator[Connection]:
    """Open one and have the greeting echoed; OSError when it cannot be opened."""
    with lab.device.socket(family_of(there), socket.SOCK_STREAM) as sock:
        sock.settimeout(CONNECT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((there, port))
        for piece in greeting:
            sock.sendall(piece)
            heard = 0
            while heard < len(piece):
                heard += len(sock.recv(1 << 16))
        sock.settimeout(LISTEN_S)
        following, expected = _numbers(sock)
        yield Connection(lab, sock, there, port, sock.getsockname()[1], following, expected)


def _numbers(sock: socket.socket) -> tuple[int, int]:
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, 1)
    found = []
    for queue in (_SENT, _RECEIVED):
        sock.setsockopt(socket.IPPROTO_TCP, _REPAIR_QUEUE, queue)
        found.append(sock.getsockopt(socket.IPPROTO_TCP, _QUEUE_SEQ) % (1 << 32))
    sock.setsockopt(socket.IPPROTO_TCP, _REPAIR, _OFF_QUIETLY)
    return found[0], found[1]


InConnection = Callable[[Connection, bytes], None]


def within(there: str, port: int, act: InConnection, *greeting: bytes) -> Callable[[Lab, bytes], None]:
    """The attempt that is made inside a connection which has said the greeting."""

    def play(lab: Lab, marker: bytes) -> None:
        with connection(lab, there, port, *greeting) as opened:
            act(opened, marker)

    return play
