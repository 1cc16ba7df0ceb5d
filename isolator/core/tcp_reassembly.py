"""A client's bytes in order, out of TCP segments in any order (RFC 9293 section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

KEPT = 256 * 1024
"""Bytes remembered of what was in order already: a retransmission must repeat them. As much as a client may
have on its way, since one of what is forgotten cannot pass."""
WINDOW = 32 * 1024
"""How far ahead of the next byte a segment may be."""
MAX_WAITING = 64
"""Segments that may wait for one before them."""

_SPACE = 1 << 32
_HALF = 1 << 31


class Fit(Enum):
    """How a segment fits to what is there."""

    NEXT = "next"
    AHEAD = "ahead"
    AGAIN = "again"
    CONFLICT = "conflict"
    """It has other bytes at a place that is known: which of the two the server reads, nobody can say."""
    OUTSIDE = "outside"
    """Too far ahead, older than what is remembered, or one too many that waits."""


@dataclass(frozen=True, slots=True)
class Placed:
    """How one segment fits, the offset behind its last byte, and the bytes that are in order through it."""

    fit: Fit
    end: int = 0
    data: bytes = b""


class TcpStream:
    """The bytes of one direction. Offsets count from the first byte and never wrap.

    Memory is bounded by KEPT, WINDOW and MAX_WAITING, except for one segment at a time that comes in order.
    """

    __slots__ = ("_first", "_kept", "_kept_from", "_waiting", "next")

    def __init__(self, first: int) -> None:
        """Take the sequence number of the first byte (the SYN's plus one)."""
        self._first = first
        self._kept = bytearray()
        self._kept_from = 0
        self._waiting: list[tuple[int, bytes]] = []
        self.next = 0
        """Offset of the next byte that is missing."""

    @property
    def size(self) -> int:
        """How many bytes are remembered of what was in order."""
        return len(self._kept)

    def sequence_of(self, offset: int) -> int:
        """Give the sequence number at an offset."""
        return (self._first + offset) % _SPACE

    def offset_of(self, sequence: int) -> int:
        """Give the offset of a sequence number: the nearest to the next byte; negative before the first."""
        ahead = (sequence - self._first - self.next) % _SPACE
        return self.next + (ahead if ahead < _HALF else ahead - _SPACE)

    def add(self, sequence: int, payload: bytes) -> Placed:
        """Place a segment's payload, which is not empty. Conflict and outside change nothing."""
        offset = self.offset_of(sequence)
        end = offset + len(payload)
        if offset == self.next and not self._waiting:  # nothing that it could disagree with
            return Placed(Fit.NEXT, end, self._append(payload))
        if offset < self._kept_from or (offset > self.next and end > self.next + WINDOW):
            return Placed(Fit.OUTSIDE, end)
        known = self._kept[offset - self._kept_from : end - self._kept_from]
        if not payload.startswith(known):
            return Placed(Fit.CONFLICT, end)
        if end <= self.next:
            return Placed(Fit.AGAIN, end)
        for start, waiting in self._waiting:
            if not _agree(offset, payload, start, waiting):
                return Placed(Fit.CONFLICT, end)
            if start <= offset and end <= start + len(waiting):
                return Placed(Fit.AGAIN, end)
        if offset > self.next:
            if len(self._waiting) >= MAX_WAITING:
                return Placed(Fit.OUTSIDE, end)
            self._waiting.append((offset, payload))
            return Placed(Fit.AHEAD, end)
        return Placed(Fit.NEXT, end, self._append(payload[self.next - offset :]))

    def _append(self, data: bytes) -> bytes:
        """Put bytes at the end, and what waited for them; gives all of it."""
        if self._waiting:
            end = self.next + len(data)
            pieces = [data]
            self._waiting.sort(key=_start)
            left: list[tuple[int, bytes]] = []
            for start, waiting in self._waiting:
                if start > end:
                    left.append((start, waiting))
                elif start + len(waiting) > end:
                    pieces.append(waiting[end - start :])
                    end = start + len(waiting)
            self._waiting = left
            data = b"".join(pieces)
        self.next += len(data)
        self._kept += data
        surplus = len(self._kept) - KEPT
        if surplus > 0:
            del self._kept[:surplus]
            self._kept_from += surplus
        return data


def _start(waiting: tuple[int, bytes]) -> int:
    return waiting[0]


def _agree(offset: int, payload: bytes, start: int, waiting: bytes) -> bool:
    """Say whether two pieces have the same bytes where they overlap."""
    low, high = max(offset, start), min(offset + len(payload), start + len(waiting))
    return low >= high or payload[low - offset : high - offset] == waiting[low - start : high - start]
