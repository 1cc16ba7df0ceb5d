"""Any bytes at all: a packet, or ParseError."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from isolator.model.datagram import Datagram
from isolator.wire.ip_packet import parse_icmp, parse_ip, parse_tcp, parse_udp, render_udp
from isolator.wire.parse_error import ParseError

PORTS = st.integers(0, 0xFFFF)
PAYLOADS = st.binary(max_size=80)
DATAGRAMS = st.one_of(
    st.builds(Datagram, st.ip_addresses(v=4), PORTS, st.ip_addresses(v=4), PORTS, PAYLOADS),
    st.builds(Datagram, st.ip_addresses(v=6), PORTS, st.ip_addresses(v=6), PORTS, PAYLOADS),
)


@given(DATAGRAMS)
def test_what_was_rendered_is_read_back(datagram: Datagram) -> None:
    assert parse_udp(parse_ip(render_udp(datagram), verify=True), verify=True) == datagram


@given(DATAGRAMS, st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_never_goes_unnoticed_in_the_datagram(datagram: Datagram, at: int, bit: int) -> None:
    data = bytearray(render_udp(datagram))
    first = 20 if isinstance(datagram.source, IPv4Address) else 40
    place = first + at % (len(data) - first)
    data[place] ^= 1 << bit
    with suppress(ParseError):
        read = parse_udp(parse_ip(bytes(data), verify=True), verify=True)
        # Only a checksum field that a flip turned into "none" or into the card's placeholder passes.
        assert place - first in (6, 7)
        assert read == datagram


@given(
    st.one_of(
        st.binary(max_size=120),
        st.binary(min_size=20, max_size=80).map(lambda tail: b"\x45" + tail),
        st.binary(min_size=40, max_size=120).map(lambda tail: b"\x60" + tail),
    ),
    st.booleans(),
)
def test_nothing_but_parse_error(data: bytes, verify: bool) -> None:
    try:
        packet = parse_ip(data, verify=verify)
    except ParseError:
        return
    assert packet.length == len(data)
    for parse in (parse_tcp, parse_icmp):
        with suppress(ParseError):
            parse(packet)
    with suppress(ParseError):
        parse_udp(packet, verify=verify)


@given(
    st.lists(st.sampled_from([0, 43, 44, 60, 17, 6, 58, 59, 51, 255]), max_size=12),
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
    st.integers(0, 17),
    st.binary(max_size=40),
)
def test_extension_headers_of_any_kind_and_order(
    kinds: list[int], sizes: list[int], last: int, tail: bytes
) -> None:
    chain = b""
    following = [*kinds[1:], last]
    for kind, size in zip(following, sizes, strict=False):
        chain += bytes((kind, size)) + bytes(size * 8 + 6)
    body = chain + tail
    source = IPv6Address("2001:db8::1").packed
    head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes(((kinds or [last])[0], 64)) + source * 2
    with suppress(ParseError):
        packet = parse_ip(head + body)
        assert packet.protocol not in (0, 43, 44, 60)
        assert len(packet.payload) + packet.extras == len(body)
