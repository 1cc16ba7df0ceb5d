"""The ClientHello at the beginning of a TLS connection (RFC 8446, 5246; names RFC 6066; ECH RFC 9849)."""

from __future__ import annotations

import struct

from isolator.model.tls import Ech, Hello
from isolator.wire.host_name import read_host_name
from isolator.wire.parse_error import ParseError, Unreadable

MAX_RECORD = 1 << 14
"""Bytes of a plaintext record (RFC 8446 section 5.1)."""
MAX_HELLO = 28 * 1024
"""Bytes of a hello. Post-quantum key shares make 1.8 KiB; nothing in use comes near this."""
MAX_INPUT = 32 * 1024
"""Bytes read with record heads: a hello cut into records of a few bytes ends here."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN, _TICKET, _PSK, _EARLY_DATA, _VERSIONS = 0, 16, 35, 41, 42, 43
_ECH = 0xFE0D
_ECH_OUTER = 0
_EXTENSION = struct.Struct("!HH")


def parse_hello(data: bytes) -> Hello | None:
    """Read a hello from the first bytes of a connection; None when they are only its beginning.

    Raises ParseError and nothing else.
    """
    return HelloReader().feed(data)


class HelloReader:
    """Reads a hello piece by piece. Each byte is handled once on the way in and once in the whole hello."""

    __slots__ = ("_body", "_head", "_left", "_records", "_seen", "_wanted")

    def __init__(self) -> None:
        self._head = bytearray()
        self._body = bytearray()
        self._left = 0
        """Bytes that the record under way still has."""
        self._records = 0
        self._seen = 0
        self._wanted = 4
        """Bytes of the handshake message, its own head included; four until that is there."""

    def feed(self, data: bytes) -> Hello | None:
        """Take the next bytes; None while the hello is not whole.

        Bytes after the hello's last record are not looked at (0-RTT data follow there). Raises ParseError as
        soon as the bytes cannot become a hello any more; the reader is of no use after that.
        """
        at = 0
        while at < len(data):
            if not self._left:
                at = self._read_head(data, at)
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            self._body += piece
            self._check_message()
            if len(self._body) == self._wanted and len(self._body) > 4:
                return self._finish(self._seen + at)
        self._seen += at
        if self._seen > MAX_INPUT:
            raise ParseError(Unreadable.TLS_TOO_LONG)
        return None

    def _read_head(self, data: bytes, at: int) -> int:
        """Take bytes of a record's head; each is judged at once, so that other protocols end early."""
        head = self._head
        taken = data[at : at + 5 - len(head)]
        head += taken
        if head[0] != _HANDSHAKE:
            sslv2 = head[0] & 0x80 and not self._records
            raise ParseError(Unreadable.TLS_SSLV2 if sslv2 else Unreadable.TLS_NOT_A_HELLO)
        if len(head) > 1 and head[1] != 3:
            raise ParseError(Unreadable.TLS_RECORD)
        if len(head) == 5:
            self._left = head[3] << 8 | head[4]
            # An empty handshake record is forbidden (RFC 8446 section 5.1) and would be free to repeat.
            if not 0 < self._left <= MAX_RECORD:
                raise ParseError(Unreadable.TLS_RECORD)
            self._records += 1
            head.clear()
        return at + len(taken)

    def _check_message(self) -> None:
        body = self._body
        if body[0] != _CLIENT_HELLO:
            raise ParseError(Unreadable.TLS_NOT_A_HELLO)
        if len(body) >= 4 and self._wanted == 4:
            self._wanted = 4 + (body[1] << 16 | body[2] << 8 | body[3])
            if self._wanted > MAX_HELLO:
                raise ParseError(Unreadable.TLS_TOO_LONG)
            if self._wanted == 4:
                raise ParseError(Unreadable.TLS_LENGTHS)
        # Nothing may stand behind the hello in its record: the next message is the server's.
        if len(body) > max(self._wanted, 4) or (len(body) == self._wanted > 4 and self._left):
            raise ParseError(Unreadable.TLS_LENGTHS)

    def _finish(self, size: int) -> Hello:
        return _parse_body(bytes(self._body), self._records, size)


