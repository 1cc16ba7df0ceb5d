"""HTTP/1 requests in a connection, one after the other (RFC 9110, 9112; RFC 3986 for targets)."""

from __future__ import annotations

import re
from enum import Enum

from isolator.model.http import Form, Request
from isolator.wire.http_target import Target, read_authority, read_target
from isolator.wire.parse_error import ParseError, Unreadable

MAX_LINE = 8 * 1024
MAX_HEAD = 32 * 1024
MAX_FIELDS = 100

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,12}")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_TLS_HANDSHAKE = 0x16


class _Part(Enum):
    HEAD = "head"
    BODY = "body"
    BODY_END = "body_end"
    CHUNK_SIZE = "chunk_size"
    LAST_CHUNK = "last_chunk"
    TUNNEL = "tunnel"


class RequestReader:
    """Finds the requests in what a client sends, bodies counted and left out.

    Everything that two servers could read differently is refused with ParseError: line ends that are not CR
    LF, folded fields, two lengths, chunk extensions, trailers. Work is linear in the bytes. After a CONNECT
    the next bytes are either one more request (the proxy said no) or, when they begin a TLS record, the
    tunnel: then `tunnel` has them.
    """

    __slots__ = (
        "_after_body",
        "_fields",
        "_left",
        "_line",
        "_part",
        "_size",
        "_start",
        "_tunnel_may_begin",
        "tunnel",
    )

    def __init__(self) -> None:
        self._part = _Part.HEAD
        self._line = bytearray()
        self._start: tuple[bytes, bytes, bool] | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._size = 0
        self._left = 0
        self._after_body = _Part.HEAD
        self._tunnel_may_begin = False
        self.tunnel: bytes | None = None
        """Set with the bytes of one `feed` that belong to the tunnel; None as long as there is none."""

    @property
    def between(self) -> bool:
        """Whether nothing is begun that has yet to be judged: the bytes so far may go on their way."""
        return self._part is not _Part.HEAD or not self._size

    def feed(self, data: bytes) -> tuple[Request, ...]:
        """Take the next bytes; gives the requests whose heads are whole now. Raises ParseError."""
        found: list[Request] = []
        self.tunnel = None
        at = 0
        while at < len(data):
            if self._tunnel_may_begin:
                self._tunnel_may_begin = False
                if data[at] == _TLS_HANDSHAKE:
                    self._part = _Part.TUNNEL
            if self._part is _Part.TUNNEL:
                self.tunnel = data[at:]
                break
            if self._part is _Part.BODY:
                at = self._skip(data, at)
                continue
            at, line = self._read_line(data, at)
            if line is not None:
                request = self._take_line(line)
                if request is not None:
                    found.append(request)
        return tuple(found)

    def _skip(self, data: bytes, at: int) -> int:
        step = min(self._left, len(data) - at)
        self._left -= step
        if not self._left:
            self._part = self._after_body
        return at + step

    def _read_line(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Collect one line; None while its end is missing. Only CR LF ends a line, neither stands alone."""
        line = self._line
        stop = data.find(b"\n", at)
        end = len(data) if stop < 0 else stop + 1
        if len(line) + end - at > MAX_LINE:
            raise ParseError(Unreadable.HTTP_TOO_LONG)
        before = len(line)
        line += data[at:end]
        if self._part is _Part.HEAD:
            self._size += end - at
            if self._size > MAX_HEAD:
                raise ParseError(Unreadable.HTTP_TOO_LONG)
            if self._start is None and not before:
                _check_beginning(line[0])
        if stop < 0:
            return end, None
        if line[-2:] != b"\r\n":
            raise ParseError(Unreadable.HTTP_LINE_END)
        whole = bytes(line[:-2])
        line.clear()
        return end, whole

    def _take_line(self, line: bytes) -> Request | None:
        if self._part is not _Part.HEAD:
            self._take_chunk_line(line)
        elif self._start is None:
            self._start = _request_line(line)
        elif line:
            self._take_field(line)
        else:
            return self._finish_head()
        return None

    def _take_chunk_line(self, line: bytes) -> None:
        """A chunk's size, the line end after its data, or the empty line after the last chunk."""
        if self._part is _Part.CHUNK_SIZE:
            # Extensions are allowed by RFC 9112 section 7.1.1, used by nobody, and read differently.
            if not _SIZE.fullmatch(line):
                raise ParseError(Unreadable.HTTP_CHUNK)
            self._left = int(line, 16)
            self._part = _Part.BODY if self._left else _Part.LAST_CHUNK
            return
        if line:
            raise ParseError(Unreadable.HTTP_CHUNK)
        self._part = _Part.CHUNK_SIZE if self._part is _Part.BODY_END else _Part.HEAD

    def _take_field(self, line: bytes) -> None:
        match = _FIELD.fullmatch(line)
        if match is None or len(self._fields) >= MAX_FIELDS:
            raise ParseError(Unreadable.HTTP_HEADER)
        self._fields.append((match[1].lower(), match[2].rstrip(b" \t")))

    def _finish_head(self) -> Request:
        assert self._start is not None
        method, raw_target, is_newest = self._start
        fields = self._fields
        target = read_target(method, raw_target)
        host, port = _agreed_host(target, fields, is_newest)
        if any(name == b"upgrade" for name, _ in fields):
            raise ParseError(Unreadable.HTTP_UPGRADE)
        length = _body_length(fields, is_newest)
        self._start, self._fields, self._size = None, [], 0
        if target.form is Form.AUTHORITY:
            if length != 0:
                raise ParseError(Unreadable.HTTP_FRAMING)
            self._tunnel_may_begin = True
        elif length is None:
            self._part, self._after_body = _Part.CHUNK_SIZE, _Part.BODY_END
        elif length:
            self._part, self._after_body, self._left = _Part.BODY, _Part.HEAD, length
        return Request(method.decode("ascii"), target.form, host, port, target.path, target.doubtful)


def _check_beginning(first: int) -> None:
    """Refuse bytes that no method begins with at once: other protocols need not be waited for."""
    if not 0x21 <= first <= 0x7E:
        raise ParseError(Unreadable.HTTP_LINE)


def _request_line(line: bytes) -> tuple[bytes, bytes, bool]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is not None:
        return match[1], match[2], match[3] == b"1"
    # The preface of HTTP/2 is made to look like this (RFC 9113 section 3.4).
    newer = line.startswith(b"PRI * HTTP/2")
    raise ParseError(Unreadable.HTTP_VERSION if newer else Unreadable.HTTP_LINE)


def _agreed_host(
    target: Target, fields: list[tuple[bytes, bytes]], is_newest: bool
) -> tuple[str, int | None]:
    """The one host that target and Host name (RFC 9112 section 3.2); ParseError where they differ."""
    hosts = [value for name, value in fields if name == b"host"]
    if len(hosts) > 1 or (not hosts and (is_newest or target.host is None)):
        raise ParseError(Unreadable.HTTP_HOST)
    if not hosts:
        assert target.host is not None
        return target.host, target.port
    host, port = read_authority(hosts[0])
    if target.host is None:
        return host, port
    # A Host without a port says nothing against the target's.
    if host != target.host or (port or target.port) != target.port:
        raise ParseError(Unreadable.HTTP_HOST)
    return target.host, target.port


def _body_length(fields: list[tuple[bytes, bytes]], is_newest: bool) -> int | None:
    """Bytes of the body, None for chunks (RFC 9112 section 6); doubtful framing is refused."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise ParseError(Unreadable.HTTP_FRAMING)
    if codings:
        if codings[0].lower() != b"chunked" or not is_newest:
            raise ParseError(Unreadable.HTTP_FRAMING)
        return None
    if not lengths:
        return 0
    if not _LENGTH.fullmatch(lengths[0]):
        raise ParseError(Unreadable.HTTP_FRAMING)
    return int(lengths[0])
