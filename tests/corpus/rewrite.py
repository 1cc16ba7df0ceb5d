"""Recorded hellos with another server name, or none, or cut into other records; every length is set anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.corpus.hellos import Extension, records, server_name, vector

_SERVER_NAME, _PRE_SHARED_KEY, _ECH = 0, 41, 0xFE0D
_BEFORE_EXTENSIONS = 4 + 2 + 32
"""Bytes of the handshake head, the legacy version and the random."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A client's first flight, taken apart: the hello up to its extensions, those, and what comes after."""

    version: int
    """Of the records."""
    record: int
    """The largest record's size."""
    head: bytes
    """From the legacy version to the compressions."""
    extensions: tuple[Extension, ...]
    behind: bytes
    """What the client sends without waiting: early data."""

    @property
    def hidden(self) -> bool:
        """Does it have an encrypted hello, or the decoy of one?"""
        return any(kind == _ECH for kind, _ in self.extensions)

    def named(self, name: str | None, *more: Extension) -> Flight:
        """The same client asking for another host, None for nobody; more extensions before the last one."""
        kept = [each for each in self.extensions if each[0] != _SERVER_NAME]
        first = [] if name is None else [server_name(name.encode("latin-1"))]
        # A pre-shared key has to be the last (RFC 8446 section 4.2.11).
        last = [each for each in kept if each[0] == _PRE_SHARED_KEY]
        rest = [each for each in kept if each[0] != _PRE_SHARED_KEY]
        return replace(self, extensions=(*first, *rest, *more, *last))

    def marked(self, marker: bytes) -> Flight:
        """The same hello with these bytes at the beginning of its random."""
        end = 2 + len(marker)
        assert end <= 34, "the random has 32 bytes"
        return replace(self, head=self.head[:2] + marker + self.head[end:])

    def hello(self, record: int | None = None) -> bytes:
        """The hello as it is sent, in records of at most so many bytes (None: as recorded)."""
        block = b"".join(kind.to_bytes(2, "big") + vector(2, data) for kind, data in self.extensions)
        message = b"\1" + vector(3, self.head + vector(2, block))
        return records(message, record or self.record, version=self.version)

    def render(self, record: int | None = None) -> bytes:
        """The whole flight."""
        return self.hello(record) + self.behind


def take_apart(data: bytes) -> Flight:
    """Read a recorded flight; it is sound, a test reads nothing else with this."""
    version = int.from_bytes(data[1:3], "big")
    message, at, largest = b"", 0, 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4], "big"):
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        message += data[at + 5 : at + 5 + size]
        at, largest = at + 5 + size, max(largest, size)
    end = _BEFORE_EXTENSIONS
    for size in (1, 2, 1):  # session, suites, compressions
        end += size + int.from_bytes(message[end : end + size], "big")
    extensions: list[Extension] = []
    place = end + 2
    while place < len(message):
        kind, size = (int.from_bytes(message[place + n : place + n + 2], "big") for n in (0, 2))
        extensions.append((kind, message[place + 4 : place + 4 + size]))
        place += 4 + size
    single = at == 5 + len(message)
    return Flight(version, 1 << 14 if single else largest, message[4:end], tuple(extensions), data[at:])
