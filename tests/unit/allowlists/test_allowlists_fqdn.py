from __future__ import annotations

import pytest

from allowlists import fqdn
from allowlists.model import Match, ParseError

LONG_LABEL = "a" * 63
LONG_NAME = ".".join(["a" * 61] * 4) + ".abcde"  # 253


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("wdcp.microsoft.com", "wdcp.microsoft.com"),
        ("WDCP.Microsoft.COM", "wdcp.microsoft.com"),
        ("wdcp.microsoft.com.", "wdcp.microsoft.com"),
        ("_sip._tcp.example.org", "_sip._tcp.example.org"),
        ("a_b.example", "a_b.example"),
        ("a--b.example", "a--b.example"),
        ("printer", "printer"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example.", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),  # the ideographic full stop separates too
        ("_x.bücher.example", "_x.xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"),
        (f"{LONG_LABEL}.example", f"{LONG_LABEL}.example"),
        (LONG_NAME, LONG_NAME),
        (LONG_NAME + ".", LONG_NAME),
    ],
)
def test_normal_form(name: str, normal: str) -> None:
    assert fqdn.normalise(name) == normal
    assert fqdn.is_normal(normal)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty"),
        (".", "it is empty"),
        ("a..b", "empty label"),
        ("a.b..", "empty label"),
        (".a.b", "empty label"),
        ("a b.example", "character"),
        ("a\0.example", "character"),
        ("a\n.example", "character"),
        ("a.example\n", "character"),
        ("a/b", "character"),
        ("user@a.example", "character"),
        ("*.example", "character"),
        ("-a.example", "hyphen"),
        ("a-.example", "hyphen"),
        ("a" * 64 + ".example", "64 characters"),
        ("a." * 126 + "bc", "254 characters"),
        ("a" * 1000, "1000 characters"),
        ("ü" * 1000, "1000 characters"),
        ("10.0.0.1", "number"),
        ("10.0.0.1.", "number"),
        ("a.0x7f", "number"),
        ("127.1", "number"),
        ("\uff11\uff12\uff17.1", "number"),  # full-width digits map to digits
        ("a\u200d.example", "not a host name"),
        ("\u202ea.example", "not a host name"),
        ("☃.example", "not a host name"),
        ("\ud800.example", "not a host name"),
        ("xn--bücher.example", "not a host name"),
    ],
)
def test_what_is_no_name(name: str, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        fqdn.normalise(name)
    assert not fqdn.is_normal(name)


def test_messages_are_short_and_show_no_control_characters() -> None:
    with pytest.raises(ParseError) as caught:
        fqdn.normalise("\x1b[31m" + "é" * 200)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "host", "match"),
    [
        ("A.Example", "a.example", Match.EXACT),
        ("*.A.Example.", "*.a.example", Match.SUBDOMAINS),
        ("*.com", "*.com", Match.SUBDOMAINS),
        ("*.bücher.example", "*.xn--bcher-kva.example", Match.SUBDOMAINS),
        ("*ecs.office.com", "*ecs.office.com", Match.GLOB),
        ("a.*.Example", "a.*.example", Match.GLOB),
        ("us-*-v*.a.example", "us-*-v*.a.example", Match.GLOB),
        ("*.*.example", "*.*.example", Match.GLOB),
    ],
)
def test_pattern_hosts(text: str, host: str, match: Match) -> None:
    assert fqdn.parse_host(text) == (host, match)


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*.",
        "**.example",
        "a.*",
        "a.ex*",
        "*.*",
        "*.a.*",
        "*a*b*c*d*.example",
        "*ü.example",
        "*_ .example",
        "*.1",
    ],
)
def test_pattern_hosts_that_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        fqdn.parse_host(text)


@pytest.mark.parametrize(
    ("host", "match", "apex", "name", "covered"),
    [
        ("a.example", Match.EXACT, False, "a.example", True),
        ("a.example", Match.EXACT, False, "b.a.example", False),
        ("*.a.example", Match.SUBDOMAINS, False, "b.a.example", True),
        ("*.a.example", Match.SUBDOMAINS, False, "c.b.a.example", True),
        ("*.a.example", Match.SUBDOMAINS, False, "a.example", False),
        ("*.a.example", Match.SUBDOMAINS, True, "a.example", True),
        ("*.a.example", Match.SUBDOMAINS, True, "xa.example", False),
        ("*.a.example", Match.SUBDOMAINS, False, "xa.example", False),
        ("*.a.example", Match.SUBDOMAINS, False, "a.example.evil", False),
        ("10.0.0.0/8", Match.NETWORK, False, "10.0.0.0/8", False),
        ("*ecs.example", Match.GLOB, False, "ecs.example", True),
        ("*ecs.example", Match.GLOB, False, "xecs.example", True),
        ("*ecs.example", Match.GLOB, False, "a.ecs.example", False),
        ("a.*.example", Match.GLOB, False, "a.b.example", True),
        ("a.*.example", Match.GLOB, False, "a.b.c.example", True),
        ("a.*.example", Match.GLOB, False, "a.example", False),
        ("*.x*y.example", Match.GLOB, False, "b.xy.example", True),
        ("*.x*y.example", Match.GLOB, False, "b.c.xzzy.example", True),
        ("*.x*y.example", Match.GLOB, False, "xzzy.example", False),
        ("*.x*y.example", Match.GLOB, False, "b.xz.example", False),
        ("x*x.example", Match.GLOB, False, "x.example", False),
        ("x*x.example", Match.GLOB, False, "xx.example", True),
        ("a*b*c*d.example", Match.GLOB, False, "abcd.example", True),
        ("a*b*c*d.example", Match.GLOB, False, "acbd.example", False),
        ("*.a.*.example", Match.GLOB, False, "q.a.a.a.example", True),
        ("*.a.*.example", Match.GLOB, False, "q.b.example", False),
    ],
)
def test_what_a_pattern_covers(host: str, match: Match, apex: bool, name: str, covered: bool) -> None:
    assert fqdn.matches(host, match, name, apex=apex) is covered


def test_a_glob_made_to_be_slow_is_not() -> None:
    # A backtracking matcher would need 2^60 steps for this; ours needs some thousand.
    pattern = "*.a.*.a.*.a.*.b.example"
    assert not fqdn.glob_matches(pattern, ".".join(["a"] * 120) + ".example")
    assert not fqdn.glob_matches("*a*a*a*b.example", "a" * 63 + ".example")


def test_suffixes() -> None:
    assert list(fqdn.suffixes("a.b.c")) == ["b.c", "c"]
    assert list(fqdn.suffixes("a")) == []
