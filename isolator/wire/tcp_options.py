"""What a SYN offers in its options (RFC 9293 section 3.2)."""

from __future__ import annotations

from isolator.wire.checksum import checksum, pseudo_header
from isolator.wire.parse_error import ParseError, Unreadable

_END, _NOTHING, _MULTIPATH = 0, 1, 30
_TCP = 6


def without_multipath(packet: bytes) -> bytes | None:
    """Give a SYN without its offer of Multipath TCP (RFC 8684); None when it makes none.

    With it the bytes of a connection are put in order by numbers in options, not by the sequence number that
    is judged here, and more connections may join. The option is overwritten by ones that mean nothing, so the
    server answers as one that knows plain TCP only. `packet` is one that `parse_segment` takes; ParseError
    when its options cannot be read.
    """
    at = 20 if packet[0] == 0x45 else 40
    end = at + (packet[at + 12] >> 4) * 4
    if end == at + 20:
        return None
    plain = bytearray(packet)
    position, found = at + 20, False
    while position < end and packet[position] != _END:
        if packet[position] == _NOTHING:
            position += 1
            continue
        length = packet[position + 1] if position + 1 < end else 0
        if length < 2 or position + length > end:
            raise ParseError(Unreadable.TCP_HEADER)
        if packet[position] == _MULTIPATH:
            found = True
            plain[position : position + length] = bytes([_NOTHING]) * length
        position += length
    if not found:
        return None
    plain[at + 16 : at + 18] = bytes(2)
    source, destination = (plain[12:16], plain[16:20]) if at == 20 else (plain[8:24], plain[24:40])
    head = pseudo_header(bytes(source), bytes(destination), _TCP, len(plain) - at)
    plain[at + 16 : at + 18] = checksum(head + plain[at:]).to_bytes(2, "big")
    return bytes(plain)
