"""What can be reached from a namespace: one probe, one small result. Used by the demo's table and the tests.

Sockets are opened in the namespace and used from the calling process; names are asked at the lab's
resolvers over plain DNS, so a result says what the wire did, not what a stub resolver made of it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from tests.lab import zone
from tests.lab.namespace import Namespace
from tests.lab.ports import ECHO, HTTP, STREAM, TLS
from tests.lab.session import Session, describe


@dataclass(frozen=True, slots=True)
class Result:
    """One probe: whether it got through, what was got or what stopped it, how long it took."""

    ok: bool
    detail: str
    """An address, a body or an echo when ok; else one word: refused, nxdomain, timeout, ECONNREFUSED, ..."""
    took_ms: float


class _Stopped(Exception):
    """A probe ended early; the text is the result's detail."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Probes out of one namespace."""

    namespace: Namespace
    ca_pem: Path
    timeout_s: float = 1.0
    """For each step of a probe."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Names by address: a probe by address names the host too, as a program that has asked before does."""

    def dns(self, name: str, qtype: str = "A", *, server: str | None = None, tcp: bool = False) -> Result:
        """Ask for a name; ok when at least one address came back, in order and separated by spaces."""
        return _timed(lambda: " ".join(self._resolve(name, qtype, server, tcp)))

    def tcp(self, host: str, port: int = ECHO, *, family: int = socket.AF_INET) -> Result:
        """Connect, send a word and get it back (an echo port); ``host`` is a name or an address.

        Where the host has a name, the conversation begins with a ClientHello that says it.
        """
        return _timed(lambda: self._echo_over_tcp(host, port, family))

    def connect(self, host: str, port: int, *, family: int = socket.AF_INET) -> Result:
        """Connect and hang up again: for ports that do not echo."""

        def probe() -> str:
            with self.open(host, port, family) as sock:
                return str(sock.getpeername()[0])

        return _timed(probe)

    def udp(self, host: str, port: int = ECHO, *, family: int = socket.AF_INET) -> Result:
        """Send a datagram to an echo port and get it back."""
        return _timed(lambda: self._echo_over_udp(host, port, family))

    def http(self, host: str, port: int = HTTP, *, family: int = socket.AF_INET) -> Result:
        """GET / in the clear; ok with the body of a 200."""

        def probe() -> str:
            with self.open(host, port, family) as sock:
                return _get(sock, host)

        return _timed(probe)

    def tls(
        self, host: str, port: int = TLS, *, family: int = socket.AF_INET, address: str | None = None
    ) -> Result:
        """Handshake with the name verified against the lab's CA, then GET /; ok with the body of a 200.

        ``address`` connects there instead of asking for the name (the name is still sent and verified).
        """

        def probe() -> str:
            context = ssl.create_default_context(cafile=str(self.ca_pem))
            with (
                self.open(address or host, port, family) as sock,
                context.wrap_socket(sock, server_hostname=host) as secure,
            ):
                return _get(secure, host)

        return _timed(probe)

    def session(
        self, host: str, port: int = ECHO, *, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM
    ) -> Session:
        """Open a connection (or a connected UDP socket) that stays; OSError when it cannot be opened."""
        address = self._address(host, family)
        sock = self.namespace.socket(family, kind)
        try:
            sock.settimeout(self.timeout_s)
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        try:
            if kind == socket.SOCK_STREAM and port != STREAM:
                self._greet(sock, host)
        except BaseException:
            sock.close()
            raise
        return Session(sock)

    def resolvers(self) -> tuple[str, ...]:
        """The namespace's resolvers, as its /etc/resolv.conf names them."""
        lines = (line.split() for line in self.namespace.resolv_conf.read_text().splitlines())
        return tuple(words[1] for words in lines if words[:1] == ["nameserver"])

    def _greet(self, sock: socket.socket, host: str) -> None:
        """Say who is meant, and take the echo of it."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            name: str | None = host
        else:
            name = self.known.get(host)
        if name is None:
            return
        hello = client_hello(name)
        sock.sendall(hello)
        left = len(hello)
        while left > 0:
            piece = sock.recv(left)
            if not piece:
                raise _Stopped("closed")
            left -= len(piece)

    def open(self, host: str, port: int, family: int = socket.AF_INET) -> socket.socket:
        """A connection that has said nothing yet, for the caller to close; OSError when there is none."""
        address = self._address(host, family)
        sock = self.namespace.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout_s)
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _echo_over_tcp(self, host: str, port: int, family: int) -> str:
        word = secrets.token_hex(8).encode()
        with self.open(host, port, family) as sock:
            peer = str(sock.getpeername()[0])
            self._greet(sock, host)
            sock.sendall(word)
            got = b""
            while len(got) < len(word):
                piece = sock.recv(64)
                if not piece:
                    raise _Stopped("closed")
                got += piece
        if got != word:
            raise _Stopped("another_echo")
        return peer

    def _echo_over_udp(self, host: str, port: int, family: int) -> str:
        word = secrets.token_hex(8).encode()
        address = self._address(host, family)
        with self.namespace.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(self.timeout_s)
            sock.connect((address, port))
            sock.send(word)
            if sock.recv(64) != word:
                raise _Stopped("another_echo")
        return address

    def _address(self, host: str, family: int) -> str:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
        return self._resolve(host, "AAAA" if family == socket.AF_INET6 else "A", None, False)[0]

    def _resolve(self, name: str, qtype: str, server: str | None, tcp: bool) -> list[str]:
        number = {"A": zone.A, "AAAA": zone.AAAA}[qtype]
        query = zone.ask(name, number, secrets.randbelow(1 << 16))
        reply = self._exchange(query, server or self.resolvers()[0], tcp)
        try:
            message = dns.message.from_wire(reply)
        except dns.exception.DNSException as error:
            raise _Stopped("malformed") from error
        if message.rcode() != dns.rcode.NOERROR:
            raise _Stopped(dns.rcode.to_text(message.rcode()).lower())
        kind = dns.rdatatype.from_text(qtype)
        found = [item.to_text() for rrset in message.answer if rrset.rdtype == kind for item in rrset]
        if not found:
            raise _Stopped("no_address")
        return found

    def _exchange(self, query: bytes, server: str, tcp: bool) -> bytes:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with self.namespace.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
            sock.settimeout(self.timeout_s)
            sock.connect((server, 53))
            if tcp:
                sock.sendall(struct.pack("!H", len(query)) + query)
                with sock.makefile("rb") as stream:
                    reply = stream.read(int.from_bytes(stream.read(2), "big"))
                if reply[:2] != query[:2]:
                    raise _Stopped("wrong_id" if reply else "closed")
                return reply
            sock.send(query)
            deadline = time.monotonic() + self.timeout_s
            while (reply := sock.recv(65535))[:2] != query[:2]:
                sock.settimeout(max(0.001, deadline - time.monotonic()))  # a flood of wrong ids ends too
            return reply


def client_hello(name: str) -> bytes:
    """The first bytes that Python's TLS client sends to a host of that name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _get(sock: socket.socket, host: str) -> str:
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    with sock.makefile("rb") as stream:
        status = stream.readline().split()
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if status[1:2] != [b"200"]:
            raise _Stopped("status_" + (status[1].decode() if len(status) > 1 else "none"))
        return stream.read(length).decode().strip()


def _timed(probe: Callable[[], str]) -> Result:
    started = time.monotonic()
    try:
        ok, detail = True, probe()
    except _Stopped as stopped:
        ok, detail = False, str(stopped)
    except ssl.SSLCertVerificationError as error:
        ok, detail = False, f"certificate: {error.verify_message}"
    except OSError as error:
        ok, detail = False, describe(error)
    return Result(ok, detail, (time.monotonic() - started) * 1000)
