"""A queued packet as a segment: what the server would not read is no segment here either."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.model.segment import FlowKey, Reset
from isolator.wire.parse_error import ParseError, Unreadable
from isolator.wire.tcp_render import render_resets
from isolator.wire.tcp_segment import FEWEST_HOPS, parse_segment

FLOW4 = FlowKey(ip_address("192.0.2.10"), 40_000, ip_address("20.1.1.1"), 443)
FLOW6 = FlowKey(ip_address("2001:db8::10"), 40_000, ip_address("2603:1061::1"), 443)


def packet(flow: FlowKey = FLOW4) -> bytes:
    """A RST to the server: 20 bytes of TCP."""
    return render_resets(Reset(flow, 0xFFFF_FFFE, 7, 9))[0]


@pytest.mark.parametrize("flow", [FLOW4, FLOW6], ids=["v4", "v6"])
def test_what_is_written_is_read(flow: FlowKey) -> None:
    to_server, to_client = render_resets(Reset(flow, 0xFFFF_FFFE, 7, 9))
    out = parse_segment(to_server, 5, inbound=False)
    assert (out.flow, out.sequence, out.flags, out.payload, out.token) == (
        flow, 0xFFFF_FFFE, frozenset({"rst"}), b"", 5
    )  # fmt: skip
    back = parse_segment(to_client, 6, inbound=True)
    assert (back.flow, back.sequence, back.acknowledgement) == (flow, 7, 9)
    assert back.flags == {"rst", "ack"}


def changed(at: int, value: int, flow: FlowKey = FLOW4) -> bytes:
    data = bytearray(packet(flow))
    data[at] = value
    return bytes(data)


def cut(data: bytes, length: int) -> bytes:
    """The first bytes of a packet, its length field in agreement."""
    return data[:2] + length.to_bytes(2, "big") + data[4:length]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", Unreadable.IP_TRUNCATED),
        (b"\x45\0", Unreadable.IP_TRUNCATED),
        (b"\x60\0", Unreadable.IP_TRUNCATED),
        (b"\x50" + bytes(40), Unreadable.IP_VERSION),
        (changed(0, 0x46), Unreadable.IP_OPTIONS),
        (packet() + b"x", Unreadable.IP_LENGTH),
        (cut(packet(), 39), Unreadable.TCP_TRUNCATED),
        (packet(FLOW6)[:-1], Unreadable.IP_LENGTH),
        (changed(6, 0x20), Unreadable.IP_FRAGMENT),
        (changed(6, 0x80), Unreadable.IP_FRAGMENT),
        (changed(7, 0x01), Unreadable.IP_FRAGMENT),
        (changed(9, 17), Unreadable.NOT_TCP),
        (changed(6, 0, FLOW6), Unreadable.NOT_TCP),
        (changed(32, 0x40), Unreadable.TCP_HEADER),
        (changed(32, 0x60), Unreadable.TCP_HEADER),
        (changed(33, 0x02), Unreadable.TCP_CHECKSUM),
        (changed(8, FEWEST_HOPS - 1), Unreadable.IP_HOPS),
        (changed(7, FEWEST_HOPS - 1, FLOW6), Unreadable.IP_HOPS),
    ],
)
def test_what_the_server_would_not_read_is_refused(data: bytes, kind: Unreadable) -> None:
    with pytest.raises(ParseError) as caught:
        parse_segment(data, 1, inbound=False)
    assert caught.value.kind is kind


def test_on_the_way_in_the_kernel_has_looked_at_the_checksum() -> None:
    assert parse_segment(changed(33, 0x02), 1, inbound=True).flags == {"syn"}
