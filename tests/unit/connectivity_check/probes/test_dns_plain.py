"""The fast reader against dnspython: it may leave a message alone, but never read another thing out of it."""

from __future__ import annotations

import struct

import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectivity_check.probes import dns_answer
from connectivity_check.probes.dns_answer import Answer, AnswerError, answers, parse_answer
from connectivity_check.probes.dns_plain import Records, RecordSet, read_plain
from connectivity_check.probes.dns_question import Question, QuestionType, make_question

NAME = "a.example"
QUESTION = make_question(NAME, QuestionType.A)
POINTER = b"\xc0\x0c"
ADDRESS = POINTER + struct.pack("!HHIH", 1, 1, 60, 4) + bytes((192, 0, 2, 1))
SOA = POINTER + struct.pack("!HHIH", 6, 1, 60, 24) + POINTER * 2 + bytes(20)
OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


def response(
    *records: bytes, count: int | None = None, authority: int = 0, extra: bytes = b"", flags: int = 0x8180
) -> bytes:
    """A response to QUESTION, put together by hand; `extra` is one record of the additional section."""
    number = len(records) if count is None else count
    head = struct.pack("!HHHHHH", 1, flags, 1, number, authority, 1 if extra else 0)
    return head + QUESTION.section + b"".join(records) + extra


def plainly(message: bytes, question: Question = QUESTION) -> tuple[str, Records] | None:
    """What the fast reader gives."""
    return read_plain(message, len(question.section))


