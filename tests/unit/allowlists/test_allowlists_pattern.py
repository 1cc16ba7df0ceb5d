from __future__ import annotations

from ipaddress import ip_network

import pytest

from allowlists.model import Match, ParseError
from allowlists.pattern import Pattern, parse_pattern


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Crl.Microsoft.com", Pattern("crl.microsoft.com", Match.EXACT)),
        ("  crl.microsoft.com ", Pattern("crl.microsoft.com", Match.EXACT)),
        ("*.wd.microsoft.com", Pattern("*.wd.microsoft.com", Match.SUBDOMAINS)),
        ("www.microsoft.com/pki/*", Pattern("www.microsoft.com", Match.EXACT, path="/pki/*")),
        ("https://a.example/x", Pattern("a.example", Match.EXACT, "https", "/x")),
        ("HTTP://a.example/", Pattern("a.example", Match.EXACT, "http")),
        ("10.1.2.3", Pattern("10.1.2.3/32", Match.NETWORK, network=ip_network("10.1.2.3/32"))),
        ("10.0.0.0/8", Pattern("10.0.0.0/8", Match.NETWORK, network=ip_network("10.0.0.0/8"))),
        ("2001:DB8::/32", Pattern("2001:db8::/32", Match.NETWORK, network=ip_network("2001:db8::/32"))),
        ("2001:db8::1", Pattern("2001:db8::1/128", Match.NETWORK, network=ip_network("2001:db8::1/128"))),
    ],
)
def test_patterns(text: str, pattern: Pattern) -> None:
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*", "opens every name"),
        ("*.", "opens every name"),
        ("https://*", "opens every name"),
        ("0.0.0.0/0", "opens every address"),
        ("::/0", "opens every address"),
        ("ftp://a.example", "scheme"),
        ("a.example:8443", "under `port`"),
        ("https://a.example:8443/x", "under `port`"),
        ("user:secret@a.example", "under `port`"),
        ("a.example/x y", "path"),
        ("a.example/é", "path"),
        ("10.0.0.1/8", "is 10.0.0.0/8 meant"),
        ("10.0.0.256", "no IPv4 or IPv6"),
        ("10.0.0.0/33", "no IPv4 or IPv6"),
        ("010.0.0.1", "no IPv4 or IPv6"),
        ("10.0", "no IPv4 or IPv6"),
        ("10.0.0.1/", "no IPv4 or IPv6"),
        ("2001:db8::1/64", "is 2001:db8::/64 meant"),
        ("2001:db8:::", "no IPv4 or IPv6"),
        ("[2001:db8::1]", "no IPv4 or IPv6"),
        ("fe80::1%eth0", "zone"),
        ("::ffff:10.0.0.1", "IPv4 dress|IPv6 dress"),
        ("::ffff:10.0.0.0/104", "IPv6 dress"),
        ("0x7f.1", "number|no IPv4"),
        ("a.example?x", "character"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(ParseError, match=why):
        parse_pattern(text)
