"""DNS over HTTPS (RFC 8484), and HTTPS records with the keys of encrypted hellos (RFC 9460, RFC 9849)."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

import dns.message
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.corpus.hellos import vector


def ech_keys(public_name: str) -> bytes:
    """An ECHConfigList with one fresh key, whose outer hellos name `public_name`."""
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    suites = vector(2, b"\0\1\0\1")  # HKDF-SHA256, AES-128-GCM
    contents = (
        b"\7\0\x20" + vector(2, key) + suites + b"\x40" + vector(1, public_name.encode()) + vector(2, b"")
    )
    return vector(2, b"\xfe\x0d" + vector(2, contents))


@dataclass(slots=True)
class HiddenZone:
    """Names with one address each; those in `keys` have HTTPS records that say how to hide them."""

    addresses: Mapping[str, str]
    keys: Mapping[str, bytes]
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Name and type of every query that came."""

    def answer(self, query: bytes) -> bytes:
        """The answer to a query; empty for names and types that are not there."""
        asked = dns.message.from_wire(query)
        question = asked.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(asked)
        plain = name.split("._https.")[-1]  # of another port than 443 (RFC 9460 section 9.1)
        text = ""
        if kind == "A":
            text = self.addresses.get(name, "")
        elif kind == "HTTPS" and plain in self.keys:
            text = f'1 {plain}. ech="{base64.b64encode(self.keys[plain]).decode()}"'
        if text:
            answer.answer = [dns.rrset.from_text(f"{name}.", 60, "IN", kind, text)]
        return answer.to_wire()


def serve_tls(
    listener: socket.socket,
    context: ssl.SSLContext,
    talk: Callable[[ssl.SSLSocket], None],
    look: Callable[[socket.socket], None] = lambda _: None,
) -> None:
    """Serve in the background until the listener is closed; a client that breaks off is its own affair.

    `look` sees each connection before its handshake.
    """

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            connection.settimeout(10)
            look(connection)
            with context.wrap_socket(connection, server_side=True) as secure:
                talk(secure)

    def loop() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def answers_over_https(answer: Callable[[bytes], bytes]) -> Callable[[ssl.SSLSocket], None]:
    """What a DoH server does with a connection: HTTP/1.1, GET and POST."""

    def talk(secure: ssl.SSLSocket) -> None:
        with secure.makefile("rb") as stream:
            while (query := _query(stream)) is not None:
                reply = answer(query)
                head = f"Content-Type: application/dns-message\r\nContent-Length: {len(reply)}\r\n\r\n"
                secure.sendall(b"HTTP/1.1 200 OK\r\n" + head.encode() + reply)

    return talk


def _query(stream: BinaryIO) -> bytes | None:
    """The DNS message of the next request; None when there is no other."""
    line = stream.readline()
    if not line:
        return None
    size = 0
    while (head := stream.readline()) not in (b"\r\n", b""):
        name, _, value = head.partition(b":")
        if name.lower() == b"content-length":
            size = int(value)
    if line.startswith(b"POST"):
        return stream.read(size)
    text = line.split()[1].partition(b"dns=")[2]
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
