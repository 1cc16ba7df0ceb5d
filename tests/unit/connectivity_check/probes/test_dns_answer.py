"""Answers: what counts in them, and bytes that are none."""

from __future__ import annotations

import contextlib

import dns.edns
import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.probes.dns_answer import Answer, AnswerError, answers, parse_answer
from connectivity_check.probes.dns_question import QuestionType, make_question

NAME = "a.example"
QUESTION = make_question(NAME, QuestionType.A)


def message(*records: str, options: tuple[dns.edns.Option, ...] = ()) -> dns.message.Message:
    """A response to QUESTION with records as `owner ttl type rdata`."""
    made = dns.message.make_response(dns.message.from_wire(QUESTION.render(1)))
    if options:
        made.use_edns(0, options=list(options))
    for record in records:
        owner, ttl, kind, *rdata = record.split()
        made.answer.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, *rdata))
    return made


def parse(*records: str) -> Answer:
    """What is read of them."""
    return parse_answer(message(*records).to_wire(max_size=65535), QUESTION)


def test_nothing_is_empty() -> None:
    assert parse() == Answer("NOERROR")
    assert parse().empty


def test_the_chain_in_any_order() -> None:
    found = parse("c.example. 9 A 10.0.0.1", "B.example. 5 CNAME C.example.", "a.EXAMPLE. 7 CNAME b.example.")
    assert found == Answer("NOERROR", ("10.0.0.1",), ("b.example", "c.example"), 5)


@pytest.mark.parametrize(
    "records",
    [
        ["x.example. 9 A 10.0.0.1"],
        ["a.example. 9 AAAA 2001:db8::1"],
        ["a.example. 9 TXT hello"],
        ["b.example. 9 CNAME a.example.", "b.example. 9 A 10.0.0.1"],
    ],
)
def test_addresses_of_other_names_do_not_count(records: list[str]) -> None:
    assert parse(*records).empty


def test_a_circle_ends() -> None:
    found = parse("a.example. 9 CNAME b.example.", "b.example. 9 CNAME a.example.")
    assert found.empty
    assert found.cnames == ("b.example", "a.example")
    assert parse("a.example. 9 CNAME a.example.").cnames == ("a.example",)


def test_a_chain_without_end_and_a_flood_are_cut() -> None:
    links = [f"n{i}.example. 9 CNAME n{i + 1}.example." for i in range(40)]
    assert len(parse("a.example. 9 CNAME n0.example.", *links).cnames) == 16
    many = " ".join(f"10.0.{i // 250}.{i % 250}" for i in range(500))
    assert len(parse(f"a.example. 9 A {many}").addresses) == 64


def test_explanations_are_printable_and_short() -> None:
    odd = "\x1b]0;x\x07" + "é" * 400
    found = parse_answer(
        message(options=(dns.edns.EDEOption(17, odd), dns.edns.EDEOption(4))).to_wire(), QUESTION
    )
    assert [code for code, _ in found.ede] == [17, 4]
    assert found.ede[0][1].startswith("?]0;x?é")
    assert len(found.ede[0][1]) == 300
    assert found.ede[1][1] == ""


def test_an_unknown_explanation_keeps_its_number() -> None:
    unknown = dns.edns.GenericOption(15, b"\xc0\x00vendor")
    assert parse_answer(message(options=(unknown,)).to_wire(), QUESTION).ede == ((0xC000, "vendor"),)


def test_bytes_after_the_message_are_ignored() -> None:
    wire = message("a.example. 9 A 10.0.0.1").to_wire() + b"junk"
    assert parse_answer(wire, QUESTION).addresses == ("10.0.0.1",)


def test_truncated_inside_a_record() -> None:
    whole = message("a.example. 9 A 10.0.0.1")
    whole.flags |= dns.flags.TC
    assert parse_answer(whole.to_wire(), QUESTION).addresses == ("10.0.0.1",)
    assert parse_answer(whole.to_wire()[:-20], QUESTION) == Answer("NOERROR", truncated=True)


def test_what_is_an_answer_to_the_question() -> None:
    wire = message().to_wire()
    assert answers(wire, QUESTION)
    assert not answers(QUESTION.render(1), QUESTION), "a query is none"
    assert not answers(wire[:11], QUESTION)
    assert not answers(wire, make_question(NAME, QuestionType.AAAA))
    assert not answers(bytes((*wire[:2], wire[2] | 0x28, *wire[3:])), QUESTION), "an update"
    bare = wire[:2] + b"\x80\x05" + bytes(8)
    assert answers(bare, QUESTION)
    assert parse_answer(bare, QUESTION) == Answer("REFUSED")
    assert not answers(wire[:2] + b"\x80\x03" + bytes(8), QUESTION), "NXDOMAIN of nothing"


@given(st.data())
def test_damaged_answers_are_read_or_refused(data: st.DataObject) -> None:
    option = dns.edns.EDEOption(15, "blocked")
    wire = bytearray(
        message("a.example. 9 CNAME b.example.", "b.example. 9 A 10.0.0.1", options=(option,)).to_wire()
    )
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(12, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(wire[: data.draw(st.integers(12, len(wire)))])
    try:
        found = parse_answer(cut, QUESTION)
    except AnswerError as error:
        texts = [str(error)]
    else:
        texts = [*found.cnames, *(text for _, text in found.ede)]
    assert all(text.isprintable() for text in texts)


@given(st.binary(min_size=12, max_size=200))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    with contextlib.suppress(AnswerError):
        parse_answer(noise, QUESTION)
