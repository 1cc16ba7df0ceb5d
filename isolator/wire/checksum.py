"""The internet checksum (RFC 1071), computed with one long division."""

from __future__ import annotations

import struct

_PSEUDO4 = struct.Struct("!4s4sxBH")
_PSEUDO6 = struct.Struct("!16s16sI3xB")


def ones_sum(data: bytes) -> int:
    """Give the one's complement sum of the 16-bit words, modulo 65,535; an odd last byte is padded.

    Two sums are equal in one's complement arithmetic exactly when these numbers are equal, 0 standing for
    both zeros: a block with its right checksum inside gives 0.
    """
    if len(data) & 1:
        data += b"\0"
    return int.from_bytes(data, "big") % 0xFFFF


def checksum(data: bytes) -> int:
    """Give the value for the checksum field of a block that has zeros there."""
    return 0xFFFF - ones_sum(data)


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """Give the pseudo-header of TCP, UDP and ICMPv6 (RFC 768; RFC 8200 section 8.1) for packed addresses."""
    if len(source) == 4:
        return _PSEUDO4.pack(source, destination, protocol, length)
    return _PSEUDO6.pack(source, destination, length, protocol)
