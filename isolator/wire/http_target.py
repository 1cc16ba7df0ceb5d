"""Request targets and the Host field: which host and port, and which path in normal form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from isolator.model.http import Form
from isolator.wire.host_name import read_host_name
from isolator.wire.parse_error import ParseError, Unreadable

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(/[^#]*)?")
"""A query straight behind the authority is allowed by RFC 3986 and written by no client. To tinyproxy the
authority goes on until the next slash, and "http://one?@two/" is a page of two."""
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:@\[\]]+)(?::([0-9]{1,5}))?")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DOUBTFUL = frozenset(b"/\\%")
"""Escaped, these are a separator, or the beginning of another escape, to some servers and not to others."""

_SCHEME_PORTS = {b"http": 80, b"https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """A request target; `host` and `port` are None where the form has none."""

    form: Form
    host: str | None
    port: int | None
    path: str
    doubtful: bool = False


def read_target(method: bytes, target: bytes) -> Target:
    """Read a target without spaces; raises ParseError for one that does not fit the method."""
    if method == b"CONNECT":
        host, port = read_authority(target)
        if port is None:
            raise ParseError(Unreadable.HTTP_TARGET)
        return Target(Form.AUTHORITY, host, port, "")
    if b"#" in target:
        raise ParseError(Unreadable.HTTP_TARGET)
    if target[:1] == b"/":
        return Target(Form.ORIGIN, None, None, *normal_path(target))
    if target == b"*" and method == b"OPTIONS":
        return Target(Form.ASTERISK, None, None, "*")
    absolute = _ABSOLUTE.fullmatch(target)
    usual = None if absolute is None else _SCHEME_PORTS.get(absolute[1].lower())
    if absolute is None or usual is None:
        raise ParseError(Unreadable.HTTP_TARGET)
    host, port = read_authority(absolute[2])
    path = normal_path(absolute[3] or b"/")
    return Target(Form.ABSOLUTE, host, usual if port is None else port, *path)


def read_authority(data: bytes) -> tuple[str, int | None]:
    """Give host and port of "host", "host:port", "[IPv6]" or "[IPv6]:port".

    Raises ParseError: for a user part, an empty port, a port of 0 or above 65,535, zones, odd names.
    """
    match = _AUTHORITY.fullmatch(data)
    if match is None:
        raise ParseError(Unreadable.HTTP_HOST)
    port = None if match[2] is None else int(match[2])
    if port is not None and not 0 < port < 65_536:
        raise ParseError(Unreadable.HTTP_HOST)
    if match[1][:1] != b"[":
        return read_host_name(match[1]), port
    try:
        return str(IPv6Address(match[1][1:-1].decode("ascii"))), port
    except AddressValueError:
        raise ParseError(Unreadable.HTTP_HOST) from None


def normal_path(target: bytes) -> tuple[str, bool]:
    """Give the path of "/path?query" in normal form, and whether servers may read it differently.

    Escapes of unreserved characters are undone, then dot segments go (RFC 3986 sections 6.2.2.2 and 5.2.4).
    Raises ParseError for a broken escape and for an escaped control character.
    """
    raw = target.partition(b"?")[0]
    doubtful = b"\\" in raw

    def plain(match: re.Match[bytes]) -> bytes:
        nonlocal doubtful
        if match[1] is None:
            raise ParseError(Unreadable.HTTP_TARGET)
        octet = int(match[1], 16)
        if octet < 0x20 or octet == 0x7F:
            raise ParseError(Unreadable.HTTP_TARGET)
        doubtful = doubtful or octet in _DOUBTFUL
        return bytes((octet,)) if octet in _UNRESERVED else match[0].upper()

    path = _ESCAPE.sub(plain, raw)
    kept: list[bytes] = []
    *segments, last = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
            # "..;x" is a dot segment to servers that take parameters off first.
            doubtful = doubtful or segment[:2] in (b".;", b"..")
    if last == b"..":
        del kept[-1:]
    doubtful = doubtful or (last[:2] in (b".;", b"..") and last != b"..")
    tail = b"" if last in (b".", b"..") else last
    return "/" + b"/".join([*kept, tail]).decode("ascii"), doubtful
