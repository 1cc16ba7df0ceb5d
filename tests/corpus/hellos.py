"""ClientHellos put together field by field, sound and broken, and the recorded ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
NAME = "www.listed.test"

Extension = tuple[int, bytes]


def vector(size: int, data: bytes) -> bytes:
    """A block with its length before it."""
    return len(data).to_bytes(size, "big") + data


def server_name(*names: bytes, kind: int = 0) -> Extension:
    return 0, vector(2, b"".join(bytes((kind,)) + vector(2, name) for name in names))


def versions(*numbers: int) -> Extension:
    return 43, vector(1, b"".join(number.to_bytes(2, "big") for number in numbers))


def alpn(*names: bytes) -> Extension:
    return 16, vector(2, b"".join(vector(1, name) for name in names))


def ech(kind: int = 0, *, payload: bytes = b"p" * 32, behind: bytes = b"") -> Extension:
    body = bytes((kind,)) + b"\0\1\0\1\7" + vector(2, b"e" * 32) + vector(2, payload) + behind
    return 0xFE0D, body


def message(
    *extensions: Extension,
    legacy: int = 0x0303,
    session: bytes = b"",
    suites: bytes = b"\x13\x01",
    compressions: bytes = b"\0",
    bare: bool = False,
    behind: bytes = b"",
) -> bytes:
    """The handshake message; `bare` leaves even the length of the extensions out."""
    body = legacy.to_bytes(2, "big") + b"r" * 32 + vector(1, session) + vector(2, suites)
    body += vector(1, compressions)
    if not bare:
        body += vector(2, b"".join(kind.to_bytes(2, "big") + vector(2, data) for kind, data in extensions))
    return b"\1" + vector(3, body + behind)


def records(data: bytes, size: int = 1 << 14, *, version: int = 0x0301, kind: int = 22) -> bytes:
    """The message in TLS records of at most that many bytes."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(bytes((kind,)) + version.to_bytes(2, "big") + vector(2, piece) for piece in pieces)


def hello(name: str | None = NAME, *more: Extension, size: int = 1 << 14) -> bytes:
    """A whole hello as it is sent."""
    first = () if name is None else (server_name(name.encode("latin-1")),)
    return records(message(*first, *more), size)


def recorded(kind: str) -> Iterable[tuple[str, bytes]]:
    """What real clients said: kind "tls" or "http"."""
    for path in sorted(HERE.joinpath(kind).glob("*.bin")):
        yield path.stem, path.read_bytes()
