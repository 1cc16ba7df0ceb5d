"""An attacker with raw sockets against the flow gate: what went out is unambiguous, and allowed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from isolator.core.flow_table import FlowLimits
from isolator.model.segment import FlowRuling, Segment
from isolator.wire.http_request import RequestReader
from isolator.wire.tls_hello import parse_hello
from tests.corpus.hellos import hello
from tests.unit.isolator.core.flow_world import SHARED, T0, Client, gate
from tests.unit.isolator.core.test_flow_gate import CRL, EVIL, GET

GOOD, BAD = hello("www.listed.test"), hello("www.hostile.tes")
assert len(GOOD) == len(BAD)
PAGES = (GET + CRL, EVIL + CRL, GET + EVIL)
FLAGS = ("ack", "ack", "ack", "ack", "fin ack", "rst", "syn", "syn ack", "ack urg")


@st.composite
def attacks(draw: st.DrawFn, streams: tuple[bytes, ...]) -> list[tuple[int, bytes, str, int]]:
    """Pieces of several streams at their places, or a little beside, with any flags; (..., other SYN)."""
    made: list[tuple[int, bytes, str, int]] = []
    for _ in range(draw(st.integers(1, 14))):
        stream = draw(st.sampled_from(streams))
        cuts = sorted(draw(st.tuples(st.integers(0, len(stream)), st.integers(0, len(stream)))))
        low, high = draw(
            st.sampled_from((tuple(cuts), (0, len(stream)), (0, cuts[0]), (cuts[1], len(stream))))
        )
        shift = draw(st.sampled_from((0, 0, 0, 0, 0, -1, 1)))
        made.append(
            (low + shift, stream[low:high], draw(st.sampled_from(FLAGS)), draw(st.sampled_from((0, 0, 0, 7))))
        )
    return made


def carry_out(
    client: Client, attack: list[tuple[int, bytes, str, int]], limits: FlowLimits | None = None
) -> tuple[dict[int, set[int]], bool]:
    """Which octets went out at which offsets, until the connection was reset; and whether it was marked."""
    flows = gate(limits)
    client.open(flows)
    queued: dict[int, tuple[int, bytes]] = {}
    answered: set[int] = set()
    out: dict[int, set[int]] = {}

    def note(ruling: FlowRuling) -> None:
        tokens = (*ruling.passed, *ruling.dropped)
        assert not answered & set(tokens), "a packet got two answers"
        assert len(tokens) == len(set(tokens))
        answered.update(tokens)
        for token in ruling.passed:
            offset, payload = queued.get(token, (0, b""))
            for at, octet in enumerate(payload, offset):
                out.setdefault(at, set()).add(octet)

    for offset, payload, flags, first in attack:
        segment: Segment = client.segment(offset + first, payload, flags)
        queued[segment.token] = offset + first, payload
        ruling = flows.judge(segment, T0)
        note(ruling)
        if ruling.resets or ruling.mark:
            return out, ruling.mark
    rest = flows.expire(T0 + 10_000)
    if rest is not None:
        note(rest)
    assert answered == set(queued), "a packet was forgotten"
    assert flows.table.held == flows.table.held_bytes == len(flows.table) == 0
    return out, False


def stream_of(out: dict[int, set[int]]) -> bytes:
    """The bytes from the first one on without a gap; each place has one value only."""
    assert all(len(octets) == 1 for octets in out.values()), "two readings of one place"
    assert min(out, default=0) >= 0
    stream = bytearray()
    while len(stream) in out:
        stream += bytes(out[len(stream)])
    return bytes(stream)


@settings(deadline=None, max_examples=300)
@given(attacks((GOOD, GOOD, BAD)), st.integers(0, 0xFFFF_FFFF))
def test_tls(attack: list[tuple[int, bytes, str, int]], first: int) -> None:
    out, marked = carry_out(Client(SHARED, first=first), attack)
    stream = stream_of(out)
    if not marked:
        assert not out, "bytes went out before the hello was judged"
        return
    found = parse_hello(stream)
    assert found is not None
    assert found.server_name == "www.listed.test"


@settings(deadline=None, max_examples=300)
@given(attacks(PAGES), st.integers(0, 0xFFFF_FFFF))
def test_http(attack: list[tuple[int, bytes, str, int]], first: int) -> None:
    out, marked = carry_out(Client(SHARED, 80, first=first), attack)
    assert not marked
    reader = RequestReader()
    hosts = {request.host for request in reader.feed(stream_of(out))}
    assert hosts <= {"www.listed.test", "crl.listed.test"}
    assert reader.between


@settings(deadline=None)
@given(attacks((GOOD, BAD)), st.integers(1, 3))
def test_every_packet_gets_one_answer_also_beyond_the_bounds(
    attack: list[tuple[int, bytes, str, int]], held: int
) -> None:
    carry_out(Client(SHARED), attack, FlowLimits(held=held, held_bytes=200))
