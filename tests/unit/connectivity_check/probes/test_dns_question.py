"""Names, resolver addresses and queries."""

from __future__ import annotations

import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.probes.dns_question import (
    QuestionType,
    make_question,
    parse_name,
    parse_server,
)

LABEL = st.from_regex(r"[a-zA-Z0-9_-]{1,63}", fullmatch=True)


@given(st.lists(LABEL, min_size=1, max_size=3), st.sampled_from(QuestionType), st.booleans())
def test_a_query_is_what_dnspython_reads(labels: list[str], kind: QuestionType, edns: bool) -> None:
    name = ".".join(labels)
    query = dns.message.from_wire(make_question(parse_name(name), kind).render(0xBEEF, edns=edns))
    assert query.id == 0xBEEF
    assert query.question[0].name.to_text() == f"{name}."
    assert query.question[0].rdtype == dns.rdatatype.RdataType(kind)
    assert query.edns == (0 if edns else -1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.example", "a.example"),
        ("a.example.", "a.example"),
        ("_dns.A-1.example", "_dns.A-1.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("日本。example", "xn--wgv71a.example"),
        (".".join(["a" * 49] * 5), ".".join(["a" * 49] * 5)),
    ],
)
def test_names_that_can_be_asked(text: str, name: str) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a" * 64,
        "a." * 127 + "a",
        "a b",
        "a\n",
        "a\0b",
        "a/b",
        "*.example",
        "\ud800.b",
        "ü" * 60,
        "‮.example",
    ],
)
def test_names_that_cannot_be_asked(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        parse_name(text)


@given(st.text(max_size=300))
def test_any_text_is_a_name_that_fits_the_wire_or_a_value_error(text: str) -> None:
    try:
        name = parse_name(text)
    except ValueError:
        return
    section = make_question(name, QuestionType.A).section
    assert len(section) - 4 <= 255
    assert all(len(label) <= 63 for label in name.split("."))


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:DB8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("fe80::1%eth0", ("fe80::1%eth0", 53)),
        (("127.0.0.1", 5), ("127.0.0.1", 5)),
    ],
)
def test_resolvers(text: str | tuple[str, int], server: tuple[str, int]) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns.example",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:70000",
        "192.0.2.1:-1",
        "192.0.2.1:\u0665",
        "[::1",
        "[::1]x",
        "1:2",
        ("192.0.2.1", 0),
    ],
)
def test_what_is_no_resolver(text: str | tuple[str, int]) -> None:
    with pytest.raises(ValueError):
        parse_server(text)


def test_letter_case_does_not_matter_and_the_type_does() -> None:
    question = make_question("A.Example", QuestionType.A)
    assert question.is_repeated_in(make_question("a.eXAMPLE", QuestionType.A).render(1))
    assert not question.is_repeated_in(make_question("a.example", QuestionType.AAAA).render(1))
    assert not question.is_repeated_in(make_question("b.example", QuestionType.A).render(1))
    assert not question.is_repeated_in(b"")
