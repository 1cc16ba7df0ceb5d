"""A client's bytes in order: every order, every overlap, every bound."""

from __future__ import annotations

from itertools import permutations

import pytest

from isolator.core.tcp_reassembly import KEPT, MAX_WAITING, WINDOW, Fit, Placed, TcpStream

FIRST = 0xFFFF_FFFA
"""Six bytes before the numbers wrap."""
DATA = bytes(range(1, 21))


def at(offset: int) -> int:
    return (FIRST + offset) % (1 << 32)


@pytest.mark.parametrize("order", list(permutations([(0, 7), (7, 9), (9, 20), (5, 12)])))
def test_every_order_gives_the_same(order: tuple[tuple[int, int], ...]) -> None:
    stream = TcpStream(FIRST)
    got = b"".join(stream.add(at(low), DATA[low:high]).data for low, high in order)
    assert got == DATA
    assert stream.next == len(DATA)
    assert stream.sequence_of(stream.next) == 14


def test_places() -> None:
    stream = TcpStream(FIRST)
    assert stream.add(at(0), DATA[:4]) == Placed(Fit.NEXT, 4, DATA[:4])
    assert stream.add(at(0), DATA[:4]) == Placed(Fit.AGAIN, 4)
    assert stream.add(at(1), DATA[1:3]) == Placed(Fit.AGAIN, 3)
    assert stream.add(at(8), DATA[8:12]) == Placed(Fit.AHEAD, 12)
    assert stream.add(at(9), DATA[9:11]) == Placed(Fit.AGAIN, 11)
    assert stream.add(at(7), DATA[7:9]) == Placed(Fit.AHEAD, 9)
    assert stream.add(at(14), DATA[14:15]) == Placed(Fit.AHEAD, 15)
    assert stream.add(at(3), DATA[3:8]) == Placed(Fit.NEXT, 8, DATA[4:12])


@pytest.mark.parametrize("offset", [0, 3, 8, 11])
def test_other_bytes_at_a_known_place(offset: int) -> None:
    stream = TcpStream(FIRST)
    stream.add(at(0), DATA[:4])
    stream.add(at(8), DATA[8:12])
    assert stream.add(at(offset), b"\xff") == Placed(Fit.CONFLICT, offset + 1)
    over = bytearray(DATA)
    over[offset] = 0xFF
    assert stream.add(at(0), bytes(over)).fit is Fit.CONFLICT
    assert stream.add(at(4), DATA[4:]).data == DATA[4:], "a conflict changes nothing"


def test_before_the_beginning() -> None:
    assert TcpStream(FIRST).add(at(-1), b"xy").fit is Fit.OUTSIDE
    assert TcpStream(FIRST).offset_of(at(-1)) == -1


def test_far_ahead() -> None:
    stream = TcpStream(FIRST)
    assert stream.add(at(WINDOW - 1), b"xy").fit is Fit.OUTSIDE
    assert stream.add(at(WINDOW - 1), b"x").fit is Fit.AHEAD
    assert stream.add(at(0), bytes(WINDOW * 2)).fit is Fit.CONFLICT
    assert TcpStream(FIRST).add(at(0), bytes(WINDOW * 2)).fit is Fit.NEXT


def test_too_many_wait() -> None:
    stream = TcpStream(FIRST)
    fits = [stream.add(at(2 * each), b"x").fit for each in range(1, MAX_WAITING + 2)]
    assert fits == [Fit.AHEAD] * MAX_WAITING + [Fit.OUTSIDE]
    assert stream.add(at(0), b"yz").data == b"yzx"


def test_older_than_what_is_remembered() -> None:
    stream = TcpStream(FIRST)
    stream.add(at(0), b"a" * 10)
    stream.add(at(10), b"b" * KEPT)
    assert stream.add(at(9), b"a").fit is Fit.OUTSIDE
    assert stream.add(at(10), b"b").fit is Fit.AGAIN


def test_offsets_go_on_after_a_wrap() -> None:
    stream = TcpStream(0)
    stream.next = (1 << 32) + 3
    assert stream.offset_of(5) == (1 << 32) + 5
    assert stream.offset_of((1 << 32) - 1) == (1 << 32) - 1
