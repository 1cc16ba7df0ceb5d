"""From rows of a list to targets: which hosts stand for a row, and what a user may name as a target."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allowlists.model import Entry, Match, Protocol
from connectivity_check.core.plan import checked_host, needs_http, own_target, target_url, targets
from connectivity_check.model import Expectation, InputError, Kind, Target

ANY = Expectation()


def expect(host: str, port: int, path: str | None) -> Expectation:
    """Give an expectation that tells what was asked for."""
    return Expectation(path=f"/{host}/{port}/{path}")


def entry(pattern: str = "a.example", host: str = "", **more: Any) -> Entry:
    """Give a row of a list."""
    return Entry(7, pattern, host or pattern, **more)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(entry(), [("a.example", 443)], id="a name is its own target"),
        pytest.param(
            entry(port=80, extra_ports=(443, 8443)),
            [("a.example", 80), ("a.example", 443), ("a.example", 8443)],
            id="every port",
        ),
        pytest.param(
            entry("*.a.example", match=Match.SUBDOMAINS, known_hosts=("x.a.example", "y.a.example")),
            [("x.a.example", 443), ("y.a.example", 443)],
            id="known hosts stand for a wildcard",
        ),
        pytest.param(
            entry("*.a.example", match=Match.SUBDOMAINS), [(None, 443)], id="nothing stands for a wildcard"
        ),
        pytest.param(
            entry("a*.example", match=Match.GLOB, known_hosts=("a1.example",)),
            [("a1.example", 443)],
            id="a glob",
        ),
        pytest.param(
            entry("10.0.0.0/8", match=Match.NETWORK, network=ipaddress.IPv4Network("10.0.0.0/8")),
            [(None, 443)],
            id="a network",
        ),
        pytest.param(entry(protocol=Protocol.UDP), [(None, 443)], id="UDP proves nothing"),
    ],
)
def test_the_hosts_of_a_row(row: Entry, expected: list[tuple[str | None, int]]) -> None:
    found = targets([row], expect)
    assert [(each.host, each.port) for each in found] == expected
    assert {(each.n, each.pattern) for each in found} == {(7, row.pattern)}


def test_rows_keep_the_order_of_the_list() -> None:
    rows = [entry("b.example"), entry("*.c.example", match=Match.SUBDOMAINS), entry("a.example")]
    assert [each.pattern for each in targets(rows, expect)] == ["b.example", "*.c.example", "a.example"]
    assert targets([], expect) == ()


def test_what_a_target_takes_from_its_row() -> None:
    row = entry(
        "*.a.example/api/*",
        "*.a.example",
        match=Match.SUBDOMAINS,
        known_hosts=("x.a.example",),
        path="/api/*",
        service="antivirus",
        category="cloud",
        geography="eu",
        list_id="mde",
    )
    assert targets([row], expect) == (
        Target(
            7, "*.a.example/api/*", "x.a.example", wildcard="a.example", service="antivirus", category="cloud",
            geography="eu", list_id="mde", path_rule=True, expectation=expect("x.a.example", 443, "/api/*"),
        ),
    )  # fmt: skip


def test_without_a_host_the_pattern_is_what_something_is_expected_of() -> None:
    (found,) = targets([entry("*.a.example", match=Match.SUBDOMAINS)], expect)
    assert found.expectation.path == "/*.a.example/443/None"


@pytest.mark.parametrize(("required", "expected"), [(True, True), (False, False), (None, True)])
def test_a_row_of_which_no_source_says_that_it_is_optional_is_required(
    required: bool | None, expected: bool
) -> None:
    (found,) = targets([entry(required=required)], expect)
    assert found.required is expected


def test_a_glob_is_no_wildcard_of_a_suffix() -> None:
    (found,) = targets([entry("a*.example", match=Match.GLOB)], expect)
    assert found.wildcard == ""


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("a.example", "a.example", 443),
        (" A.Example. ", "a.example", 443),
        ("a.example:8443", "a.example", 8443),
        ("a.example:65535", "a.example", 65535),
        ("a.example:00080", "a.example", 80),
        ("_srv.a-b.example", "_srv.a-b.example", 443),
        ("192.0.2.7:80", "192.0.2.7", 80),
        ("2001:DB8::7", "2001:db8::7", 443),
        ("[2001:db8::7]", "2001:db8::7", 443),
        ("[2001:db8::7]:80", "2001:db8::7", 80),
        ("bücher.example:80", "xn--bcher-kva.example", 80),
        ("BÜCHER.example", "xn--bcher-kva.example", 443),
        ("localhost", "localhost", 443),
        (f"{'a' * 63}.example", f"{'a' * 63}.example", 443),
    ],
)
def test_a_target_of_ones_own(text: str, host: str, port: int) -> None:
    found = own_target(text, expect, 3)
    assert (found.n, found.host, found.port) == (3, host, port)
    assert (found.pattern, found.list_id) == (text.strip(), "--target")
    assert found.expectation == expect(host, port, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1 to 63 characters"),
        (".", "1 to 63 characters"),
        ("a..example", "1 to 63 characters"),
        (".a.example", "1 to 63 characters"),
        (f"{'a' * 64}.example", "1 to 63 characters"),
        (".".join(["a" * 60] * 5), "at most 253"),
        ("a.example:", "from 1 to 65535"),
        ("a.example:0", "from 1 to 65535"),
        ("a.example:65536", "from 1 to 65535"),
        ("a.example:" + "9" * 5000, "from 1 to 65535"),
        ("a.example:-1", "from 1 to 65535"),
        ("a.example:https", "from 1 to 65535"),
        ("a.example:४४३", "from 1 to 65535"),
        ("[2001:db8::7]:", "from 1 to 65535"),
        ("[2001:db8::7", "bracket"),
        ("[2001:db8::7]80", "bracket"),
        ("https://a.example", "from 1 to 65535"),
        ("https://a.example:443/", "letters, digits, hyphens"),
        ("a.example/path", "letters, digits, hyphens"),
        ("user@a.example", "letters, digits, hyphens"),
        ("a b.example", "letters, digits, hyphens"),
        ("a.example\nb", "letters, digits, hyphens"),
        ("*.a.example", "letters, digits, hyphens"),
        ("192.0.2", "letters, digits, hyphens"),
        ("192.0.2.256", "letters, digits, hyphens"),
        ("3221225991", "letters, digits, hyphens"),
        ("2001:db8:::7", "letters, digits, hyphens"),
        ("bücher..example", "is no host name"),
        ("a\u2603.\u200b", "is no host name"),
    ],
)
def test_what_is_no_target(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        own_target(text, expect, 1)
    assert caught.value.reason.isascii(), "a terminal may not show it, and a control character may act on it"
    assert "\n" not in caught.value.reason


@given(st.text(max_size=40))
def test_a_target_is_a_host_or_an_input_error(text: str) -> None:
    try:
        found = own_target(text, expect, 1)
    except InputError:
        return
    assert found.host
    assert found.host.isascii()
    assert 0 < found.port < 65536
    assert checked_host(found.host, text) == found.host, "a host stays as it is"


@pytest.mark.parametrize(
    ("target", "host", "url"),
    [
        (Target(1, "x", "a.example", expectation=ANY), None, "https://a.example/"),
        (Target(1, "x", "a.example", 8443, expectation=Expectation(path="/p?q")), None, "https://a.example:8443/p?q"),
        (Target(1, "x", "a.example", 80, expectation=ANY), None, "https://a.example:80/"),
        (Target(1, "x", "a.example", 80, expectation=Expectation(Kind.CRL)), None, "http://a.example/"),
        (Target(1, "x", "a.example", 443, expectation=Expectation(Kind.PLAIN)), None, "http://a.example:443/"),
        (Target(1, "x", "2001:db8::7", expectation=ANY), None, "https://[2001:db8::7]/"),
        (Target(1, "x", "2001:db8::7", 1, expectation=ANY), None, "https://[2001:db8::7]:1/"),
        (Target(1, "x", None, expectation=ANY), None, "https:///"),
        (Target(1, "x", "a.example", expectation=ANY), "b.example", "https://b.example/"),
    ],
)  # fmt: skip
def test_the_url_of_a_target(target: Target, host: str | None, url: str) -> None:
    assert target_url(target, host) == url


@pytest.mark.parametrize("kind", list(Kind))
def test_only_an_opaque_port_gets_no_request(kind: Kind) -> None:
    target = Target(1, "x", "a.example", expectation=Expectation(kind))
    assert needs_http(target) is (kind is not Kind.OPAQUE)
