"""The server of the figures on gated connections: answers a TLS hello with a few bytes, or carries bulk.

Arguments: three ports. At the first it reads one whole hello, answers, and waits for the end; at the second
it then discards what comes, at the third it sends as fast as it can. It speaks no TLS: what the gate costs
shall not be hidden behind cryptography. Blocking workers: nothing in Python costs less per connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable

from bench import one_core

ANSWER = b"\x16\x03\x03\x04\x00" + bytes(1024)
_WORKERS = 24
_BULK_WORKERS = 2
_PATIENCE = (5).to_bytes(8, sys.byteorder) + bytes(8)
"""A struct timeval: a connection that says nothing must not hold a worker for ever."""
_PIECE = 256 * 1024


def read_hello(sock: socket.socket) -> bool:
    """Take one TLS record; False when the connection ended before."""
    got = sock.recv(65536)
    while got and (len(got) < 5 or len(got) < 5 + int.from_bytes(got[3:5], "big")):
        more = sock.recv(65536)
        if not more:
            return False
        got += more
    return bool(got)


def answer(sock: socket.socket) -> None:
    """Answer one hello and wait until the client has closed."""
    if read_hello(sock):
        sock.sendall(ANSWER)
        sock.recv(1)


def discard(sock: socket.socket) -> None:
    """Take everything that comes after the hello without looking at it."""
    if read_hello(sock):
        sock.sendall(ANSWER)
        room = bytearray(_PIECE)
        with one_core.on_it():
            while sock.recv_into(room):
                pass


def flood(sock: socket.socket) -> None:
    """Send until the client is gone."""
    if read_hello(sock):
        piece = bytes(_PIECE)
        with one_core.on_it():
            while True:
                sock.sendall(piece)


def work(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Serve one connection after the other for ever."""
    while True:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
            serve(sock)


def main(ports: list[int]) -> None:
    """Serve until the input closes."""
    kinds = ((answer, _WORKERS), (discard, _BULK_WORKERS), (flood, _BULK_WORKERS))
    workers = []
    for port, (serve, count) in zip(ports, kinds, strict=True):
        listener = socket.create_server(("0.0.0.0", port), backlog=4096)
        for _ in range(count):
            pid = os.fork()
            if not pid:
                os.close(0)
                work(listener, serve)
            workers.append(pid)
    print('{"ready": true}', flush=True)
    sys.stdin.read()
    for pid in workers:
        os.kill(pid, 9)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
