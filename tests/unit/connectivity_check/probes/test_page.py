"""Pages: what is HTML, what it says, and whose block page it is; whatever the bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.probes.page import block_page_marks, identify, read_page


@pytest.mark.parametrize(
    ("body", "content_type", "html"),
    [
        (b"<!DOCTYPE html><p>x", "text/html", True),
        (b"\n <HTML><body>x", "application/json", True),
        (b"<!-- made by a box -->\n<html>", "", True),
        (b"<html>" + b"\0" * 9, "application/octet-stream", True),
        (b"OK", "text/html", False),
        (b"", "text/html", False),
        (b'{"a": "<html>"}', "application/json", False),
        (b'<?xml version="1.0"?><Error/>', "application/xml", False),
        (b"\x30\x82\x01\x00\x00\xff\xfe" * 9, "text/plain", False),
        (b"MSCF\0\0\0\0", "", False),
        ("<html>ブロック".encode("cp932"), "text/html; charset=Shift_JIS", True),
    ],
)
def test_what_is_html(body: bytes, content_type: str, html: bool) -> None:
    assert read_page(body, content_type).html is html


@pytest.mark.parametrize("charset", ["utf-8", "shift_jis", "euc-jp", "iso-2022-jp"])
def test_titles_in_japanese(charset: str) -> None:
    page = f'<html><head><meta charset="{charset}"><title>\n アクセス  規制 </title></head><body>業務外'
    read = read_page(page.encode(charset), "text/html")
    assert (read.title, read.start) == ("アクセス 規制", "業務外")


def test_what_one_sees_is_without_tags_scripts_and_entities() -> None:
    body = b"<html><title>T</title><script>bad('<b>')</script><style>x</style><p>Access&nbsp;denied &lt;by&gt;\x1b[31m"
    assert read_page(body, "text/html").start == "Access denied <by>[31m"


@pytest.mark.parametrize(
    "charset", ["hex", "zip", "punycode", "idna", "rot13", "x" * 400, "utf-7", "undefined"]
)
def test_odd_charsets_are_read_as_utf8(charset: str) -> None:
    assert read_page(b"<html>abc", f"text/html; charset={charset}").start == "abc"


@pytest.mark.parametrize(
    "body",
    [
        b"<" * 65536,
        b"<title>" * 9000,
        b"<!--" * 16000,
        b"<script" * 9000,
        b"charset=" * 8000,
        b"<html>" + b"&#x" * 20000,
        b"\n" * 65536,
        b"<title " + b"a" * 65000,
    ],
)
def test_hostile_pages_take_no_time(body: bytes) -> None:
    started = time.process_time()
    page = read_page(body, "text/html")
    identify(page, {})
    assert time.process_time() - started < 0.5
    assert len(page.title) <= 300
    assert len(page.start) <= 300


@given(st.binary(max_size=300), st.text(max_size=40))
def test_any_bytes_are_read(body: bytes, content_type: str) -> None:
    page = read_page(body, content_type)
    assert identify(page, {}) is not None
    assert all(char.isprintable() for char in page.title + page.start)


@pytest.mark.parametrize(
    ("vendor", "headers", "body"),
    [
        ("FortiGuard (Fortinet)", {}, "<html><h1>FortiGuard Intrusion Prevention - Access Blocked</h1>"),
        ("Zscaler", {}, "<html><title>Internet Security by Zscaler</title>"),
        ("Palo Alto Networks", {"location": "http://10.0.0.1:6080/php/urlblock.php?args=AAA"}, ""),
        ("Azure Firewall", {}, "Action: Deny. Reason: No rule matched. Proceeding with default action."),
        ("Squid", {"x-squid-error": "ERR_ACCESS_DENIED 0"}, "<html>whatever"),
        ("tinyproxy", {}, "<html><head><title>403 Filtered</title>"),
        ("i-FILTER (Digital Arts)", {}, "<html><title>i-FILTER - ブロック</title>"),
        (
            "",
            {"x-squid-error": "ERR_DNS_FAIL 0"},
            "<html><title>ERROR: The requested URL could not be retrieved",
        ),
        ("", {"server": "squid"}, "OK"),
        ("", {}, "<html><title>Sign in to your account</title>"),
        ("", {}, '{"error": "invalid_request"}'),
    ],
)
def test_vendors(vendor: str, headers: dict[str, str], body: str) -> None:
    assert identify(read_page(body.encode(), "text/html"), headers)[0] == vendor


def test_every_mark_can_be_found() -> None:
    """Each mark in the data, put into a page, names its vendor or one that comes before it."""
    order = [mark.vendor for mark in block_page_marks()]
    assert len(set(order)) == len(order)
    for mark in block_page_marks():
        assert mark.titles or mark.bodies or mark.headers
        pages = [(f"<html><title>{title}</title>", {}) for title in mark.titles]
        pages += [(f"<html><body>{body}", {}) for body in mark.bodies]
        pages += [("", {name: f"x{value}y"}) for name, value in mark.headers]
        for body, headers in pages:
            found = identify(read_page(body.encode(), "text/html"), headers)[0]
            assert found, (mark.vendor, body, headers)
            assert order.index(found) <= order.index(mark.vendor)
