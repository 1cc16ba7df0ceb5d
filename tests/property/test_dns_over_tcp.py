"""A resolver, or whoever speaks in its name, against the reader of answers over TCP.

The model of the client is a kernel that takes the first bytes it gets for a place, and a program that reads what is
in order: a message it has whole was judged, and the kernel had what it opens before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from isolator.model.flow import Destination, Transport
from isolator.model.verdict import Verdict
from isolator.wire.dns_message import addresses_of, parse_dns
from isolator.wire.dns_stream import render_frame
from tests.corpus.dns.sound import answer, query
from tests.unit.isolator.core.test_dns_over_tcp import ASKED, FIRST, NOW, World

SECOND = query("www.listed.test", "AAAA", id_=8)
GOOD = (
    answer(ASKED, *(f"www.listed.test. 60 A 20.1.{n}.3" for n in range(6))),
    answer(SECOND, "www.listed.test. 60 AAAA 2603:1::1"),
)
BAD = (
    answer(query("x.evil.test"), "x.evil.test. 60 A 20.1.2.4"),
    answer(ASKED, "www.listed.test. 60 A 10.1.2.4"),
    answer(query("www.listed.test", id_=99), "www.listed.test. 60 A 20.1.9.9"),
    b"\xff" * 60,
)
STREAMS = st.lists(st.sampled_from((*GOOD, *GOOD, *BAD)), min_size=1, max_size=4).map(
    lambda messages: b"".join(render_frame(each) for each in messages)
)


@dataclass(slots=True)
class Program:
    """What has arrived at the client."""

    bytes_at: dict[int, int] = field(default_factory=dict)

    def take(self, offset: int, data: bytes) -> None:
        for at, byte in enumerate(data, offset):
            self.bytes_at.setdefault(at, byte)

    def in_order(self) -> bytes:
        end = 0
        while end in self.bytes_at:
            end += 1
        return bytes(self.bytes_at[at] for at in range(end))


def whole(stream: bytes) -> list[bytes]:
    """The messages that a program has read to their ends."""
    found, at = [], 0
    while len(stream) >= at + 2:
        end = at + 2 + int.from_bytes(stream[at : at + 2], "big")
        if len(stream) < end:
            break
        found.append(stream[at + 2 : end])
        at = end
    return found


def opened(world: World, message: bytes) -> bool:
    """Whether the kernel has what an answer to one of the two queries says. It may be a mixture of others."""
    pairs = [pair for asked in (ASKED, SECOND) for pair in addresses_of(parse_dns(message), parse_dns(asked))]
    doors = [Destination(address, Transport.TCP, 443) for address, _ in pairs]
    return doors != [] and all(world.dns.names.is_open(each, NOW) for each in doors)


@given(STREAMS, STREAMS, st.data())
def test_no_program_has_an_answer_whole_that_was_not_judged(
    one: bytes, other: bytes, data: st.DataObject
) -> None:
    """Pieces of two streams, in any order, again and over each other."""
    world, program = World(), Program()
    world.connect()
    world.ask(render_frame(ASKED) + render_frame(SECOND))
    for _ in range(data.draw(st.integers(1, 14))):
        stream = data.draw(st.sampled_from((one, one, one, other)))
        read = len(program.in_order())
        start = data.draw(st.one_of(st.just(min(read, len(stream) - 1)), st.integers(0, len(stream) - 1)))
        piece = stream[start : start + data.draw(st.integers(1, 160))]
        ruling = world.reply(piece, start)
        judged = [ends for ends in ruling.answers if ends.decision.verdict is Verdict.ACCEPT]
        assert len(judged) == len(ruling.answers)
        if ruling.flow.verdict is Verdict.REJECT:
            assert not ruling.flow.passed
            assert ruling.flow.resets[0].to_client == (FIRST + read) % (1 << 32), "the client takes the reset"
            return
        if ruling.flow.passed:
            before = len(whole(program.in_order()))
            program.take(start, piece)
            now = whole(program.in_order())
            assert len(now) - before == len(judged)
            assert all(opened(world, message) for message in now)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_sound_answers_arrive_however_they_are_cut_and_ordered(cuts: list[int], order: Random) -> None:
    world, program = World(), Program()
    world.connect()
    world.ask(render_frame(ASKED) + render_frame(SECOND))
    stream = b"".join(render_frame(each) for each in GOOD)
    pieces, at = [], 0
    for cut in (*cuts, len(stream)):
        if at < len(stream):
            pieces.append((at, stream[at : at + cut]))
            at += cut
    order.shuffle(pieces)
    for offset, piece in pieces:
        assert world.reply(piece, offset).flow.verdict is Verdict.ACCEPT
        program.take(offset, piece)
    assert whole(program.in_order()) == list(GOOD)
    assert len(world.dns.names.snapshot(NOW)) == 2 * (6 + 1)
