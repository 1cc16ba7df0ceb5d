"""An echo server that remembers what it heard from whom: nothing of a refused hello may ever get there."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address

from tests.lab.namespace import Namespace

_FREEBIND = 78
"""IPV6_FREEBIND: the addresses of the lab's internet are on no interface."""


class HearingEcho:
    """Serves one port on every address of a namespace, from a thread of this process."""

    def __init__(self, namespace: Namespace, port: int) -> None:
        self.heard: dict[tuple[str, int], bytes] = {}
        """By the client's address and port."""
        self._events = selectors.DefaultSelector()
        self._ending = threading.Event()
        for family in (socket.AF_INET, socket.AF_INET6):
            sock = namespace.socket(family)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, _FREEBIND, 1)
            sock.bind(("", port))
            sock.listen(512)
            sock.setblocking(False)
            self._events.register(sock, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and every connection."""
        self._ending.set()
        self._thread.join()
        for key in list(self._events.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._events.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._events.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                if key.data is None:
                    self._accept(key.fileobj)
                else:
                    self._echo(key.fileobj, key.data)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, peer = listener.accept()
            client.setblocking(False)
            self._events.register(client, selectors.EVENT_READ, (str(ip_address(peer[0])), int(peer[1])))

    def _echo(self, client: socket.socket, peer: tuple[str, int]) -> None:
        try:
            data = client.recv(65_536)
            if data:
                self.heard[peer] = self.heard.get(peer, b"") + data
                client.sendall(data)
                return
        except OSError:
            pass
        self._events.unregister(client)
        client.close()


@contextlib.contextmanager
def hearing_echo(namespace: Namespace, port: int) -> Iterator[HearingEcho]:
    """A server that ends with the block."""
    server = HearingEcho(namespace, port)
    try:
        yield server
    finally:
        server.close()
