"""The record format between the sniffer's process and its owner, and the value one record becomes."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEADER = struct.Struct("=QIHHH?")
"""When (CLOCK_MONOTONIC, ns), frame length, bytes kept, marker number (0xFFFF: none), offset, outgoing."""
OUTGOING = 4
"""PACKET_OUTGOING of linux/if_packet.h: sent out of the watched port, so on its way *to* the device."""


class Direction(enum.Enum):
    """Which way a frame went, seen from the device."""

    FROM_DEVICE = "from_device"
    TO_DEVICE = "to_device"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame that carried a marker."""

    at_ns: int
    """CLOCK_MONOTONIC, from the kernel's own timestamp."""
    direction: Direction
    marker: bytes
    """Empty when the sniffer was asked for every frame."""
    length: int
    """Of the whole frame on the wire, in bytes."""
    frame: bytes
    """Its first bytes, ethernet header included: at least 64 bytes from where the marker begins."""
    offset: int
    """Where in ``frame`` the marker begins."""

    @property
    def tail(self) -> bytes:
        """The frame from the marker on."""
        return self.frame[self.offset :]


def read_records(raw: bytes, markers: Sequence[bytes]) -> Iterator[Sighting]:
    """The sightings of one file; a half-written last record is left for the next reading."""
    at = 0
    while at + HEADER.size <= len(raw):
        at_ns, length, kept, number, offset, outgoing = HEADER.unpack_from(raw, at)
        start = at + HEADER.size
        if start + kept > len(raw):
            return
        marker = markers[number] if number != 0xFFFF else b""
        direction = Direction.TO_DEVICE if outgoing else Direction.FROM_DEVICE
        yield Sighting(at_ns, direction, marker, length, raw[start : start + kept], offset)
        at = start + kept
