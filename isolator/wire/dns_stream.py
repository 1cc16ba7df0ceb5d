"""DNS messages in a TCP stream: each with its length in two bytes before it (RFC 1035 section 4.2.2)."""

from __future__ import annotations

from isolator.wire.dns_message import HEADER_SIZE
from isolator.wire.parse_error import ParseError, Unreadable


class DnsFrames:
    """Cuts a stream into messages; holds at most one unfinished message of `longest` bytes.

    Several messages in one segment and messages over several are the rule (RFC 7766 section 6.2.1.1).
    """

    __slots__ = ("_longest", "_size", "_unfinished")

    def __init__(self, longest: int = 0xFFFF) -> None:
        self._longest = longest
        self._size = -1
        """Bytes the message under way has, -1 while its length is not there."""
        self._unfinished = bytearray()

    @property
    def between(self) -> bool:
        """Whether no message is begun and unfinished."""
        return self._size < 0 and not self._unfinished

    def begun(self, longest: int) -> bytes:
        """Give the message under way as far as it is there, that many bytes of it at most."""
        return b"" if self._size < 0 else bytes(self._unfinished[:longest])

    def feed(self, data: bytes) -> tuple[bytes, ...]:
        """Take the next bytes; gives the messages that are whole now.

        Raises ParseError for a length that no message has or that is over the bound.
        """
        found: list[bytes] = []
        unfinished = self._unfinished
        at = 0
        while at < len(data):
            wanted = (2 if self._size < 0 else self._size) - len(unfinished)
            piece = data[at : at + wanted]
            at += len(piece)
            unfinished += piece
            if len(piece) < wanted:
                break
            whole = bytes(unfinished)
            unfinished.clear()
            if self._size >= 0:
                found.append(whole)
                self._size = -1
                continue
            self._size = int.from_bytes(whole, "big")
            if not HEADER_SIZE <= self._size <= self._longest:
                raise ParseError(Unreadable.DNS_FRAME)
        return tuple(found)


def render_frame(message: bytes) -> bytes:
    """Give a message with its length before it; raises ValueError when it is too long for that."""
    if len(message) > 0xFFFF:
        raise ValueError("a DNS message has at most 65,535 bytes")
    return len(message).to_bytes(2, "big") + message
