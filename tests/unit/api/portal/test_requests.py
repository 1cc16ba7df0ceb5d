"""Addresses, forms and origins as browsers and others send them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from api.portal.forgery import from_own_origin, tokens_match
from api.portal.machine_filter import DESIRED, MAX_PAGE, OBSERVED, ORDERS, MachineFilter, parse_filter
from api.portal.visitor import Form, posted, safe_next
from api.problems import Problem

HOST = {"host": "isolator.example:8443"}


@pytest.mark.parametrize(
    ("headers", "public_url", "expected"),
    [
        ({**HOST, "origin": "https://isolator.example:8443"}, "", True),
        ({**HOST, "origin": "https://ISOLATOR.example:8443"}, "", True),
        ({**HOST, "origin": "https://isolator.example"}, "", False),
        ({**HOST, "origin": "https://evil.example"}, "", False),
        ({**HOST, "origin": "https://isolator.example:8443.evil.example"}, "", False),
        ({**HOST, "origin": "https://x@isolator.example:8443"}, "", False),
        ({**HOST, "origin": "null"}, "", False),
        ({**HOST, "origin": ""}, "", False),
        ({**HOST, "origin": "https://["}, "", False),
        ({**HOST, "origin": "ftp://isolator.example:8443"}, "", False),
        ({"host": "inner:80", "origin": "https://portal.example"}, "https://portal.example/", True),
        ({"host": "inner:80", "origin": "http://portal.example"}, "https://portal.example/", False),
        ({**HOST, "sec-fetch-site": "same-origin"}, "", True),
        ({**HOST, "sec-fetch-site": "same-site"}, "", False),
        ({**HOST, "sec-fetch-site": "none"}, "", False),
        (HOST, "", False),
        ({"origin": "https://isolator.example"}, "", False),
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], public_url: str, expected: bool) -> None:
    assert from_own_origin(headers, public_url) is expected


def test_tokens() -> None:
    assert tokens_match("a" * 43, "a" * 43)
    for expected, given_ in (("", ""), ("a", ""), ("a", "b"), ("a", "\udcff")):
        assert not tokens_match(expected, given_)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/portal/machines?q=web&page=2", "/portal/machines?q=web&page=2"),
        ("/portal/", "/portal/"),
        ("", "/portal/"),
        ("/portalx", "/portal/"),
        ("https://evil.example/portal/", "/portal/"),
        ("//evil.example/portal/", "/portal/"),
        ("/portal//evil.example", "/portal//evil.example"),
        ("/portal/\\evil.example", "/portal/"),
        ("/portal/\r\nSet-Cookie: x=y", "/portal/"),
        ("/portal/../api", "/portal/"),
        ("/portal/%2e%2e/%2e%2e//evil.example", "/portal/"),
        ("/portal/" + "a" * 3000, "/portal/"),
    ],
)
def test_where_signing_in_leads(path: str, expected: str) -> None:
    assert safe_next(path) == expected


@given(st.text())
def test_signing_in_never_leads_off_the_portal(path: str) -> None:
    assert safe_next(path).startswith("/portal/")
    assert safe_next("/portal/" + path).startswith("/portal/")


def read(body: bytes, kind: str = "application/x-www-form-urlencoded") -> Form:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    return asyncio.run(posted(Request(scope, receive)))


def test_a_form() -> None:
    form = read(b"name=+a+b+&groups=1&groups=2&empty=&name=%E9%9A%94%E9%9B%A2")
    assert form.text("name") == "隔離"
    assert form.many("groups") == ("1", "2")
    assert form.raw("empty") == form.text("missing") == ""


@pytest.mark.parametrize("text", ["", "-1", "0", "11", "1.0", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 400, "1 2"])
def test_a_number_out_of_bounds_is_named(text: str) -> None:
    with pytest.raises(Problem, match="uses: 1 to 10"):
        Form((("uses", text),)).number("uses", least=1, most=10, label="uses")


@given(st.binary(max_size=300))
def test_any_body_is_a_form_or_a_problem(body: bytes) -> None:
    refused = 400
    form = Form()
    try:
        form = read(body)
    except Problem as problem:
        refused = problem.status
    assert refused == 400
    assert all("\x00" not in name + value for name, value in form.fields)


def test_the_filter_of_a_link() -> None:
    wanted = parse_filter({"q": " web ", "group": "3", "observed": "isolated", "order": "seen", "page": "2"})
    assert wanted == MachineFilter(q="web", group="3", observed="isolated", order="seen", page=2)
    assert parse_filter({key: str(value) for key, value in wanted.values().items()}) == wanted
    assert wanted.narrows
    assert not parse_filter({"order": "seen", "page": "7"}).narrows


@given(
    st.dictionaries(
        st.sampled_from(["q", "group", "desired", "observed", "attention", "order", "page"]), st.text()
    )
)
def test_any_link_gives_a_filter(query: dict[str, str]) -> None:
    wanted = parse_filter(query)
    assert wanted.desired in ("", *DESIRED)
    assert wanted.observed in ("", *OBSERVED)
    assert wanted.order in ORDERS
    assert 1 <= wanted.page <= MAX_PAGE
    assert "\x00" not in wanted.q
    assert wanted.group in ("", "none") or int(wanted.group) >= 0
    assert parse_filter({key: str(value) for key, value in wanted.values().items()}) == wanted
