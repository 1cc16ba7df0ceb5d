"""What the sender writes into a datagram and the judge reads out of it again."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_WORD = b"LABSEND1"
_LAYOUT = struct.Struct("!8sQHxxxxxxQQ")


@dataclass(frozen=True, slots=True)
class Stamp:
    """One datagram of one run."""

    run: int
    destination: int
    """Index into the destinations of the run."""
    number: int
    """Counts per destination, from 0, without a gap."""
    sent_ns: int
    """CLOCK_MONOTONIC, just before it was handed to the kernel."""


def marker_of(run: int) -> bytes:
    """The bytes that mark every datagram of a run; 16, so that no other traffic has them by chance."""
    return _WORD + run.to_bytes(8, "big")


def stamp(run: int, destination: int, number: int, sent_ns: int) -> bytes:
    """The payload of one datagram (40 bytes)."""
    return _LAYOUT.pack(_WORD, run, destination, number, sent_ns)


def read_stamp(payload: bytes) -> Stamp:
    """The stamp at the start of ``payload``; ValueError when there is none."""
    if len(payload) < _LAYOUT.size or not payload.startswith(_WORD):
        raise ValueError("no stamp here")
    _, run, destination, number, sent_ns = _LAYOUT.unpack_from(payload)
    return Stamp(run, destination, number, sent_ns)
