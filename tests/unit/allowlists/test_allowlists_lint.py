from __future__ import annotations

import socket
import sys
from datetime import date
from pathlib import Path

import pytest

from allowlists import files
from allowlists.lint import lint
from allowlists.model import Finding, Severity
from allowlists.parse import parse_list

TODAY = date(2025, 1, 15)
HEAD = "header: {list_id: t, as_of: 2024-12, sources: {A: {what: a page}}}\nentries:\n"


def findings(*rows: str, head: str = HEAD, rest: str = "") -> list[Finding]:
    text = head + "".join(f"- {{{row}}}\n" for row in rows) + rest
    return list(lint(parse_list(text, "t.yaml"), today=TODAY))


def codes(*rows: str, **more: str) -> list[tuple[str, str, int | None]]:
    return [(finding.code, str(finding.severity), finding.n) for finding in findings(*rows, **more)]


def test_nothing_to_say_about_a_good_list() -> None:
    assert codes("pattern: a.example.com, source: A", "pattern: 192.0.2.0/24") == []


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("*.com", "public_suffix"),
        ("*.co.uk", "public_suffix"),
        ("*.blob.core.windows.net", "shared_hosting"),
        ("*.azurewebsites.net", "shared_hosting"),
        ("*.cloudfront.net", "shared_hosting"),
        ("*.core.windows.net", "shared_hosting"),
        ("*.windows.net", "shared_hosting"),
        ("*.amazonaws.com", "shared_hosting"),
        ("*.github.io", "shared_hosting"),
        ("*.ods.opinsights.azure.com", "shared_hosting"),
        ("*.opinsights.azure.com", "shared_hosting"),
        ("*.sharepoint.com", "shared_hosting"),
        ("*microsoft.com", "public_suffix"),
        ("a.*.com", "public_suffix"),
        ("a*.co.uk", "public_suffix"),
    ],
)
def test_rows_that_open_too_much(pattern: str, code: str) -> None:
    found = codes(f"pattern: '{pattern}'")
    assert (code, "error", 1) in found
    shut = codes(f"pattern: '{pattern}', isolation: false")
    assert (code, "warning", 1) in shut


@pytest.mark.parametrize(
    "pattern",
    ["*.microsoft.com", "*.x.blob.core.windows.net", "*x.microsoft.com", "a.*.microsoft.com", "com"],
)
def test_rows_that_do_not(pattern: str) -> None:
    found = {code for code, _, _ in codes(f"pattern: '{pattern}'")}
    assert not found & {"public_suffix", "shared_hosting"}


@pytest.mark.parametrize(
    ("network", "found"),
    [
        ("128.0.0.0/1", [("network_too_wide", "error", 1)]),
        ("10.0.0.0/8", [("network_too_wide", "warning", 1)]),
        ("10.0.0.0/16", []),
        ("2000::/3", [("network_too_wide", "error", 1)]),
        ("2001:d00::/24", [("network_too_wide", "warning", 1)]),
        ("2001:db8::/32", []),
        ("127.0.0.0/24", [("special_address", "warning", 1)]),
        ("169.254.169.254", [("special_address", "warning", 1)]),
        ("fe80::/64", [("special_address", "warning", 1)]),
        ("224.0.0.0/24", [("special_address", "warning", 1)]),
    ],
)
def test_networks(network: str, found: list[tuple[str, str, int]]) -> None:
    assert codes(f"pattern: '{network}'") == found


def test_a_whole_inner_domain() -> None:
    assert ("public_suffix", "warning", 1) in codes("pattern: '*.corp-internal'")


def test_published_prefixes_are_looked_at_too() -> None:
    rest = "networks: [{prefixes: [10.0.0.0/9, 192.0.2.0/24]}]\n"
    assert codes("pattern: a.example.com", rest=rest) == [("network_too_wide", "warning", None)]


def test_duplicates() -> None:
    assert codes("pattern: a.example.com", "pattern: A.example.com") == [("duplicate_row", "warning", 2)]
    assert codes("pattern: a.example.com", "pattern: a.example.com, duplicate_of: 1") == []
    assert codes("pattern: a.example.com", "pattern: a.example.com, port: 8443") == []


WILD = "pattern: '*.example.com', known_hosts: [x.example.com]"


