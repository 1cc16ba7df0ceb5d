"""Our own messages, read back by dnspython."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import pytest

from isolator.model.dns import Rcode
from isolator.wire.dns_message import parse_dns
from isolator.wire.dns_render import render_format_error, render_local_answer, render_query
from isolator.wire.parse_error import ParseError
from tests.corpus.dns import hostile
from tests.corpus.dns.sound import answer, query


def test_a_query_is_the_one_dnspython_would_send() -> None:
    assert render_query(7, "wWw.Test", 28) == query("wWw.Test", "AAAA")


def test_a_name_that_is_none_is_no_query() -> None:
    with pytest.raises(ValueError, match="label"):
        render_query(7, "a..b", 1)


@pytest.mark.parametrize("rcode", [Rcode.REFUSED, Rcode.NOERROR])
@pytest.mark.parametrize("edns", [False, True], ids=["plain", "edns"])
def test_a_local_answer(rcode: Rcode, edns: bool) -> None:
    asked = dns.message.from_wire(query("wWw.Test", id_=77, edns=edns))
    given = dns.message.from_wire(render_local_answer(parse_dns(asked.to_wire()), rcode))
    assert asked.is_response(given)
    assert given.rcode() == rcode
    assert given.flags & (dns.flags.QR | dns.flags.RD | dns.flags.RA | dns.flags.AA) == (
        dns.flags.QR | dns.flags.RD | dns.flags.RA
    )
    assert (given.edns >= 0) is edns
    assert given.options == ()
    assert str(given.question[0].name) == "wWw.Test."


def test_the_do_bit_comes_back_and_no_other() -> None:
    opt = hostile.record(b"\0", 41, b"", ttl=0x0000_FFFF, rclass=512)
    message = parse_dns(hostile.header(additional=1) + hostile.QUESTION + opt)
    given = dns.message.from_wire(render_local_answer(message, Rcode.REFUSED))
    assert given.ednsflags == dns.flags.DO


def test_recursion_that_was_not_desired_stays_so() -> None:
    message = parse_dns(hostile.header() + hostile.QUESTION)
    assert not dns.message.from_wire(render_local_answer(message, Rcode.REFUSED)).flags & dns.flags.RD


def test_an_answer_kept_back_becomes_a_refusal_of_its_query() -> None:
    asked = query("www.test", edns=True)
    kept = parse_dns(answer(asked, "www.test. 60 A 127.0.0.1"))
    given = dns.message.from_wire(render_local_answer(kept, Rcode.REFUSED))
    assert dns.message.from_wire(asked).is_response(given)
    assert given.answer == []


class TestFormatError:
    def test_to_a_header_with_rubbish(self) -> None:
        given = dns.message.from_wire(render_format_error(query("www.test", id_=300)[:20]))
        assert (given.id, given.rcode(), given.question) == (300, dns.rcode.FORMERR, [])
        assert given.flags & dns.flags.RD

    @pytest.mark.parametrize(
        "data", [b"", bytes(11), hostile.header(flags=0x8000)], ids=["nothing", "half", "an answer"]
    )
    def test_nobody_is_told(self, data: bytes) -> None:
        with pytest.raises(ParseError):
            render_format_error(data)
