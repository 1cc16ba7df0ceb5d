"""Proxy addresses as people write them, and messages that keep the password to themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.model import InputError, ProxyAuth, ProxyScheme, ProxyServer
from connectivity_check.settings.proxy_url import parse_proxy_url, strip_credentials


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy.example:3128", ProxyServer("proxy.example", 3128)),
        ("http://proxy.example:3128/", ProxyServer("proxy.example", 3128)),
        ("proxy.example:3128", ProxyServer("proxy.example", 3128)),
        ("proxy.example", ProxyServer("proxy.example", 1080)),
        ("https://proxy.example", ProxyServer("proxy.example", 443, ProxyScheme.HTTPS)),
        ("SOCKS5H://Proxy.Example.", ProxyServer("proxy.example", 1080, ProxyScheme.SOCKS5H)),
        ("socks5://192.0.2.1:9", ProxyServer("192.0.2.1", 9, ProxyScheme.SOCKS5H)),
        ("http://[2001:DB8::1]:3128", ProxyServer("2001:db8::1", 3128)),
        ("http://[2001:db8::1]", ProxyServer("2001:db8::1", 1080)),
        ("http://bücher.example:80", ProxyServer("xn--bcher-kva.example", 80)),
        ("http://a%40b:p%3A%2F%40@h:1", ProxyServer("h", 1, username="a@b", password="p:/@")),
        ("http://DOM%5Cuser:x@h:1", ProxyServer("h", 1, username="DOM\\user", password="x")),
        ("http://user:p@ss@h:1", ProxyServer("h", 1, username="user", password="p@ss")),
        ("http://user@h:1", ProxyServer("h", 1, username="user")),
        ("  http://h:65535\n", ProxyServer("h", 65535)),
    ],
)
def test_addresses(text: str, expected: ProxyServer) -> None:
    assert parse_proxy_url(text) == expected


def test_auth_is_kept() -> None:
    assert parse_proxy_url("h:1", ProxyAuth.NTLM).auth is ProxyAuth.NTLM


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("http://", "neither a name nor an address"),
        ("http://h:0", "port"),
        ("http://h:65536", "port"),
        ("http://h:+80", "port"),
        ("http://h:\uff18\uff10", "port"),
        ("http://h:80:90", "brackets"),
        ("http://2001:db8::1:80", "brackets"),
        ("http://[::g]:80", "not an IPv6 address"),
        ("http://[::1]x:80", "brackets"),
        ("ftp://h:80", "'ftp' is not a kind of proxy"),
        ("socks4://h:80", "'socks4'"),
        ("http://h:80/path", "no path"),
        ("http://h h:80", "space"),
        ("http://h\r\nX: y:80", "control character"),
        ("http://u%0d%0a:x@h:80", "control character"),
        ("http://u%zz:x@h:80", "write % as %25"),
        ("http://u%ff:x@h:80", "UTF-8"),
        ("http://u:a/b@h:80", "%2F"),
        ("http://u:a#b@h:80", "%23"),
        ("http://-a-:80", "neither a name nor an address"),
        ("http://256.1.1.1:80", "neither a name nor an address"),
        ("http://" + "a" * 300 + ":80", "neither a name nor an address"),
    ],
)
def test_what_is_no_address(text: str, part: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_proxy_url(text, where="HTTPS_PROXY")
    assert part in caught.value.reason
    assert caught.value.reason.startswith("HTTPS_PROXY: ")
    assert "\n" not in caught.value.reason


@given(
    st.text(st.sampled_from("abz:/@?#%[]. 0"), max_size=8),
    st.sampled_from(["http://", "", "https://", "x://", "socks5h://", "://"]),
    st.text(st.sampled_from("abz:/@?#%[]. 0"), max_size=12),
)
def test_no_message_repeats_a_password(before: str, scheme: str, after: str) -> None:
    text = f"{scheme}{before}QXQSECRET{after}"
    said = ""
    try:
        said = str(parse_proxy_url(text))
    except InputError as error:
        said = error.reason
    # What stands for a host or a kind of proxy is told; what stands before an @ or where a password may, is not.
    allowed = ("://" not in text and "@" not in after) or "QXQSECRET" in text.partition("://")[0]
    assert "QXQSECRET" not in said.upper() or allowed or "@" not in after


def test_a_password_where_the_scheme_should_be_is_not_repeated() -> None:
    with pytest.raises(InputError) as caught:
        parse_proxy_url("user:hunter2@http://h:80")
    assert "hunter2" not in caught.value.reason


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h:1/x", "http://h:1/x"),
        ("http://u:p@q@h/", "http://h/"),
        ("u:p@h:1", "h:1"),
        ("http://h/a@b", "http://h/a@b"),
    ],
)
def test_strip_credentials(url: str, shown: str) -> None:
    assert strip_credentials(url) == shown