@pytest.mark.parametrize(
    ("broad", "narrow"),
    [
        (WILD, "pattern: a.example.com"),
        (WILD, "pattern: '*.a.example.com', known_hosts: [x.a.example.com]"),
        (WILD + ", apex: true", "pattern: example.com"),
        (WILD + ", extra_ports: [8443]", "pattern: a.example.com, port: 8443"),
        (WILD + ", os: [linux, macos]", "pattern: a.example.com, os: [linux]"),
        (WILD, "pattern: a.example.com, geography: US, isolation: false"),
        ("pattern: 198.51.100.0/24", "pattern: 198.51.100.7"),
        ("pattern: '2001:db8::/32'", "pattern: '2001:db8:1::/48'"),
    ],
)
def test_shadowed_rows(broad: str, narrow: str) -> None:
    assert codes(broad, narrow) == [("shadowed_row", "note", 2)]
    assert codes(narrow, broad) == [("shadowed_row", "note", 1)]


@pytest.mark.parametrize(
    ("broad", "narrow"),
    [
        (WILD, "pattern: example.com"),
        (WILD, "pattern: a.example.com, port: 8443"),
        (WILD, "pattern: a.example.com, protocol: udp"),
        (WILD + ", geography: US", "pattern: a.example.com"),
        (WILD + ", os: [linux]", "pattern: a.example.com"),
        (WILD + ", os: [linux]", "pattern: a.example.com, os: [linux, macos]"),
        (WILD + ", isolation: false", "pattern: a.example.com"),
        ("pattern: 198.51.100.0/25", "pattern: 198.51.100.200"),
        ("pattern: b.example.com", "pattern: '*.b.example.com', known_hosts: [x.b.example.com]"),
    ],
)
def test_rows_that_are_not_shadowed(broad: str, narrow: str) -> None:
    assert codes(broad, narrow) == []


def test_a_row_with_a_path_shadows_nothing() -> None:
    found = codes("pattern: '*.example.com/x', known_hosts: [x.example.com]", "pattern: a.example.com")
    assert found == [("path_not_enforced", "warning", 1)]


def test_paths_and_plain_http() -> None:
    assert codes("pattern: www.example.com/x") == [("path_not_enforced", "warning", 1)]
    assert codes("pattern: http://www.example.com/x") == [("plain_http", "note", 1)]
    assert codes("pattern: http://www.example.com/x, extra_ports: [443]") == [
        ("path_not_enforced", "warning", 1),
        ("plain_http", "note", 1),
    ]
    assert codes("pattern: www.example.com, extra_ports: [80]") == [("plain_http", "note", 1)]


def test_wildcards_without_a_known_host() -> None:
    assert codes("pattern: '*.example.com'") == [("no_known_host", "note", 1)]
    assert codes("pattern: '*x.example.com'") == [("no_known_host", "note", 1)]


def test_sources_that_the_header_does_not_have() -> None:
    assert codes("pattern: a.example.com, source: [A, B]") == [("unknown_source", "warning", 1)]
    assert (
        codes("pattern: a.example.com, source: [B]", head="header: {list_id: t, as_of: 2024-12}\nentries:\n")
        == []
    )


@pytest.mark.parametrize(
    ("as_of", "found"),
    [
        ("as_of: 2024-01", []),
        ("as_of: 2023-12", [("stale", "warning", None)]),
        ("as_of: 2023-12-31", [("stale", "warning", None)]),
        ("as_of: 2026-01", []),
        ("name: x", [("undated", "note", None)]),
    ],
)
def test_age(as_of: str, found: list[tuple[str, str, None]]) -> None:
    assert codes("pattern: a.example.com", head=f"header: {{list_id: t, {as_of}}}\nentries:\n") == found


def test_nothing_is_fetched_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("lint went to the network")

    for variable in ("HOME", "XDG_CACHE_HOME", "TLDEXTRACT_CACHE", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    module = sys.modules["allowlists.lint"]
    module._suffix_list.cache_clear()
    module._shared.cache_clear()
    assert ("shared_hosting", "error", 1) in codes("pattern: '*.windows.net'")
    assert list(tmp_path.iterdir()) == []


def test_findings_name_row_line_and_reason() -> None:
    (finding,) = findings("pattern: a.example.com", "pattern: a.example.com")
    assert (finding.n, finding.line) == (2, 4)
    assert finding.sentence == "Row 2 opens the same destination as row 1; mark it with duplicate_of."


@pytest.mark.parametrize("name", files.available())
def test_shipped_lists_have_no_errors(name: str) -> None:
    found = lint(files.load(name), today=date(2026, 9, 30), months=24)
    assert {finding.severity for finding in found} <= {Severity.NOTE, Severity.WARNING}
    assert {finding.code for finding in found} <= {
        *("shared_hosting", "path_not_enforced", "plain_http", "no_known_host", "shadowed_row"),
        "network_too_wide",
    }
