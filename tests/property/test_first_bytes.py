"""First bytes: any bytes give a value or ParseError, the same however they are cut, and the gate agrees."""

from __future__ import annotations

from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from isolator.model.http import Request
from isolator.model.segment import FlowRuling
from isolator.model.tls import Hello
from isolator.model.verdict import Reason, Verdict
from isolator.wire.dns_stream import DnsFrames
from isolator.wire.http_request import RequestReader
from isolator.wire.parse_error import ParseError
from isolator.wire.tls_hello import HelloReader
from tests.corpus import hellos
from tests.corpus.hellos import alpn, ech, hello, versions
from tests.unit.isolator.core.flow_world import SHARED, T0, Client, gate
from tests.unit.isolator.core.test_flow_gate import CONNECT, CRL, EVIL, GET

HELLOS = (
    hello("www.listed.test"),
    hello("evil.test"),
    hello(None),
    hello("a.wild.test", ech(), alpn(b"h2"), versions(0x0304)),
    hello("www.listed.test", (51, bytes(1_200)), size=300),
    *(data for _, data in hellos.recorded("tls")),
)
POST = b"POST /x HTTP/1.1\r\nHost: www.listed.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
REQUESTS = (GET, GET + CRL, GET + EVIL, POST + CRL, POST + EVIL, CONNECT + hello(), GET[:-2])


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(st.sampled_from(("set", "drop", "insert", "cut", "repeat")))
        if kind == "set":
            data[at] = draw(st.integers(0, 255))
        elif kind == "drop" and len(data) > 1:
            del data[at]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=6))
        elif kind == "cut" and at:
            del data[at:]
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
    return bytes(data)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[low:high] for low, high in pairwise(bounds) if low < high]


CUTS = st.lists(st.integers(0, 4_000), max_size=12)


def read_hello(pieces: list[bytes]) -> Hello | str | None:
    reader = HelloReader()
    try:
        for piece in pieces:
            found = reader.feed(piece)
            if found is not None:
                return found
    except ParseError as error:
        return error.kind.value
    return None


def read_requests(pieces: list[bytes]) -> tuple[list[Request], bool] | str:
    reader = RequestReader()
    found: list[Request] = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except ParseError as error:
        return error.kind.value
    return found, reader.between


@given(st.one_of(st.binary(max_size=200), mutated(HELLOS)), CUTS)
def test_a_hello_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert read_hello(pieces_of(data, cuts)) == read_hello([data])


@given(st.one_of(st.binary(max_size=200), mutated(REQUESTS)), CUTS)
def test_requests_are_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    assert read_requests(pieces_of(data, cuts)) == read_requests([data])


@given(st.binary(max_size=400), CUTS)
def test_frames_are_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    def read(pieces: list[bytes]) -> list[bytes] | str:
        reader = DnsFrames(300)
        try:
            return [message for piece in pieces for message in reader.feed(piece)]
        except ParseError as error:
            return error.kind.value

    assert read(pieces_of(data, cuts)) == read([data])


@given(mutated((GET, CRL, GET + CRL, POST + CRL)))
def test_h11_finds_the_same_requests_in_what_is_accepted(data: bytes) -> None:
    """An independent reader, as a server would be, sees neither more requests nor other hosts."""
    read = read_requests([data])
    if isinstance(read, str):
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    hosts: list[str] = []
    while True:
        event = server.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED):
            if server.their_state is not h11.DONE or len(hosts) == len(read[0]):
                break
            server.send(h11.Response(status_code=204, headers=[]))
            server.send(h11.EndOfMessage())
            if server.our_state is not h11.DONE:
                break
            server.start_next_cycle()
        elif isinstance(event, h11.Request):
            hosts += [value.decode("ascii") for name, value in event.headers if name == b"host"]
    assert [host.lower().removesuffix(".") for host in hosts] == [
        request.host
        if request.port is None or f":{request.port}" not in "".join(hosts)
        else f"{request.host}:{request.port}"
        for request in read[0][: len(hosts)]
    ]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, bytes]]]:
    """A hello, and segments of it in any order, some twice, some overlapping, all of it there in the end."""
    data = draw(st.sampled_from(HELLOS))
    cuts = sorted(draw(st.lists(st.integers(1, len(data) - 1), max_size=10)))
    bounds = [0, *cuts, len(data)]
    segments = [(low, data[low:high]) for low, high in pairwise(bounds) if low < high]
    for _ in range(draw(st.integers(0, 4))):
        low = draw(st.integers(0, len(data) - 1))
        segments.append((low, data[low : low + draw(st.integers(1, 300))]))
    return data, draw(st.permutations(segments))


@settings(deadline=None)
@given(deliveries(), st.integers(0, 0xFFFF_FFFF))
def test_the_verdict_does_not_depend_on_the_delivery(
    delivery: tuple[bytes, list[tuple[int, bytes]]], first: int
) -> None:
    data, segments = delivery
    whole = say_all(Client(SHARED), [(0, data)])[-1]
    client = Client(SHARED, first=first)
    rulings = say_all(client, segments)
    last = next(
        each for each in rulings if each.reason not in (Reason.FIRST_BYTES_HELD, Reason.TCP_OUTSIDE_WINDOW)
    )
    assert (last.verdict, last.reason, last.entry, last.mark) == (
        whole.verdict,
        whole.reason,
        whole.entry,
        whole.mark,
    )
    tokens = [token for each in rulings for token in (*each.passed, *each.dropped)]
    assert len(tokens) == len(set(tokens)), "each packet gets one answer"
    if whole.verdict is not Verdict.ACCEPT:
        assert not any(each.passed for each in rulings), "not a byte of a refused hello goes out"


def say_all(client: Client, segments: list[tuple[int, bytes]]) -> list[FlowRuling]:
    """The rulings until the connection is decided."""
    flows = gate()
    client.open(flows)
    rulings: list[FlowRuling] = []
    for offset, payload in segments:
        rulings.append(client.say(flows, payload, offset, T0))
        if rulings[-1].mark or rulings[-1].resets:
            break
    return rulings


@settings(deadline=None)
@given(mutated(REQUESTS), CUTS)
def test_no_byte_of_a_refused_request_goes_out(data: bytes, cuts: list[int]) -> None:
    """What passed, read by itself, has no request to another host than the listed ones."""
    flows, client = gate(), Client(SHARED, 80)
    client.open(flows)
    sent, offset = {}, 0
    passed: list[int] = []
    for piece in pieces_of(data, cuts):
        segment = client.segment(offset, piece)
        sent[segment.token] = piece
        offset += len(piece)
        ruling = flows.judge(segment, T0)
        passed += ruling.passed
        if ruling.resets:
            break
    out = b"".join(sent[token] for token in passed)
    read = read_requests([out])
    assert not isinstance(read, str)
    assert {request.host for request in read[0]} <= {"www.listed.test", "crl.listed.test"}
    assert read[1], "nothing that is only begun has gone"