def by_dnspython(message: bytes, question: Question) -> Answer | None:
    """What is read without the fast reader; None when it cannot be read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns_answer, "read_plain", lambda *_: None)
        try:
            return parse_answer(message, question)
        except AnswerError:
            return None


def name_at(*labels: bytes, end: bytes = b"\0") -> bytes:
    """A name on the wire."""
    return b"".join(bytes((len(label),)) + label for label in labels) + end


def test_it_reads_what_resolvers_send_every_day() -> None:
    made = dns.message.make_response(dns.message.from_wire(QUESTION.render(1)))
    made.answer.append(dns.rrset.from_text("A.example.", 300, "IN", "CNAME", "Edge.CDN.example."))
    made.answer.append(dns.rrset.from_text("edge.cdn.example.", 20, "IN", "A", "192.0.2.1"))
    assert plainly(made.to_wire()) == (
        "NOERROR",
        {
            ("a.example", 5): RecordSet(300, ("edge.cdn.example",)),
            ("edge.cdn.example", 1): RecordSet(20, ("192.0.2.1",)),
        },
    )


@pytest.mark.parametrize(("rcode", "word"), [(0, "NOERROR"), (3, "NXDOMAIN")])
@pytest.mark.parametrize("zone", ["example.", "."])
def test_no_address_and_no_such_name(rcode: int, word: str, zone: str) -> None:
    made = dns.message.make_response(dns.message.from_wire(QUESTION.render(1)))
    made.set_rcode(dns.rcode.Rcode(rcode))
    made.authority.append(dns.rrset.from_text(zone, 9, "IN", "SOA", "ns.example. root.ns.example. 1 2 3 4 5"))
    assert plainly(made.to_wire()) == (word, {})
    assert parse_answer(made.to_wire(), QUESTION) == Answer(word)


@pytest.mark.parametrize("extra", [b"", OPT], ids=["without OPT", "with OPT"])
def test_an_address(extra: bytes) -> None:
    assert plainly(response(ADDRESS, extra=extra)) == ("NOERROR", {(NAME, 1): RecordSet(60, ("192.0.2.1",))})


def test_the_smallest_ttl_counts_and_an_address_counts_once() -> None:
    other = POINTER + struct.pack("!HHIH", 1, 1, 7, 4) + bytes((192, 0, 2, 1))
    assert plainly(response(ADDRESS, other)) == ("NOERROR", {(NAME, 1): RecordSet(7, ("192.0.2.1",))})


@pytest.mark.parametrize(
    "message",
    [
        response(ADDRESS, flags=0x8380),
        response(ADDRESS, flags=0x8182),
        response(authority=1),
        response(ADDRESS, count=0, authority=1),
        response(SOA[:-1], count=0, authority=1),
        response(SOA, SOA, count=0, authority=2),
        response(ADDRESS, count=2),
        response(ADDRESS[:-1]),
        response(ADDRESS, extra=OPT[:-1]),
        response(ADDRESS, extra=b"\0" + struct.pack("!HHIH", 41, 1232, 0, 4) + b"\0\x0f\0\0"),
        response(ADDRESS, extra=b"\0" + struct.pack("!HHIH", 41, 1232, 1 << 24, 0)),
        response(POINTER + struct.pack("!HHIH", 16, 1, 60, 2) + b"\x01x"),
        response(POINTER + struct.pack("!HHIH", 1, 3, 60, 4) + bytes(4)),
        response(POINTER + struct.pack("!HHIH", 1, 1, 1 << 31, 4) + bytes(4)),
        response(POINTER + struct.pack("!HHIH", 1, 1, 60, 3) + bytes(3)),
        response(POINTER + struct.pack("!HHIH", 5, 1, 60, 3) + POINTER + b"\0"),
        response(*[POINTER + struct.pack("!HHIH", 5, 1, 60, 2) + POINTER] * 2),
        response(b"\xc0\x1b" + ADDRESS[2:]),
        response(b"\xc0\x00" + ADDRESS[2:]),
        response(b"\x80\x0c" + ADDRESS[2:]),
        response(name_at(b"a b") + ADDRESS[2:]),
        response(name_at(b"a.b") + ADDRESS[2:]),
        response(name_at(*[b"a" * 63] * 5) + ADDRESS[2:]),
    ],
    ids=[
        "truncated", "rcode", "authority missing", "authority no SOA",
        "SOA cut", "two SOAs", "record missing", "record cut", "OPT cut", "OPT with options",
        "extended rcode", "other type", "other class", "negative TTL", "short address", "long CNAME",
        "two CNAMEs", "pointer to itself", "pointer into the header", "unknown label type", "blank in a name",
        "dot in a label", "long name",
    ],
)  # fmt: skip
def test_anything_else_is_left_to_dnspython(message: bytes) -> None:
    assert plainly(message) is None


_labels = st.sampled_from([b"a", b"b", b"A", b"example", b"x-1_", b"\xff", b"a.b", b"a" * 63])
_names_on_the_wire = st.builds(
    lambda labels, end: b"".join(name_at(each, end=b"") for each in labels) + end,
    st.lists(_labels, max_size=3),
    st.sampled_from([b"\0", POINTER, b"\xc0\x0e", b"\xc0\x17", b"\xc0\x1b", b"\xc0\x2a"]),
)
_soa = st.builds(lambda a, b: a + b + bytes(20), _names_on_the_wire, _names_on_the_wire)
_data = _names_on_the_wire | _soa | st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
_records = st.builds(
    lambda owner, kind, group, ttl, data: owner + struct.pack("!HHIH", kind, group, ttl, len(data)) + data,
    _names_on_the_wire,
    st.sampled_from([1, 5, 28, 6, 16, 41]),
    st.sampled_from([1, 1, 1, 3]),
    st.sampled_from([0, 1, 60, 2**31 - 1, 2**31]),
    _data,
)


@given(
    st.lists(_records, max_size=5),
    st.lists(_records | st.just(SOA), max_size=1),
    st.sampled_from([b"", OPT]),
    st.sampled_from(list(QuestionType)),
    st.sampled_from([0, 3]),
)
@example([ADDRESS, ADDRESS], [], OPT, QuestionType.A, 0)
@example([], [SOA], OPT, QuestionType.A, 3)
def test_what_it_reads_is_what_dnspython_reads(
    records: list[bytes], authority: list[bytes], extra: bytes, kind: QuestionType, rcode: int
) -> None:
    question = make_question(NAME, kind)
    counts = (1, len(records), len(authority), 1 if extra else 0)
    head = struct.pack("!HHHHHH", 1, 0x8180 | rcode, *counts)
    message = head + question.section + b"".join(records) + b"".join(authority) + extra
    assert answers(message, question)
    if plainly(message, question) is not None:
        assert parse_answer(message, question) == by_dnspython(message, question)


@given(st.binary(max_size=120))
def test_no_bytes_are_too_odd(tail: bytes) -> None:
    for count in (1, 3, 65535):
        message = struct.pack("!HHHHHH", 1, 0x8180, 1, count, 0, 0) + QUESTION.section + tail
        if plainly(message) is not None:
            assert parse_answer(message, QUESTION) == by_dnspython(message, QUESTION)
