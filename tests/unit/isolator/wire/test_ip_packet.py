"""IP packets built by scapy, and what must not pass as one."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)

from isolator.model.datagram import Datagram
from isolator.wire.ip_packet import IpPacket, parse_icmp, parse_ip, parse_tcp, parse_udp, render_udp
from isolator.wire.parse_error import ParseError, Unreadable

A, B = IPv4Address("192.0.2.1"), IPv4Address("198.51.100.53")
A6, B6 = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::53")


def four(*, payload: bytes = b"hello", **fields: object) -> bytes:
    return bytes(IP(src=str(A), dst=str(B), **fields) / UDP(sport=4000, dport=53) / payload)


def six(*, payload: bytes = b"hello") -> bytes:
    return bytes(IPv6(src=str(A6), dst=str(B6), hlim=9) / UDP(sport=4000, dport=53) / payload)


def kind_of(call: object, *arguments: object, **options: object) -> Unreadable:
    with pytest.raises(ParseError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    return caught.value.kind


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


class TestWhole:
    def test_ipv4(self) -> None:
        packet = parse_ip(four(ttl=9, flags="DF"), verify=True)
        assert (packet.source, packet.destination, packet.protocol) == (A, B, 17)
        assert (packet.hop_limit, packet.length, packet.extras) == (9, 33, 0)
        assert parse_udp(packet, verify=True) == Datagram(A, 4000, B, 53, b"hello")

    def test_ipv6(self) -> None:
        packet = parse_ip(six(), verify=True)
        assert (packet.source, packet.destination, packet.protocol) == (A6, B6, 17)
        assert (packet.hop_limit, packet.length, packet.extras) == (9, 53, 0)
        assert parse_udp(packet, verify=True) == Datagram(A6, 4000, B6, 53, b"hello")

    def test_an_empty_datagram(self) -> None:
        assert parse_udp(parse_ip(four(payload=b"")), verify=True).payload == b""

    def test_ipv4_options_are_counted_and_skipped(self) -> None:
        packet = parse_ip(four(options=[IPOption_NOP()] * 8), verify=True)
        assert packet.extras == 8
        assert parse_udp(packet, verify=True).payload == b"hello"

    def test_extension_headers_are_counted_and_skipped(self) -> None:
        data = bytes(
            IPv6(src=str(A6), dst=str(B6))
            / IPv6ExtHdrHopByHop()
            / IPv6ExtHdrDestOpt()
            / IPv6ExtHdrRouting()
            / UDP(sport=4000, dport=53)
            / b"hello"
        )
        packet = parse_ip(data)
        assert (packet.protocol, packet.extras) == (17, 24)
        assert parse_udp(packet).payload == b"hello"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", Unreadable.IP_TRUNCATED),
        (b"\x45" + bytes(18), Unreadable.IP_TRUNCATED),
        (b"\x60" + bytes(38), Unreadable.IP_TRUNCATED),
        (b"\x50" + bytes(40), Unreadable.IP_VERSION),
        (changed(four(), 0, b"\x44"), Unreadable.IP_HEADER),
        (changed(four(), 0, b"\x4f"), Unreadable.IP_HEADER),
        (four()[:-1], Unreadable.IP_LENGTH),
        (four() + b"x", Unreadable.IP_LENGTH),
        (six()[:-1], Unreadable.IP_LENGTH),
        (six() + b"x", Unreadable.IP_LENGTH),
        (changed(six(), 4, b"\0\0"), Unreadable.IP_LENGTH),
        (four(flags="MF"), Unreadable.IP_FRAGMENT),
        (four(frag=1), Unreadable.IP_FRAGMENT),
        (changed(four(), 6, b"\x80\x00"), Unreadable.IP_FRAGMENT),
        (bytes(IPv6() / IPv6ExtHdrFragment() / UDP()), Unreadable.IP_FRAGMENT),
        (bytes(IPv6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment() / UDP()), Unreadable.IP_FRAGMENT),
        (bytes(IPv6(nh=0) / b"\x11\x00\x00"), Unreadable.IP_TRUNCATED),
        (bytes(IPv6(nh=60) / (b"\x11\x01" + bytes(6))), Unreadable.IP_TRUNCATED),
        (bytes(IPv6(nh=60) / ((b"\x3c\x00" + bytes(6)) * 20)), Unreadable.IP_HEADER),
    ],
)
def test_what_is_no_packet(data: bytes, kind: Unreadable) -> None:
    assert kind_of(parse_ip, data) is kind


def test_eight_extension_headers_are_walked_and_the_ninth_is_not() -> None:
    option = b"\x3c\x00" + bytes(6)
    last = b"\x3b\x00" + bytes(6)
    assert parse_ip(bytes(IPv6(nh=60) / (option * 6 + last))).protocol == 59
    assert kind_of(parse_ip, bytes(IPv6(nh=60) / (option * 7 + last))) is Unreadable.IP_HEADER


class TestChecksums:
    def test_a_wrong_header_sum_is_refused_only_when_asked(self) -> None:
        data = changed(four(), 10, b"\x12\x34")
        assert parse_ip(data).source == A
        assert kind_of(parse_ip, data, verify=True) is Unreadable.IP_CHECKSUM

    @pytest.mark.parametrize("data", [four(), six()], ids=["ipv4", "ipv6"])
    def test_a_flipped_bit_is_refused_only_when_asked(self, data: bytes) -> None:
        packet = parse_ip(data[:-1] + b"\x00")
        assert parse_udp(packet).source_port == 4000
        assert kind_of(parse_udp, packet, verify=True) is Unreadable.UDP_CHECKSUM

    @pytest.mark.parametrize(("data", "at"), [(four(), 26), (six(), 46)], ids=["ipv4", "ipv6"])
    def test_one_left_to_the_network_card_passes(self, data: bytes, at: int) -> None:
        # Linux puts the sum of the pseudo-header there (CHECKSUM_PARTIAL).
        ends = data[12:20] if len(data) == 33 else data[8:40]
        total = sum(struct.unpack(f"!{len(ends) // 2}H", ends)) + 17 + 13
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        packet = parse_ip(changed(data, at, total.to_bytes(2, "big")))
        assert parse_udp(packet, verify=True).payload == b"hello"

    def test_none_is_right_in_ipv4_and_wrong_in_ipv6(self) -> None:
        assert parse_udp(parse_ip(changed(four(), 26, b"\0\0")), verify=True).payload == b"hello"
        packet = parse_ip(changed(six(), 46, b"\0\0"))
        assert kind_of(parse_udp, packet, verify=True) is Unreadable.UDP_CHECKSUM


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (bytes(7), Unreadable.UDP_TRUNCATED),
        (struct.pack("!HHHH", 1, 2, 9, 0), Unreadable.UDP_LENGTH),
        (struct.pack("!HHHH", 1, 2, 8, 0) + b"smuggled", Unreadable.UDP_LENGTH),
        (struct.pack("!HHHH", 1, 2, 0, 0), Unreadable.UDP_LENGTH),
    ],
)
def test_what_is_no_datagram(payload: bytes, kind: Unreadable) -> None:
    assert kind_of(parse_udp, IpPacket(A, B, 17, 64, 20 + len(payload), 0, payload)) is kind


def test_other_protocols_are_told_apart() -> None:
    packet = parse_ip(bytes(IP() / TCP()))
    assert kind_of(parse_udp, packet) is Unreadable.NOT_UDP
    assert kind_of(parse_icmp, packet) is Unreadable.NOT_ICMP
    assert kind_of(parse_tcp, parse_ip(four())) is Unreadable.NOT_TCP


class TestTcp:
    def test_the_fields(self) -> None:
        data = bytes(IP() / TCP(sport=5, dport=443, seq=9, flags="SA", options=[("MSS", 1460)]) / b"x")
        segment = parse_tcp(parse_ip(data))
        assert (segment.source_port, segment.destination_port, segment.sequence) == (5, 443, 9)
        assert (segment.flags, segment.payload) == ({"syn", "ack"}, b"x")

    @pytest.mark.parametrize(
        ("payload", "kind"),
        [
            (bytes(19), Unreadable.TCP_TRUNCATED),
            (bytes(12) + b"\x40" + bytes(7), Unreadable.TCP_HEADER),
            (bytes(12) + b"\x60" + bytes(7), Unreadable.TCP_HEADER),
        ],
    )
    def test_what_is_no_segment(self, payload: bytes, kind: Unreadable) -> None:
        assert kind_of(parse_tcp, IpPacket(A, B, 6, 64, 40, 0, payload)) is kind


class TestIcmp:
    @pytest.mark.parametrize(
        ("data", "kind", "embedded"),
        [
            (bytes(IP() / ICMP(type=8)), 8, None),
            (bytes(IP() / ICMP(type=3, code=4) / IP(src=str(A), dst=str(B)) / UDP()), 3, B),
            (bytes(IP() / ICMP(type=3, code=4) / bytes(19)), 3, None),
            (bytes(IP() / ICMP(type=3, code=4) / bytes(20)), 3, None),
            (bytes(IPv6() / ICMPv6EchoRequest()), 128, None),
            (bytes(IPv6() / ICMPv6PacketTooBig() / IPv6(src=str(A6), dst=str(B6)) / UDP()), 2, B6),
            (bytes(IPv6() / ICMPv6PacketTooBig() / bytes(39)), 2, None),
            (bytes(IPv6() / ICMPv6PacketTooBig() / bytes(40)), 2, None),
        ],
    )
    def test_whom_an_error_is_about(self, data: bytes, kind: int, embedded: object) -> None:
        message = parse_icmp(parse_ip(data))
        assert (message.kind, message.embedded) == (kind, embedded)

    def test_too_short(self) -> None:
        assert kind_of(parse_icmp, IpPacket(A, B, 1, 64, 27, 0, bytes(7))) is Unreadable.ICMP_TRUNCATED

    def test_each_family_has_its_own_protocol(self) -> None:
        assert kind_of(parse_icmp, IpPacket(A, B, 58, 64, 28, 0, bytes(8))) is Unreadable.NOT_ICMP
        assert kind_of(parse_icmp, IpPacket(A6, B6, 1, 64, 48, 0, bytes(8))) is Unreadable.NOT_ICMP


class TestRender:
    @pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
    def test_scapy_would_have_sent_the_same(self, payload: bytes) -> None:
        ours = render_udp(Datagram(A, 53, B, 4000, payload))
        theirs = IP(src=str(A), dst=str(B), id=0, flags="DF") / UDP(sport=53, dport=4000) / payload
        assert ours == bytes(theirs)
        ours = render_udp(Datagram(A6, 53, B6, 4000, payload))
        assert ours == bytes(IPv6(src=str(A6), dst=str(B6)) / UDP(sport=53, dport=4000) / payload)

    def test_a_checksum_of_zero_is_sent_as_all_ones(self) -> None:
        wanted = Datagram(A, 53, B, 4000, b"\0\0")
        plain = int.from_bytes(render_udp(wanted)[26:28], "big")
        # The payload word that completes the sum makes the checksum zero.
        silent = render_udp(Datagram(A, 53, B, 4000, plain.to_bytes(2, "big")))
        assert silent[26:28] == b"\xff\xff"
        assert parse_udp(parse_ip(silent), verify=True).payload == plain.to_bytes(2, "big")

    @pytest.mark.parametrize(
        "datagram",
        [Datagram(A, 1, B6, 2, b""), Datagram(A, 1, B, 2, bytes(65_508))],
        ids=["families", "size"],
    )
    def test_what_cannot_be_sent(self, datagram: Datagram) -> None:
        with pytest.raises(ValueError, match="one family"):
            render_udp(datagram)

    def test_the_largest_fits(self) -> None:
        assert len(render_udp(Datagram(A, 1, B, 2, bytes(65_507)))) == 65_535
