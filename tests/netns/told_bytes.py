"""What the attempts say over TCP, and a kernel's own connection to say it on."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
from collections.abc import Callable, Sequence

from tests.corpus import hellos
from tests.e2e.marked_queries import SO_MARK
from tests.lab import Lab
from tests.netns.bypass_scene import family_of

EVIL = "www.example.com"
CONNECT_S, LISTEN_S = 5.0, 0.2

Say = Callable[[bytes], Sequence[bytes]]
"""Makes the segments, one after the other, with the attempt's marker in them."""


def hello(name: str | None, marker: bytes, *more: hellos.Extension, size: int = 1 << 14) -> bytes:
    """A hello that carries the marker as its session identifier."""
    names = () if name is None else (hellos.server_name(name.encode("latin-1")),)
    return hellos.records(hellos.message(*names, *more, session=marker), size)


def naming(name: str | None, *more: hellos.Extension) -> Say:
    """A hello in one segment, and the marker behind it in another."""
    return lambda marker: [hello(name, marker, *more), marker]


def mark_of(sock: socket.socket, mark: int) -> None:
    """Let a socket's packets bring a mark along."""
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark.to_bytes(4, sys.byteorder))


def say(lab: Lab, address: str, port: int, pieces: Sequence[bytes], *, mark: int = 0) -> bytes:
    """Connect and send segment by segment, whatever happens; what was heard until the end or for a moment."""
    heard = b""
    with lab.device.socket(family_of(address), socket.SOCK_STREAM) as sock, contextlib.suppress(OSError):
        sock.settimeout(CONNECT_S)
        mark_of(sock, mark)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((address, port))
        for piece in pieces:
            sock.sendall(piece)
        sock.settimeout(LISTEN_S)
        expected = sum(map(len, pieces))
        while len(heard) < expected and (part := sock.recv(1 << 16)):
            heard += part
    return heard


def saying(address: str, port: int, what: Say, *, mark: int = 0) -> Callable[[Lab, bytes], None]:
    """The attempt that says it to an address."""

    def play(lab: Lab, marker: bytes) -> None:
        say(lab, address, port, what(marker), mark=mark)

    return play


def datagram(address: str, port: int, head: bytes = b"", *, mark: int = 0) -> Callable[[Lab, bytes], None]:
    """The attempt that sends the marker behind some bytes in one datagram."""

    def play(lab: Lab, marker: bytes) -> None:
        with lab.device.socket(family_of(address), socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            mark_of(sock, mark)
            sock.sendto(head + marker, (address, port))

    return play


def noise(size: int) -> bytes:
    """Random bytes."""
    return secrets.token_bytes(size)