def _parse_body(message: bytes, records: int, size: int) -> Hello:
    fields = _Fields(message, 4)
    legacy = fields.number(2)
    if legacy >> 8 != 3:
        raise ParseError(Unreadable.TLS_NOT_A_HELLO)
    fields.take(32)
    if len(fields.vector(1)) > 32:
        raise ParseError(Unreadable.TLS_LENGTHS)
    suites, compressions = fields.vector(2), fields.vector(1)
    if not suites or len(suites) % 2 or not compressions:
        raise ParseError(Unreadable.TLS_LENGTHS)
    extensions = _extensions(fields)
    versions = (legacy,) if _VERSIONS not in extensions else _versions(extensions[_VERSIONS])
    return Hello(
        _server_name(extensions[_SERVER_NAME]) if _SERVER_NAME in extensions else None,
        versions,
        _alpn(extensions[_ALPN]) if _ALPN in extensions else (),
        _ech(extensions[_ECH]) if _ECH in extensions else Ech.ABSENT,
        bool(extensions.get(_TICKET)) or _PSK in extensions,
        _EARLY_DATA in extensions,
        records,
        size,
    )


def _extensions(fields: _Fields) -> dict[int, bytes]:
    """The extensions by type; a hello before TLS 1.2 may have none at all, not even their length."""
    found: dict[int, bytes] = {}
    if fields.at_end():
        return found
    block = fields.vector(2)
    fields.end()
    # By hand: there are some fifteen of them, and everything else in a hello is cheap beside them.
    at, size = 0, len(block)
    while at < size:
        begin = at + 4
        if begin > size:
            raise ParseError(Unreadable.TLS_LENGTHS)
        kind, length = _EXTENSION.unpack_from(block, at)
        # Which of two counts is the server's choice (RFC 8446 section 4.2 forbids it).
        if kind in found:
            raise ParseError(Unreadable.TLS_TWICE)
        at = begin + length
        if at > size:
            raise ParseError(Unreadable.TLS_LENGTHS)
        found[kind] = block[begin:at]
    return found


def _server_name(data: bytes) -> str:
    """The one host name (RFC 6066 section 3); kinds of names that nobody defined are refused."""
    outer = _Fields(data)
    names = _Fields(outer.vector(2))
    outer.end()
    if names.at_end() or names.number(1) != 0:
        raise ParseError(Unreadable.TLS_SERVER_NAME)
    name = names.vector(2)
    if not names.at_end():
        raise ParseError(Unreadable.TLS_SERVER_NAME)
    return read_host_name(name)


def _versions(data: bytes) -> tuple[int, ...]:
    outer = _Fields(data)
    listed = outer.vector(1)
    outer.end()
    if not listed or len(listed) % 2:
        raise ParseError(Unreadable.TLS_LENGTHS)
    numbers = struct.unpack(f"!{len(listed) // 2}H", listed)
    return tuple([number for number in numbers if not _is_grease(number)])


def _alpn(data: bytes) -> tuple[bytes, ...]:
    outer = _Fields(data)
    listed = _Fields(outer.vector(2))
    outer.end()
    found: list[bytes] = []
    while not listed.at_end():
        protocol = listed.vector(1)
        if not protocol:
            raise ParseError(Unreadable.TLS_LENGTHS)
        if len(protocol) != 2 or not _is_grease(protocol[0] << 8 | protocol[1]):
            found.append(protocol)
    return tuple(found)


def _ech(data: bytes) -> Ech:
    """Check the form (RFC 9849 section 5); the inner kind never travels in the open."""
    fields = _Fields(data)
    if fields.number(1) != _ECH_OUTER:
        raise ParseError(Unreadable.TLS_ECH)
    fields.take(5)  # cipher suite and configuration number
    fields.vector(2)
    if not fields.vector(2):
        raise ParseError(Unreadable.TLS_ECH)
    fields.end()
    return Ech.OUTER


def _is_grease(number: int) -> bool:
    """Values 0x0A0A, 0x1A1A ... 0xFAFA mean nothing (RFC 8701 section 2)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


class _Fields:
    """Reads numbers and vectors one after the other; ParseError where they run out of their block."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise ParseError(Unreadable.TLS_LENGTHS)
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """A block with its length before it, in that many bytes."""
        data = self._data
        begin = self._at + size
        end = begin + int.from_bytes(data[self._at : begin], "big")
        # A length that is cut off reads as a smaller one, but then it begins behind the end already.
        if end > len(data):
            raise ParseError(Unreadable.TLS_LENGTHS)
        self._at = end
        return data[begin:end]

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def end(self) -> None:
        if not self.at_end():
            raise ParseError(Unreadable.TLS_LENGTHS)
