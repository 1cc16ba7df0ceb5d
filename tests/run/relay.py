"""What stands between the lab device and the controller: TLS on the lab's internet, HTTP on our loopback.

A reverse proxy as small as it gets: one request per connection. The device's address goes into
X-Forwarded-For, as the controller's settings allow for SOURCE.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

SOURCE = "127.0.0.2"
"""The loopback address the relay calls from; the one that is configured as a trusted proxy."""
_HEAD_LIMIT = 64 * 1024
_IDLE_S = 90.0


class Relay:
    """Serves on a listening socket of the lab, until closed; each connection has its thread."""

    def __init__(self, listener: socket.socket, pem: Path, port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._listener = listener
        self._upstream = ("127.0.0.1", port)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it, and every connection through it."""
        with self._lock:
            self._closed = True
            for each in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, str(address[0])), daemon=True).start()

    def _serve(self, plain: socket.socket, device: str) -> None:
        with contextlib.suppress(OSError, ValueError), plain:
            plain.settimeout(_IDLE_S)
            with (
                self._known(self._context.wrap_socket(plain, server_side=True)) as caller,
                self._known(
                    socket.create_connection(self._upstream, 10, source_address=(SOURCE, 0))
                ) as upstream,
            ):
                upstream.settimeout(_IDLE_S)
                upstream.sendall(_request(caller, device))
                while piece := upstream.recv(65536):
                    caller.sendall(piece)

    @contextlib.contextmanager
    def _known(self, connection: socket.socket):  # type: ignore[no-untyped-def]
        with self._lock:
            if self._closed:
                connection.close()
                raise OSError("closed")
            self._open.add(connection)
        try:
            with connection:
                yield connection
        finally:
            with self._lock:
                self._open.discard(connection)


def _request(caller: socket.socket, device: str) -> bytes:
    """One whole request with the proxy's own headers; ValueError when it is none."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = caller.recv(65536)
        if not piece or len(received) > _HEAD_LIMIT:
            raise ValueError("no request")
        received += piece
    head, body = received.split(b"\r\n\r\n", 1)
    line, *headers = head.split(b"\r\n")
    kept = [each for each in headers if not each.lower().startswith((b"connection:", b"x-forwarded-"))]
    length = next((int(each[15:]) for each in kept if each.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        piece = caller.recv(65536)
        if not piece:
            raise ValueError("half a request")
        body += piece
    own = [b"X-Forwarded-For: " + device.encode(), b"X-Forwarded-Proto: https", b"Connection: close"]
    return b"\r\n".join((line, *kept, *own)) + b"\r\n\r\n" + body
