"""DNS messages in a TCP stream."""

from __future__ import annotations

import pytest

from isolator.wire.dns_stream import DnsFrames, render_frame
from isolator.wire.parse_error import ParseError

MESSAGES = (b"a" * 12, b"b" * 300, b"c" * 13)
STREAM = b"".join(map(render_frame, MESSAGES))


@pytest.mark.parametrize("step", [1, 2, 3, 13, 14, 15, 1_000])
def test_messages_are_cut_out(step: int) -> None:
    reader = DnsFrames()
    pieces = [STREAM[at : at + step] for at in range(0, len(STREAM), step)]
    assert tuple(message for piece in pieces for message in reader.feed(piece)) == MESSAGES
    assert reader.between


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_unfinished_message(size: int) -> None:
    reader = DnsFrames()
    assert reader.feed(STREAM[:size]) == ()
    assert not reader.between


@pytest.mark.parametrize(("size", "longest"), [(0, 512), (11, 512), (513, 512), (0xFFFF, 0xFFFE)])
def test_impossible_lengths(size: int, longest: int) -> None:
    with pytest.raises(ParseError, match="dns_frame"):
        DnsFrames(longest).feed(size.to_bytes(2, "big"))


def test_a_message_too_long_for_a_frame() -> None:
    with pytest.raises(ValueError, match="65,535"):
        render_frame(bytes(65_536))
