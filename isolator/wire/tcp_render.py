"""The segments of our own: what ends a connection at both ends at once, and what keeps a client going."""

from __future__ import annotations

import struct

from isolator.model.flow import Address
from isolator.model.segment import Acknowledgement, Reset
from isolator.wire.checksum import checksum, pseudo_header
from isolator.wire.ip_packet import TCP

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_RST, _RST_ACK, _ACK = 0x04, 0x14, 0x10
_SIZE = 20
_WINDOW = 0x7FFF
"""What an acknowledgement of ours allows: the factor of the SYN's window scale is not known."""


def render_resets(reset: Reset) -> tuple[bytes, bytes]:
    """Give the IP packets to the server (in the client's name) and to the client (in the server's).

    Raises ValueError when the two addresses are of two families.
    """
    flow = reset.flow
    to_server = _render(
        (flow.client, flow.client_port), (flow.server, flow.server_port), reset.to_server, 0, _RST
    )
    to_client = _render(
        (flow.server, flow.server_port),
        (flow.client, flow.client_port),
        reset.to_client,
        reset.acknowledged,
        _RST_ACK,
    )
    return to_server, to_client


def render_acknowledgement(told: Acknowledgement) -> bytes:
    """Give the IP packet to the client, in the server's name. Raises ValueError as `render_resets` does."""
    flow = told.flow
    server, client = (flow.server, flow.server_port), (flow.client, flow.client_port)
    return _render(server, client, told.to_client, told.acknowledged, _ACK, _WINDOW)


def _render(
    source: tuple[Address, int],
    destination: tuple[Address, int],
    sequence: int,
    acknowledged: int,
    flags: int,
    window: int = 0,
) -> bytes:
    ends = source[0].packed, destination[0].packed
    if len(ends[0]) != len(ends[1]):
        raise ValueError("a segment needs addresses of one family")
    fields = source[1], destination[1], sequence, acknowledged, _SIZE << 2, flags, window
    bare = _TCP.pack(*fields, 0, 0)
    segment = _TCP.pack(*fields, checksum(pseudo_header(*ends, TCP, _SIZE) + bare), 0)
    if len(ends[0]) == 16:
        return _IPV6.pack(6 << 28, _SIZE, TCP, 64, *ends) + segment
    header = _IPV4.pack(0x45, 0, 20 + _SIZE, 0, 0x4000, 64, TCP, 0, *ends)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + segment
