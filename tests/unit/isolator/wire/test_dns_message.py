"""DNS messages as dnspython writes them, and as nobody should."""

from __future__ import annotations

from ipaddress import ip_address

import dns.message
import dns.rrset
import pytest

from isolator.model.dns import EdnsOption, Rcode, Record
from isolator.wire.dns_message import addresses_of, parse_dns
from isolator.wire.parse_error import ParseError, Unreadable
from tests.corpus.dns import hostile
from tests.corpus.dns.sound import answer, query


def test_a_query() -> None:
    data = query("WWW.example.TEST", "AAAA", id_=0xBEEF)
    message = parse_dns(data)
    assert (message.id, message.is_response, message.opcode, message.rcode) == (
        0xBEEF,
        False,
        0,
        Rcode.NOERROR,
    )
    (question,) = message.questions
    assert (question.name, question.qtype, question.qclass) == ("www.example.test", 28, 1)
    assert question.raw == data[12:]
    assert (message.size, message.trailing, message.edns) == (len(data), 0, None)


def test_edns() -> None:
    message = parse_dns(query("www.test", edns=True, options=((10, b"8 octets"), (12, b""))))
    assert message.edns is not None
    assert message.additional == 0
    assert (message.edns.udp_size, message.edns.version, message.edns.flags) == (1232, 0, 0)
    assert message.edns.options == (EdnsOption(10, b"8 octets"), EdnsOption(12, b""))


def test_extended_rcode() -> None:
    answered = dns.message.make_response(dns.message.from_wire(query("www.test", edns=True)))
    answered.set_rcode(16)
    assert parse_dns(answered.to_wire()).rcode == 16


def test_an_answer() -> None:
    data = answer(
        query("www.test"),
        "www.test. 300 CNAME cdn.example.",
        "cdn.example. 20 A 20.1.2.3",
        "cdn.example. 20 TXT opaque",
        extra=("ns.example. 5 A 20.9.9.9",),
    )
    message = parse_dns(data)
    assert message.is_response
    assert message.answers == (
        Record("www.test", 5, 1, 300, b"\x03cdn\x07example\0", "cdn.example"),
        Record("cdn.example", 1, 1, 20, bytes((20, 1, 2, 3))),
        Record("cdn.example", 16, 1, 20, b"\x06opaque"),
    )
    assert message.additional == 1


def test_authority_is_counted_and_read() -> None:
    made = dns.message.make_response(dns.message.from_wire(query("no.test")))
    soa = "ns.test. root.test. 1 2 3 4 5"
    made.authority.append(dns.rrset.from_text("test.", 60, "IN", "SOA", soa))
    message = parse_dns(made.to_wire())
    assert (message.authority, message.answers, message.trailing) == (1, (), 0)


@pytest.mark.parametrize(
    ("ttl", "expected"), [(0, 0), (0x7FFF_FFFF, 0x7FFF_FFFF), (0x8000_0000, 0), (0xFFFF_FFFF, 0)]
)
def test_a_ttl_with_the_top_bit_set_is_zero(ttl: int, expected: int) -> None:
    data = (
        hostile.header(answers=1) + hostile.QUESTION + hostile.record(hostile.POINTER, 1, bytes(4), ttl=ttl)
    )
    assert parse_dns(data).answers[0].ttl == expected


def test_opt_flags_are_no_ttl() -> None:
    opt = hostile.record(b"\0", 41, b"", ttl=0xFF01_8001, rclass=512)
    edns = parse_dns(hostile.header(additional=1) + hostile.QUESTION + opt).edns
    assert edns is not None
    assert (edns.extended_rcode, edns.version, edns.flags, edns.udp_size) == (255, 1, 0x8001, 512)


def test_bytes_behind_the_message_are_counted() -> None:
    assert parse_dns(query("www.test") + b"smuggled").trailing == 8


def test_several_questions_are_all_there() -> None:
    data = hostile.header(questions=2) + hostile.QUESTION + b"\xc0\x0c\x00\x1c\x00\x01"
    assert [(q.name, q.qtype) for q in parse_dns(data).questions] == [("www.test", 1), ("www.test", 28)]


@pytest.mark.parametrize(("data", "kind"), hostile.MALFORMED.values(), ids=hostile.MALFORMED)
def test_malformed(data: bytes, kind: Unreadable) -> None:
    with pytest.raises(ParseError) as caught:
        parse_dns(data)
    assert caught.value.kind is kind


def test_no_beginning_of_an_answer_is_a_message() -> None:
    data = answer(query("www.test"), "www.test. 300 CNAME cdn.example.", "cdn.example. 20 A 20.1.2.3")
    assert parse_dns(data).trailing == 0
    for cut in range(len(data)):
        with pytest.raises(ParseError):
            parse_dns(data[:cut])


class TestAddressesOf:
    ASKED = query("www.test", id_=9)
    FOUND = ((ip_address("20.1.2.3"), 20),)

    def test_the_answer(self) -> None:
        given = answer(self.ASKED, "www.test. 300 CNAME cdn.example.", "cdn.example. 20 A 20.1.2.3")
        assert addresses_of(parse_dns(given), parse_dns(self.ASKED)) == self.FOUND

    @pytest.mark.parametrize(
        "asked",
        [
            query("www.test", id_=8),
            query("WWW.test", id_=9),
            query("ww.test", id_=9),
            query("www.test", "AAAA", id_=9),
            hostile.header(questions=0),
        ],
        ids=["id", "case", "name", "type", "no question"],
    )
    def test_another_query(self, asked: bytes) -> None:
        given = answer(self.ASKED, "www.test. 20 A 20.1.2.3")
        assert addresses_of(parse_dns(given), parse_dns(asked)) == ()

    def test_a_query_is_no_answer(self) -> None:
        assert addresses_of(parse_dns(self.ASKED), parse_dns(self.ASKED)) == ()

    def test_nor_is_an_answer_to_an_update(self) -> None:
        given = bytearray(answer(self.ASKED, "www.test. 20 A 20.1.2.3"))
        given[2] |= 0x28
        assert addresses_of(parse_dns(bytes(given)), parse_dns(self.ASKED)) == ()
