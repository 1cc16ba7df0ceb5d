"""Reading the kernel's account of an ICMP error."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.probes.error_queue import IcmpError, parse


def message(origin: int, kind: int, code: int, sender: bytes) -> bytes:
    return struct.pack("=IBBBBII", 113, origin, kind, code, 0, 0, 0) + sender


V4 = struct.pack("=HH", socket.AF_INET, 0) + socket.inet_aton("192.0.2.1") + bytes(8)
V6 = struct.pack("=HHI", socket.AF_INET6, 0, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + bytes(4)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (message(2, 3, 13, V4), IcmpError("192.0.2.1", 3, 13, 4)),
        (message(3, 1, 1, V6), IcmpError("2001:db8::1", 1, 1, 6)),
        (message(2, 3, 13, V4[:4]), IcmpError("", 3, 13, 4)),
        (message(2, 3, 13, b""), IcmpError("", 3, 13, 4)),
        (message(1, 0, 0, V4), None),
        (message(0, 0, 0, V4), None),
        (message(2, 3, 13, V4)[:15], None),
        (b"", None),
    ],
)
def test_one_message(data: bytes, expected: IcmpError | None) -> None:
    assert parse(data) == expected


@given(st.binary(max_size=64))
def test_nothing_it_may_hold_raises(data: bytes) -> None:
    parse(data)


@pytest.mark.parametrize(
    ("kind", "family", "exceeded"), [(11, 4, True), (3, 4, False), (3, 6, True), (1, 6, False)]
)
def test_time_exceeded_has_another_number_in_each_family(kind: int, family: int, exceeded: bool) -> None:
    assert IcmpError("", kind, 0, family).is_time_exceeded is exceeded
