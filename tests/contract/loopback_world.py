"""The doors of a `World` as real servers on loopback: every kind of answer, proxies, and a resolver."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import trustme

from connectivity_check.failure import Seen
from connectivity_check.model import ProxyScheme
from tests.contract import dns_server
from tests.fakes.network_world import Door, Gate, Page, Tcp, Tls, World

PATIENCE_S = 10.0
TUNNEL_MADE = b"HTTP/1.1 200 Connection established\r\n\r\n"


class LoopbackWorld:
    """Serves the doors at 127/8 addresses; other doors are reached through the proxies only."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.resolver: tuple[str, int] = ("127.0.0.1", 0)
        self.ca_file = directory / "ca.pem"
        self._authority, self._stranger = trustme.CA(), trustme.CA(organization_name="Stranger")
        self._authority.cert_pem.write_to_path(str(self.ca_file))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._ending = threading.Event()

    @contextlib.contextmanager
    def open(self) -> Iterator[LoopbackWorld]:
        """Everything listens inside `with`."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.resolver = free.getsockname()
        with dns_server.serving(*self.resolver, self._answers):
            try:
                for (address, port), door in self.world.doors.items():
                    if address.startswith("127."):
                        self._listen(address, port, door)
                yield self
            finally:
                self._close()

    def _close(self) -> None:
        self._ending.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes a thread that accepts or receives
            each.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _answers(self, query: dns.message.Message) -> list[dns.message.Message | bytes]:
        reply = dns.message.make_response(query)
        question = query.question[0]
        said = self.world.answer(question.name.to_text(omit_final_dot=True).lower())
        if said.seen is Seen.TIMEOUT:
            return []
        if said.seen is Seen.DNS_NXDOMAIN:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        kind = "A" if question.rdtype == 1 else "AAAA"
        found = [each for each in said.addresses if (":" in each) == (kind == "AAAA")]
        if found:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        return [reply]

    def _listen(self, address: str, port: int, door: Door) -> None:
        if door.tcp is Tcp.REFUSE:
            return
        listening = socket.create_server((address, port), backlog=0 if door.tcp is Tcp.DROP else 16)
        self._sockets.append(listening)
        if door.tcp is Tcp.DROP:
            for _ in range(3):  # nobody accepts: once the queue is full, Linux drops further SYNs
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((address, port))
                self._sockets.append(filler)
            return
        self._start(lambda: self._accept(listening, door))

    def _start(self, work: object) -> None:
        thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket, door: Door) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_S)
            self._sockets.append(connection)
            self._start(lambda connection=connection: self._attend(connection, door))

    def _attend(self, connection: socket.socket, door: Door) -> None:
        try:
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._serve(connection, door)
        finally:
            connection.close()

    def _serve(self, connection: socket.socket, door: Door | None) -> None:
        if door is None:
            return
        if door.gate:
            self._proxy(connection, door.gate)
        elif connection.recv(1, socket.MSG_PEEK) == b"\x16":
            self._tls(connection, door)
        else:
            _answer(connection, door.page, _head(connection))

    def _tls(self, connection: socket.socket, door: Door) -> None:
        hello = connection.recv(4096, socket.MSG_PEEK)
        kind = next((k for name, k in door.tls_of.items() if name.encode() in hello), door.tls)
        if kind is Tls.SILENT:
            self._ending.wait(PATIENCE_S)
        elif kind is Tls.RESET:
            connection.recv(4096)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif kind is Tls.END:
            connection.recv(4096)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        elif kind is Tls.NOT_TLS:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(1)
        else:
            with self._context(kind).wrap_socket(connection, server_side=True) as secure:
                _answer(secure, door.page, _head(secure))

    def _context(self, kind: Tls) -> ssl.SSLContext:
        issuer = self._authority if kind in (Tls.GOOD, Tls.WRONG_NAME) else self._stranger
        names = ("other.test",) if kind is Tls.WRONG_NAME else (*self.world.names, *_literals(self.world))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert(*names).configure_cert(context)
        return context

    def _proxy(self, connection: socket.socket, gate: Gate) -> None:
        if gate.silent:
            self._ending.wait(PATIENCE_S)
        elif gate.scheme is ProxyScheme.SOCKS5H:
            self._socks(connection, gate)
        elif gate.scheme is ProxyScheme.HTTPS:
            with self._context(gate.tls).wrap_socket(connection, server_side=True) as secure:
                _answer(secure, Page(status=gate.status or 403), _head(secure))
        else:
            self._http_proxy(connection, gate)

    def _http_proxy(self, connection: socket.socket, gate: Gate) -> None:
        method, wanted, *_ = _head(connection).split()
        authority = wanted if method == "CONNECT" else wanted.partition("://")[2].partition("/")[0]
        host, _, port = authority.partition(":")
        status = gate.status or (403 if gate.denied & {host, "*"} else 0)
        door = self.world.door_of(host, int(port or 80))
        if not status and (door is None or door.tcp is not Tcp.ACCEPT):
            status = 503
        if status:
            _answer(connection, Page(status=status, html=True, body="<html>no</html>"), "")
        elif method == "CONNECT":
            connection.sendall(TUNNEL_MADE)
            self._serve(connection, door)
        elif door:
            _answer(connection, door.page, "")

    def _socks(self, connection: socket.socket, gate: Gate) -> None:
        """RFC 1928, names only."""
        connection.recv(1 + 1 + connection.recv(2, socket.MSG_PEEK)[1])
        connection.sendall(b"\x05\x00")
        length = connection.recv(5)[4]
        host = connection.recv(length).decode()
        port = int.from_bytes(connection.recv(2), "big")
        refused = bool(gate.denied & {host, "*"})
        connection.sendall(bytes([5, 2 if refused else 0, 0, 1, 0, 0, 0, 0, 0, 0]))
        if not refused:
            self._serve(connection, self.world.door_of(host, port))


def _literals(world: World) -> list[str]:
    return sorted({address for address, _ in world.doors if address.startswith("127.")})


def _head(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(4096)
        if not piece:
            raise ValueError("no request")
        data += piece
    return data.decode("latin-1")


def _answer(connection: socket.socket, page: Page, request: str) -> None:
    if page.cut is Seen.EOF:
        return
    body = page.body.encode()
    kind = "text/html" if page.html else "text/plain"
    head = f"HTTP/1.1 {page.status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
