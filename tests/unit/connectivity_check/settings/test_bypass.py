"""What goes past the proxy: NO_PROXY and Windows' lists."""

from __future__ import annotations

import pytest

from connectivity_check.model import InputError
from connectivity_check.settings.bypass import parse_bypass_list, parse_no_proxy


@pytest.mark.parametrize(
    ("rules", "host", "port", "expected"),
    [
        ("*", "anything.example", 443, True),
        ("example.com", "example.com", 443, True),
        ("example.com", "www.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("example.com", "example.com.evil.net", 443, False),
        (".example.com", "a.example.com", 443, True),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "a.b.example.com", 443, True),
        ("EXAMPLE.com", "www.Example.COM.", 443, True),
        ("example.com:80", "example.com", 443, False),
        ("example.com:443", "example.com", 443, True),
        ("10.0.0.0/8", "10.2.3.4", 443, True),
        ("10.0.0.0/8", "11.2.3.4", 443, False),
        ("10.0.0.0/8", "10.example.com", 443, False),
        ("10.1.2.3/8", "10.9.9.9", 443, True),
        ("192.0.2.1", "192.0.2.1", 443, True),
        ("192.0.2.1:8080", "192.0.2.1", 443, False),
        ("2001:db8::/32", "2001:db8::5", 443, True),
        ("[2001:db8::5]:443", "[2001:db8::5]", 443, True),
        ("[2001:db8::5]:80", "2001:db8::5", 443, False),
        ("::/0", "192.0.2.1", 443, False),
        ("a.example, b.example c.example\tlocalhost", "c.example", 443, True),
        ("", "a.example", 443, False),
        (",, . *.,", "a.example", 443, False),
        ("com", "example.com", 443, True),
    ],
)
def test_no_proxy(rules: str, host: str, port: int, expected: bool) -> None:
    assert parse_no_proxy(rules).matches(host, port) is expected


@pytest.mark.parametrize(
    ("rules", "host", "expected"),
    [
        ("<local>", "intranet", True),
        ("<local>", "a.example", False),
        ("<local>", "::1", False),
        ("*.example.com;<local>", "www.example.com", True),
        ("*.example.com", "example.com", False),
        ("example.com", "www.example.com", False),
        ("10.*", "10.1.1.1", True),
        ("10.*", "10.evil.net", True),
        ("https://*.example.com", "a.example.com", True),
        ("*.example.com:80", "a.example.com", False),
        ("*", "a.example", True),
        ("[a]*", "abc", False),
        ("a?c", "abc", False),
        ("<-loopback>", "localhost", False),
        ("", "a", False),
    ],
)
def test_windows_lists(rules: str, host: str, expected: bool) -> None:
    assert parse_bypass_list(rules, where="x").matches(host, 443) is expected


def test_a_port_that_is_none() -> None:
    with pytest.raises(InputError, match="ProxyOverride: 'a:70000'"):
        parse_bypass_list("a:70000", where="ProxyOverride")
