"""Expectations: which rule holds, and what a file may hold."""

from __future__ import annotations

import contextlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allowlists import files as lists
from connectivity_check.core import plan
from connectivity_check.core.expectations import Hosts, parse_expectations
from connectivity_check.files import load_expectations
from connectivity_check.model import Expectation, InputError, Kind

SHIPPED = load_expectations()


def rules(*items: dict[str, Any], **top: Any) -> Any:
    return parse_expectations({"rules": list(items), **top}, "file.yaml")


def test_the_first_rule_that_matches_holds() -> None:
    found = rules(
        {"hosts": ["one.example"], "ports": [443], "path": "/1", "statuses": [200]},
        {"hosts": ["*.example"], "path": "/2"},
        {"hosts": ["*"], "path": "/3"},
    )
    assert found.of("ONE.example.", 443) == Expectation(path="/1", statuses=(200,))
    assert found.of("one.example", 444).path == "/2"
    assert found.of("a.b.example", 443).path == "/2"
    assert found.of("*.example", 443).path == "/2"
    assert found.of("example", 443).path == "/3"
    assert found.of("2001:db8::1", 443).path == "/3"


@given(
    st.lists(st.text("ab.*?[]!-", min_size=1, max_size=6), min_size=1, max_size=4),
    st.text("ab.*?[]\n", max_size=6),
)
def test_a_host_is_in_a_set_of_globs_when_it_matches_one(globs: list[str], host: str) -> None:
    assert (host in Hosts.of(globs)) == any(fnmatchcase(host, glob) for glob in globs)


def test_without_a_rule_any_answer_is_fine() -> None:
    found = rules()
    assert found.of("x.example", 443) == Expectation(html_allowed=True)
    assert found.of("x.example", 80) == Expectation(kind=Kind.PLAIN, html_allowed=True)
    assert found.of("x.example", 8443).kind is Kind.API


def test_the_path_of_the_row() -> None:
    found = rules(
        {"hosts": ["a.example"], "rows": ["/pki/*"], "kind": "crl", "path": "/pki/root.crl"},
        {"hosts": ["a.example"], "path": "/named"},
        {"hosts": ["b.example"]},
    )
    assert found.of("a.example", 80, "/pki/*").path == "/pki/root.crl"
    assert found.of("a.example", 80, "/other/*").path == "/named"
    assert found.of("b.example", 443, "/svc/client.asmx").path == "/svc/client.asmx"
    assert found.of("b.example", 443, "/svc/*").path == "/"
    assert found.of("b.example", 443, None).path == "/"


