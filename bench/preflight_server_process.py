"""TLS servers under many names, on every address of their namespace, port 443: one epoll loop, little else.

Each name has a certificate and a key of its own, as on the internet. A server that is slower than its clients
would make all clients look alike, so nothing here is done twice. Argument: a JSON file, name -> PEM file.
Ends when its input closes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import select
import socket
import ssl
import sys
from pathlib import Path

_IPV6_FREEBIND = 78
"""linux/in6.h: IPv6 answers from an address that is on no interface only when asked to."""
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"


class Server:
    """All listeners and connections."""

    def __init__(self, certificates: dict[str, str]) -> None:
        self._contexts = {name: _context(pem) for name, pem in certificates.items()}
        self._front = _context(next(iter(certificates.values())))
        self._front.sni_callback = self._choose
        self._epoll = select.epoll()
        self._listeners = {each.fileno(): each for each in map(_bound, (socket.AF_INET, socket.AF_INET6))}
        self._open: dict[int, ssl.SSLSocket] = {}
        self._greeted: set[int] = set()

    def serve(self) -> None:
        """Serve until standard input closes."""
        self._epoll.register(0, select.EPOLLIN)
        for number in self._listeners:
            self._epoll.register(number, select.EPOLLIN)
        while True:
            for number, _ in self._epoll.poll():
                if number == 0:
                    return
                if number in self._listeners:
                    self._accept(self._listeners[number])
                elif number in self._open:
                    self._advance(number)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if (context := self._contexts.get(name or "")) is not None:
            connection.context = context

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                plain, _ = listener.accept()
                plain.setblocking(False)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                number = plain.fileno()
                self._open[number] = self._front.wrap_socket(
                    plain, server_side=True, do_handshake_on_connect=False
                )
                self._epoll.register(number, select.EPOLLIN)

    def _advance(self, number: int) -> None:
        connection = self._open[number]
        try:
            if number not in self._greeted:
                connection.do_handshake()
                self._greeted.add(number)
            while data := connection.recv(65536):
                if data.endswith(b"\r\n\r\n"):
                    connection.send(_ANSWER)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            pass  # the client is gone: it has what it came for
        self._greeted.discard(number)
        del self._open[number]
        connection.close()


def _context(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _bound(family: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    sock.bind(("", 443))
    sock.listen(1024)
    sock.setblocking(False)
    return sock


def main(file: str) -> None:
    """Serve until the input closes."""
    server = Server(json.loads(Path(file).read_text()))
    gc.freeze()
    gc.disable()  # a collection in the middle of one way's turn would be that way's loss
    print('{"ready": true}', flush=True)
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1])
