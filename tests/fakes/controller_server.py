"""A FakeController behind HTTPS, and a TLS server that answers oddly; both in threads of the test."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from tests.fakes.controller import FakeController


class ControllerServer(ThreadingMixIn, TCPServer):
    """Serves `controller` on a listening socket with the certificate (key and chain) in `pem`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, controller: FakeController, listener: socket.socket, pem: Path) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_address = listener.getsockname()
        self.controller = controller
        self.connections = 0
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(pem)
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """TLS first, in the connection's own thread."""
        request.settimeout(70.0)
        try:
            wire = self._context.wrap_socket(request, server_side=True)
        except OSError:
            return
        self.connections += 1
        self._open.add(wire)
        try:
            with wire:
                self.RequestHandlerClass(wire, client_address, self)
        except OSError:
            pass  # the agent went away
        finally:
            self._open.discard(wire)

    def __enter__(self) -> ControllerServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.controller.drain()
        self.shutdown()
        self.server_close()
        self.cut()
        self._thread.join(5.0)

    def cut(self) -> None:
        """End every connection, as a restart does."""
        for wire in list(self._open):
            try:
                socket.socket.shutdown(wire, socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, ControllerServer)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = server.controller.post(self.path, json.loads(body))
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


Respond = Callable[[socket.socket], None]


class OddServer:
    """A TLS server that answers each connection with `respond`, whatever was asked."""

    def __init__(self, pem: Path, respond: Respond) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(pem)
        self._respond = respond
        self.asked = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(5.0)
            try:
                with self._context.wrap_socket(plain, server_side=True) as wire:
                    self.asked = wire.recv(65_536)
                    while not self.asked.endswith(b"}"):  # what is left unread would reset the connection
                        self.asked += wire.recv(65_536)
                    self._respond(wire)
            except OSError:
                plain.close()

    def __enter__(self) -> OddServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10.0)
