"""The readers of first bytes as the gate drives them: what cannot be read comes back as a value."""

from __future__ import annotations

from isolator.model.dns import DnsMessage
from isolator.model.first_bytes import Garbled
from isolator.model.http import Request
from isolator.model.tls import Hello
from isolator.wire.dns_message import LONGEST_HEAD, parse_dns, parse_dns_head
from isolator.wire.dns_stream import DnsFrames
from isolator.wire.http_request import RequestReader
from isolator.wire.parse_error import ParseError
from isolator.wire.tls_hello import HelloReader


class Hellos:
    """Reads one hello; after Garbled it is of no use any more."""

    __slots__ = ("_reader",)

    def __init__(self) -> None:
        self._reader = HelloReader()

    def feed(self, data: bytes) -> Hello | Garbled | None:
        """Take the next bytes; None while the hello is not whole."""
        try:
            return self._reader.feed(data)
        except ParseError as error:
            return Garbled(error.kind.value)


class Requests:
    """Reads requests one after the other; after Garbled it is of no use any more."""

    __slots__ = ("_reader",)

    def __init__(self) -> None:
        self._reader = RequestReader()

    def feed(self, data: bytes) -> tuple[Request, ...] | Garbled:
        """Take the next bytes; gives the requests whose heads are whole now."""
        try:
            return self._reader.feed(data)
        except ParseError as error:
            return Garbled(error.kind.value)

    @property
    def between(self) -> bool:
        """Whether no head is begun and unfinished."""
        return self._reader.between

    @property
    def tunnel(self) -> bytes | None:
        """The last bytes that belong to a tunnel, None as long as there is none."""
        return self._reader.tunnel


class Messages:
    """Cuts a stream into DNS messages and reads them; after Garbled it is of no use any more."""

    __slots__ = ("_frames",)

    def __init__(self, longest: int = 0xFFFF) -> None:
        """Take the bytes of the longest message that is read."""
        self._frames = DnsFrames(longest)

    def feed(self, data: bytes) -> tuple[DnsMessage, ...] | Garbled:
        """Take the next bytes; gives the messages that are whole now."""
        try:
            return tuple(parse_dns(message) for message in self._frames.feed(data))
        except ParseError as error:
            return Garbled(error.kind.value)

    @property
    def between(self) -> bool:
        """Whether no message is begun and unfinished."""
        return self._frames.between

    def head(self) -> DnsMessage | Garbled | None:
        """Give the header and question of the message under way, None as long as they are not whole."""
        try:
            return parse_dns_head(self._frames.begun(LONGEST_HEAD))
        except ParseError as error:
            return Garbled(error.kind.value)
