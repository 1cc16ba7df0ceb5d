"""The internet checksum against a plain RFC 1071 loop."""

from __future__ import annotations

import pytest

from isolator.wire.checksum import checksum, ones_sum, pseudo_header


def plain(data: bytes) -> int:
    """RFC 1071 section 4.1, word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("0001f203f4f5f6f7"),  # RFC 1071 section 3
        b"\x01",
        b"\x01\x02\x03",
        bytes(8),
        bytes(range(256)) * 5,
    ],
)
def test_agrees_with_the_plain_loop(data: bytes) -> None:
    assert checksum(data) == plain(data)


@pytest.mark.parametrize("data", [b"\xff\xff", b"\xff\xfe\x00\x01"])
def test_a_sum_of_all_ones_is_the_other_zero(data: bytes) -> None:
    # Either zero verifies; the field of a header with such a sum differs from the plain loop's only in that.
    assert {checksum(data), plain(data)} <= {0, 0xFFFF}
    assert ones_sum(data + checksum(data).to_bytes(2, "big")) == 0


def test_a_block_with_its_checksum_sums_to_zero() -> None:
    block = b"some header words"
    block += bytes(len(block) % 2)
    assert ones_sum(block + checksum(block).to_bytes(2, "big")) == 0


def test_pseudo_headers() -> None:
    assert pseudo_header(b"\x01\x02\x03\x04", b"\x05\x06\x07\x08", 17, 9) == bytes.fromhex(
        "010203040506070800110009"
    )
    six = pseudo_header(bytes(15) + b"\x01", bytes(15) + b"\x02", 17, 0x10002)
    assert six == bytes(15) + b"\x01" + bytes(15) + b"\x02" + bytes.fromhex("0001000200000011")
