"""Any bytes at all: a message, or ParseError, within a bounded work; dnspython reads the same."""

from __future__ import annotations

from contextlib import suppress

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
from hypothesis import example, given
from hypothesis import strategies as st

from isolator.model.dns import DnsMessage, addresses_in
from isolator.wire.dns_message import parse_dns
from isolator.wire.dns_name import NameReader, render_name
from isolator.wire.dns_render import render_format_error, render_local_answer, render_query
from isolator.wire.parse_error import ParseError
from tests.corpus.dns import hostile
from tests.corpus.dns.sound import answer, query

SOUND = (
    query("www.listed.test"),
    query("a.b.c.wild.test", "AAAA", edns=True, options=((10, b"12345678"),)),
    answer(
        query("a.b.c.wild.test"),
        "a.b.c.wild.test. 60 CNAME x.wild.test.",
        "x.wild.test. 60 A 20.1.2.3",
        "x.wild.test. 60 A 20.1.2.4",
        extra=("ns.wild.test. 60 A 20.1.2.5",),
    ),
    answer(query("www.listed.test", "AAAA", edns=True), "www.listed.test. 60 AAAA 2603:1000::1"),
)
LABELS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=1, max_size=8).map(".".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A sound message with some bytes changed, cut, doubled or swapped with another's."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1:
                data[at : at + 2] = (0xC000 | draw(st.integers(0, 0x3FFF))).to_bytes(2, "big")
            case 2:
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case 3:
                data[at : at + 2] = draw(st.integers(0, 0xFFFF)).to_bytes(2, "big")
            case _:
                del data[at + 1 :]
    return bytes(data)


@given(st.one_of(st.binary(max_size=300), mutated()))
@example(hostile.pointer_chain(40))
def test_nothing_but_parse_error(data: bytes) -> None:
    with suppress(ParseError):
        render_format_error(data)
    try:
        message = parse_dns(data)
    except ParseError:
        return
    addresses_in(message)
    assert message.size == len(data)
    assert 0 <= message.trailing <= len(data) - 12


@given(mutated())
def test_dnspython_reads_the_same(data: bytes) -> None:
    try:
        theirs = dns.message.from_wire(data, ignore_trailing=True, one_rr_per_rrset=True)
    except Exception:  # noqa: BLE001  # dnspython refuses with many types; what it refuses is not compared
        return
    try:
        ours = parse_dns(data)
    except ParseError:
        return
    assert (ours.id, ours.flags) == (theirs.id, int(theirs.flags))
    assert [(q.name, q.qtype) for q in ours.questions] == [
        (_text(q.name), int(q.rdtype)) for q in theirs.question
    ]
    got = {(r.owner, r.rtype, r.rdata) for r in ours.answers if r.rtype in (1, 28)}
    for rrset in theirs.answer:
        if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA) and rrset.rdclass == 1:
            for rdata in rrset:
                assert (_text(rrset.name), int(rrset.rdtype), rdata.to_wire()) in got


def _text(name: dns.name.Name) -> str:
    """Dnspython's name through our own writing, so that only the reading is compared."""
    return NameReader(name.to_wire()).read(0)[0]


@given(st.integers(0, 0xFFFF), NAMES, st.sampled_from([1, 5, 28]))
def test_our_queries_are_read_back_by_both(id_: int, name: str, qtype: int) -> None:
    data = render_query(id_, name, qtype)
    theirs = dns.message.from_wire(data)
    assert (theirs.id, theirs.question[0].rdtype) == (id_, qtype)
    assert theirs.question[0].name == dns.name.from_text(name)
    ours = parse_dns(data)
    assert ours.questions[0].name == name.lower()
    assert ours.questions[0].raw == data[12:]
    refused = dns.message.from_wire(render_local_answer(ours, 5))  # type: ignore[arg-type]
    assert theirs.is_response(refused)


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=8),
    st.lists(st.binary(min_size=1, max_size=20), max_size=8),
)
def test_two_names_have_one_text_exactly_when_they_are_one_name(one: list[bytes], other: list[bytes]) -> None:
    first, second = dns.name.Name([*one, b""]), dns.name.Name([*other, b""])
    assert (_text(first) == _text(second)) is (first == second)


@given(NAMES)
def test_names_are_written_as_dnspython_does(name: str) -> None:
    assert render_name(name) == dns.name.from_text(name).to_wire()


@st.composite
def knots(draw: st.DrawFn) -> bytes:
    """Names that consist of labels and pointers in every order, many of them."""
    size = draw(st.integers(50, 400))
    data = bytearray(12)
    while len(data) < size:
        match draw(st.integers(0, 3)):
            case 0:
                data += b"\0"
            case 1:
                data += b"\x01a"
            case _:
                data += (0xC000 | draw(st.integers(12, max(12, len(data) - 1)))).to_bytes(2, "big")
    return bytes(data)


class CountingBytes(bytes):
    """Counts how often one octet is looked at."""

    looked = 0

    def __getitem__(self, key: object) -> object:  # type: ignore[override]
        type(self).looked += 1
        return super().__getitem__(key)  # type: ignore[index]


@given(knots())
@example(hostile.pointer_chain(2_000))
@example(hostile.pointer_fan(1_200, 1_000))
def test_reading_names_everywhere_costs_linear_work(data: bytes) -> None:
    CountingBytes.looked = 0
    names = NameReader(CountingBytes(data))
    for at in range(12, len(data)):
        with suppress(ParseError):
            names.read(at)
    # Two look-ups for each step that is paid for, and the first ones of each call.
    assert CountingBytes.looked <= 3 * (128 + len(data)) + 3 * len(data)


@given(mutated())
def test_equal_bytes_give_equal_values(data: bytes) -> None:
    def read() -> DnsMessage | str:
        try:
            return parse_dns(data)
        except ParseError as error:
            return error.kind.value

    assert read() == read()
