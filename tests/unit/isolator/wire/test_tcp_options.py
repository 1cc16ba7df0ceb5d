"""A SYN's offer of Multipath TCP is taken out; nothing else changes, and the checksum is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from isolator.wire.parse_error import ParseError, Unreadable
from isolator.wire.tcp_options import without_multipath
from isolator.wire.tcp_segment import parse_segment

CAPABLE = bytes.fromhex("1e04 0181".replace(" ", ""))
JOIN = bytes.fromhex("1e0c1001") + bytes(8)
USUAL = bytes.fromhex("020405b4 0402080a 0000000100000000 01030307".replace(" ", ""))
V4, V6 = IP(src="192.0.2.10", dst="20.1.1.1"), IPv6(src="2001:db8::10", dst="2603:1061::1")


def syn(options: bytes, network: IP | IPv6 = V4) -> bytes:
    """A SYN with these options, written by scapy; its checksum is right."""
    options += bytes(-len(options) % 4)
    head = TCP(sport=40_000, dport=443, flags="S", seq=7, dataofs=5 + len(options) // 4)
    return bytes(network / head / options)


@pytest.mark.parametrize("network", [V4, V6], ids=["v4", "v6"])
@pytest.mark.parametrize("offer", [CAPABLE, JOIN], ids=["capable", "join"])
@pytest.mark.parametrize("before", [b"", USUAL, b"\x01\x01\x01"], ids=["first", "last", "after_nothing"])
def test_the_offer_is_overwritten(network: IP | IPv6, offer: bytes, before: bytes) -> None:
    packet = syn(before + offer, network)
    plain = without_multipath(packet)
    assert plain is not None
    assert parse_segment(plain, 1, inbound=False) == parse_segment(packet, 1, inbound=False)
    read = type(network)(plain)[TCP]
    assert 30 not in {kind for kind, _ in read.options}
    at = 40 if network is V4 else 60
    assert plain[at : at + len(before) + len(offer)] == before + b"\x01" * len(offer)
    assert without_multipath(plain) is None


def test_several_offers() -> None:
    plain = without_multipath(syn(CAPABLE + USUAL + JOIN))
    assert plain is not None
    assert b"\x1e" not in plain[40:]


@pytest.mark.parametrize("options", [b"", USUAL, b"\0" + CAPABLE, b"\x02\x04\x1e\x04"])
def test_without_an_offer_nothing_changes(options: bytes) -> None:
    """What stands behind the end of the options, or inside another one, is no offer."""
    assert without_multipath(syn(options)) is None


@pytest.mark.parametrize("options", [b"\x02\x00\0\0", b"\x02\x01\0\0", b"\x02\x09\0\0", b"\x01\x01\x01\x1e"])
def test_options_that_cannot_be_read(options: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        without_multipath(syn(options))
    assert caught.value.kind is Unreadable.TCP_HEADER


@given(st.binary(max_size=40))
def test_any_options_are_read_or_refused(options: bytes) -> None:
    try:
        plain = without_multipath(syn(options))
    except ParseError:
        return
    if plain is not None:
        assert parse_segment(plain, 1, inbound=False).flags == {"syn"}
        assert without_multipath(plain) is None
