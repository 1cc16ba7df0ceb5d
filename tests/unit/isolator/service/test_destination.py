"""What a person may ask about."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.model.failure import IsolatorError
from isolator.model.flow import Transport
from isolator.service.destination import Asked, parse_destination

TCP, UDP = Transport.TCP, Transport.UDP


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("tcp://Login.Example.:443", Asked(TCP, 443, name="login.example")),
        ("udp://192.0.2.1:123", Asked(UDP, 123, address=ip_address("192.0.2.1"))),
        ("login.example", Asked(TCP, None, name="login.example")),
        ("login.example:8443", Asked(TCP, 8443, name="login.example")),
        ("192.0.2.1", Asked(TCP, None, address=ip_address("192.0.2.1"))),
        ("2001:db8::1", Asked(TCP, None, address=ip_address("2001:db8::1"))),
        ("tcp://[2001:db8::1]:443", Asked(TCP, 443, address=ip_address("2001:db8::1"))),
        (" [2001:db8::1] ", Asked(TCP, None, address=ip_address("2001:db8::1"))),
    ],
)
def test_read(text: str, asked: Asked) -> None:
    assert parse_destination(text) == asked


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no host"),
        ("tcp://", "no host"),
        ("http://a.example", "neither tcp nor udp"),
        ("a.example:0", "port"),
        ("a.example:65536", "port"),
        ("a.example:https", "port"),
        ("a.example:", "port"),
        ("[2001:db8::1", "bracket"),
        ("[2001:db8::1]443", "bracket"),
        ("a..example", "a..example"),
        ("x" * 300, "..."),
    ],
)
def test_refused_with_an_example(text: str, why: str) -> None:
    with pytest.raises(IsolatorError, match=r"for example tcp://host\.example:443") as caught:
        parse_destination(text)
    assert why in caught.value.sentence
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.sentence


def test_a_destination_shows_its_host() -> None:
    assert parse_destination("a.example").host == "a.example"
    assert parse_destination("192.0.2.1").host == "192.0.2.1"
