"""Rules for single values of `agent.yaml`; whole files are in adapters/test_agent_config.py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allowlists.model import ParseError
from isolator.model import config
from isolator.model.flow import Transport
from isolator.model.policy import Direction, Exclusion, LearnLimits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", (ip_network("192.0.2.1/32"), None)),
        ("2001:db8::/32", (ip_network("2001:db8::/32"), None)),
        ("Files.Example.", (None, "files.example")),
        ("*.corp.example", (None, "*.corp.example")),
        ("a*.corp.example", (None, "a*.corp.example")),
        ("localhost", (None, "localhost")),
    ],
)
def test_remote(text: str, expected: tuple[object, object]) -> None:
    assert config.parse_remote(text) == expected


@pytest.mark.parametrize(
    ("rule", "value", "reason"),
    [
        (config.parse_remote, "*.example", "too broad"),
        (config.parse_remote, "http://a.example", "scheme or path"),
        (config.parse_geo, "EUR", "no geography"),
        (config.parse_geo, "ß", "no geography"),
        (config.parse_name, "", "is no name"),
        (config.parse_name, "a" * 65, "is no name"),
        (config.parse_name, "a\n", "is no name"),
        (config.parse_address, "1", "is no IPv4 or IPv6 address"),
        (config.parse_address, "fe80::1%1", "zone"),
        (config.parse_address, "::", "not the address of one host"),
        (config.parse_resolver, "127.0.0.1", "stub"),
        (config.parse_port, None, "missing"),
        (config.parse_port, 0, "is no port"),
        (config.parse_port, 65_536, "is no port"),
        (config.parse_command, 'a "b', "quote"),
        (config.parse_command, "a && b", "no shell"),
        (config.parse_command, (), "empty"),
        (config.parse_command, "./a", "absolute"),
        (config.parse_contact, "x" * 201, "at most"),
        (config.parse_url, "https://[::1", "is no URL"),
        (config.parse_url, "ftp://a.example", "https"),
        (config.parse_url, "https://a.example:0", "https"),
        (config.parse_url, "https://a.example#x", "must not carry"),
        (config.parse_uid, 2**32 - 1, "no user id"),
    ],
)
def test_refused(rule: Callable[[object], object], value: object, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        rule(value)


def test_accepted() -> None:
    assert config.parse_geo("uk") == "UK"
    assert config.parse_name("a") == "a"
    assert config.parse_resolver("192.0.2.53") == ip_address("192.0.2.53")
    assert (config.parse_port(1), config.parse_port(65_535)) == (1, 65_535)
    assert config.parse_uid(0) == 0
    assert config.parse_contact(" SOC ") == "SOC"
    assert config.parse_url("https://c.example:8443/x") == "https://c.example:8443/x"
    assert config.parse_command(("/bin/a", ";")) == ("/bin/a", ";")


def test_learn_limits() -> None:
    assert config.parse_learn(None, None, ()) == LearnLimits()
    assert config.parse_learn(60, 60, ()) == LearnLimits(60.0, 60.0)
    for floor, ceiling in (
        (0, None),
        (None, 0),
        (1, config.MAX_LIFETIME_S + 1),
        (config.MAX_LIFETIME_S + 1, None),
    ):
        with pytest.raises(ParseError, match="must be 1 to"):
            config.parse_learn(floor, ceiling, ())
    with pytest.raises(ParseError, match="above the ceiling"):
        config.parse_learn(61, 60, ())


def test_an_incoming_exclusion_has_a_network_and_no_user() -> None:
    network = ip_network("192.0.2.0/24")
    for good in (
        Exclusion("x", Direction.IN, Transport.TCP, remote=network),
        Exclusion("x", Direction.OUT, Transport.TCP, pattern="a.example", uid=5),
    ):
        assert config.check_exclusion(good) is good
    with pytest.raises(ParseError, match="shows no name"):
        config.check_exclusion(Exclusion("x", Direction.IN, Transport.TCP, pattern="a.example"))
    with pytest.raises(ParseError, match="outgoing"):
        config.check_exclusion(Exclusion("x", Direction.IN, Transport.TCP, remote=network, uid=0))


@given(
    st.sampled_from(
        [
            config.parse_remote,
            config.parse_geo,
            config.parse_name,
            config.parse_address,
            config.parse_resolver,
            config.parse_command,
            config.parse_contact,
            config.parse_url,
        ]
    ),
    st.text(),
)
def test_text_gives_a_value_or_a_parse_error(rule: Callable[[str], object], text: str) -> None:
    with suppress(ParseError):
        rule(text)