def test_every_field() -> None:
    found = rules(
        {
            "hosts": ["*"],
            "source": "somewhere",
            "kind": "ocsp",
            "path": "/p?q=1",
            "method": "POST",
            "statuses": [200, 404],
            "body_contains": "OK",
            "html_allowed": True,
            "pinned": False,
            "issuers": "ours",
            "h2": True,
            "upload": True,
            "ranges": True,
            "private_ok": True,
        },
        issuers={"ours": ["CA 1", "CA 2"]},
    )
    assert found.of("x", 1) == Expectation(
        Kind.OCSP, "/p?q=1", "POST", (200, 404), "OK", True, False, ("CA 1", "CA 2"), True, True, True, True
    )
    assert rules({"hosts": ["*"], "issuers": ["X"], "pinned": None}).of("x", 1).issuers == ("X",)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "the file is a mapping"),
        ([], "the file is a mapping"),
        ({}, "'rules' is a list"),
        ({"rules": {}}, "'rules' is a list"),
        ({"rules": [], "extra": 1}, "unknown key 'extra'"),
        ({"rules": ["x"]}, "rule 1 is a mapping"),
        ({"rules": [{}]}, "hosts"),
        ({"rules": [{"hosts": []}]}, "names no hosts"),
        ({"rules": [{"hosts": "x.example"}]}, "hosts is a list"),
        ({"rules": [{"hosts": [1]}]}, "hosts is a list"),
        (
            {"rules": [{"hosts": ["*"]}, {"hosts": ["*"], "status": [1]}]},
            "rule 2 has an unknown key 'status'",
        ),
        ({"rules": [{"hosts": ["*"], "ports": [0]}]}, "ports"),
        ({"rules": [{"hosts": ["*"], "ports": [True]}]}, "ports"),
        ({"rules": [{"hosts": ["*"], "ports": [70000]}]}, "65535"),
        ({"rules": [{"hosts": ["*"], "statuses": ["200"]}]}, "statuses"),
        ({"rules": [{"hosts": ["*"], "statuses": 200}]}, "statuses"),
        ({"rules": [{"hosts": ["*"], "kind": "web"}]}, "kind is one of api"),
        ({"rules": [{"hosts": ["*"], "kind": ["api"]}]}, "kind is one of api"),
        ({"rules": [{"hosts": ["*"], "pinned": "yes"}]}, "pinned is true or false"),
        ({"rules": [{"hosts": ["*"], "upload": None}]}, "upload is true or false"),
        ({"rules": [{"hosts": ["*"], "method": "DELETE"}]}, "method is one of"),
        ({"rules": [{"hosts": ["*"], "path": "ping"}]}, "begins with /"),
        ({"rules": [{"hosts": ["*"], "path": "/a\r\nX: y"}]}, "visible"),
        ({"rules": [{"hosts": ["*"], "path": "/a b"}]}, "visible"),
        ({"rules": [{"hosts": ["*"], "issuers": "none"}]}, "does not have"),
        ({"rules": [{"hosts": ["*"], "path": ["/a"]}]}, "path is a text"),
        ({"rules": [{"hosts": ["*"], "body_contains": 7}]}, "body_contains is a text"),
        ({"rules": [{"hosts": ["*"], "rows": "/x"}]}, "rows is a list"),
        ({"rules": [], "issuers": {"a": "b"}}, "issuers.a is a list"),
        ({"rules": [], "issuers": [1]}, "issuers is a mapping"),
    ],
)
def test_what_is_refused(data: Any, told: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_expectations(data, "file.yaml")
    assert told in raised.value.reason
    assert raised.value.reason.startswith("file.yaml: ")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["hosts", "ports", "kind", "path", "statuses", "issuers", "pinned", "h2"]), _VALUES
    )
)
def test_nothing_but_input_errors(rule: dict[str, Any]) -> None:
    with contextlib.suppress(InputError):
        parse_expectations({"rules": [rule]}, "f")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: [", "own.yaml, line 1"),
        ("a: b\nrules:\n- {hosts: [", "no YAML"),
        ("!!python/object/apply:os.system [id]", "no YAML"),
        ("\0", "no YAML"),
        ("rules: []\n---\nrules: []", "no YAML"),
        ("", "mapping"),
        ("[" * 100_000, "YAML"),
    ],
)
def test_files_that_are_no_data(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        load_expectations(str(path))
    assert told in raised.value.reason
    assert "own.yaml" in raised.value.reason


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(InputError, match=path.name):
            load_expectations(str(path))
    with pytest.raises(InputError, match="NUL"):
        load_expectations("a\0b")


# ---- the shipped file ------------------------------------------------------------------------------------


def test_every_shipped_rule_has_a_source_and_is_reached() -> None:
    assert all(rule.source for rule in SHIPPED.rules)
    assert all("any.host" not in rule.hosts for rule in SHIPPED.rules[:-3]), (
        "a rule behind * would never hold"
    )


@pytest.mark.parametrize("name", ["standard", "streamlined", "collaboration"])
def test_every_row_of_the_lists_has_an_expectation(name: str) -> None:
    for target in plan.targets(lists.load(name).entries, SHIPPED.of):
        found = target.expectation
        if target.port == 80 and target.host and target.category == "CRL":
            assert found.kind in (Kind.CRL, Kind.CTL) or found.path.endswith(".crt")
        if target.port == 443:
            assert found.kind is Kind.API
        assert found.path.startswith("/")


@pytest.mark.parametrize(
    ("host", "port", "path", "statuses", "pinned"),
    [
        ("winatp-gw-cus3.microsoft.com", 443, "/commands/test", (200,), True),
        ("edr-weu.eu.endpoint.security.microsoft.com", 443, "/edr/commands/test", (200,), True),
        ("mdav.uk.endpoint.security.microsoft.com", 443, "/xplat/api/report", (200,), True),
        ("us-v20.events.data.microsoft.com", 443, "/ping", (200,), None),
        ("events.data.microsoft.com", 443, "/ping", (200,), None),
        ("cdn.x.cp.wd.microsoft.com", 443, "/ping", (200,), None),
        ("europe.x.cp.wd.microsoft.com", 443, "/api/report", (200,), None),
        ("ussus1eastprod.blob.core.windows.net", 443, "/", (400,), False),
        ("wsuk1westprod.blob.core.windows.net", 443, "/", (400,), False),
        ("automatedirstrprdweu3.blob.core.windows.net", 443, "/", (400,), False),
        ("mystore.blob.core.windows.net", 443, "/", (), False),
        ("login.microsoftonline.com", 443, "/", (), False),
        ("unheard-of.example", 443, "/", (), None),
    ],
)
def test_what_is_known_of_hosts(
    host: str, port: int, path: str, statuses: tuple[int, ...], pinned: bool | None
) -> None:
    found = SHIPPED.of(host, port)
    assert (found.path, found.statuses, found.pinned) == (path, statuses, pinned)
