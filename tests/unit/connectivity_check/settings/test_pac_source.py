"""Bytes that are a PAC file, and bytes that only came in its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.model import InputError
from connectivity_check.settings.pac_source import (
    MAX_BYTES,
    Body,
    NoPacError,
    check_pac_url,
    decode_pac,
    read_pac_file,
)

PAC = "// Grüße\nfunction FindProxyForURL(url, host) { return 'DIRECT'; }"


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (PAC.encode("utf-8"), ""),
        (PAC.encode("utf-8-sig"), "application/x-ns-proxy-autoconfig"),
        (PAC.encode("utf-16"), ""),
        (b"\xfe\xff" + PAC.encode("utf-16-be"), "text/plain; charset=latin-1"),
        (PAC.encode("latin-1"), ""),
        (PAC.encode("cp1252"), 'text/javascript; charset="windows-1252"'),
        (PAC.encode("utf-8"), "text/plain; charset=no-such-thing"),
    ],
)
def test_encodings(data: bytes, content_type: str) -> None:
    assert decode_pac(Body(data, content_type)) == PAC


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (Body(b""), "empty"),
        (Body(b"\n  \t"), "empty"),
        (Body(b"<!DOCTYPE html><title>Sign in</title>FindProxyForURL"), "web page"),
        (Body(b"\xef\xbb\xbf <html>FindProxyForURL"), "web page"),
        (Body(PAC.encode(), "text/html; charset=utf-8"), "web page"),
        (Body(b'{"error": 1}'), "no function FindProxyForURL"),
        (Body(b"function MyFindProxyForURLs() {}"), "no function FindProxyForURL"),
        (Body(b"\0FindProxyForURL\0"), "no function FindProxyForURL"),
        (Body(b"//" + b"x" * MAX_BYTES), "1 MiB"),
    ],
)
def test_what_is_no_pac_file(body: Body, reason: str) -> None:
    with pytest.raises(NoPacError) as caught:
        decode_pac(body)
    assert reason in caught.value.reason


@given(st.binary(max_size=100), st.text(max_size=30))
def test_any_bytes(data: bytes, content_type: str) -> None:
    try:
        text = decode_pac(Body(data, content_type))
    except NoPacError as error:
        text = error.reason
    assert text


@pytest.mark.parametrize(
    "url", ["http://h/p.pac", "https://h:8443/p.pac?x=1", "HTTP://H/", "http://[2001:db8::1]/p"]
)
def test_urls(url: str) -> None:
    assert check_pac_url(url + "#fragment").lower() == url.lower()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://h/p.pac", "http:// or https://"),
        ("http:///p.pac", "with a host"),
        ("http://h:99999/", "not one"),
        ("http://h:0/", "with a host"),
        ("http://[::1/", "not one"),
        ("http://h/p\r\nX: y", "with a host"),
        ("http://user:hunter2@h/p.pac", "cannot hold credentials"),
    ],
)
def test_urls_that_are_none(url: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        check_pac_url(url)
    assert reason in caught.value.reason
    assert "hunter2" not in caught.value.reason


def test_files(tmp_path: Path) -> None:
    (tmp_path / "p.pac").write_text(PAC, encoding="utf-8")
    (tmp_path / "page.pac").write_text("<html>", encoding="utf-8")
    assert read_pac_file(tmp_path / "p.pac") == PAC
    for name, reason in (("none.pac", "cannot be read"), ("page.pac", "web page"), (".", "cannot be read")):
        with pytest.raises(InputError) as caught:
            read_pac_file(tmp_path / name)
        assert reason in caught.value.reason
        assert str(tmp_path) in caught.value.reason
