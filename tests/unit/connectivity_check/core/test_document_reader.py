"""Bad documents are refused in one sentence that names the place; strange ones are read."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.core.document import report_document
from connectivity_check.core.document_reader import parse_report, read_report
from connectivity_check.model import InputError, Report
from tests.golden.preflight_reports import company

GOOD = report_document(company())
MISSING = object()


def changed(path: str, value: object) -> dict[str, Any]:
    """Give the good document with one value replaced, or taken out."""
    document = copy.deepcopy(GOOD)
    *parents, last = [int(each) if each.isdigit() else each for each in path.split(".")]
    at: Any = document
    for each in parents:
        at = at[each]
    if value is MISSING:
        del at[last]
    else:
        at[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("schema", 2, "$.schema"),
        ("schema", True, "$.schema"),
        ("schema", 1.0, "$.schema"),
        ("schema", "1", "$.schema"),
        ("schema", MISSING, "'schema'"),
        ("rows", MISSING, "'rows'"),
        ("rows", {}, "$.rows"),
        ("rows.0", None, "$.rows[0]"),
        ("rows.1.outcome", "fine", "$.rows[1].outcome"),
        ("rows.1.outcome", ["blocked"], "$.rows[1].outcome"),
        ("rows.1.failure", "tcp.nonsense", "$.rows[1].failure"),
        ("rows.1.blocked_by", None, "$.rows[1].blocked_by"),
        ("rows.1.n", 1.5, "$.rows[1].n"),
        ("rows.1.n", True, "$.rows[1].n"),
        ("rows.1.n", 10**400, "$.rows[1].n"),
        ("rows.1.port", 70000, "$.rows[1].port"),
        ("rows.1.port", -1, "$.rows[1].port"),
        ("rows.1.required", 1, "$.rows[1].required"),
        ("rows.1.took_ms", -1, "$.rows[1].took_ms"),
        ("rows.1.took_ms", float("nan"), "$.rows[1].took_ms"),
        ("rows.1.took_ms", float("inf"), "$.rows[1].took_ms"),
        ("rows.1.took_ms", 10**400, "$.rows[1].took_ms"),
        ("rows.1.took_ms", True, "$.rows[1].took_ms"),
        ("rows.1.target", 5, "$.rows[1].target"),
        ("rows.1.observations", None, "$.rows[1].observations"),
        ("rows.1.observations.0.evidence", [], "$.rows[1].observations[0].evidence"),
        (
            "rows.1.observations.0.evidence.addresses",
            [1, float("inf")],
            "$.rows[1].observations[0].evidence.addresses[1]",
        ),
        ("rows.1.observations.0.evidence.addresses", {1, 2}, "$.rows[1].observations[0].evidence.addresses"),
        ("rows.1.observations.0.step", "fly", "$.rows[1].observations[0].step"),
        ("rows.1.observations.0.role", None, "$.rows[1].observations[0].role"),
        ("rows.1.expectation.statuses", [99], "$.rows[1].expectation.statuses[0]"),
        ("rows.4.route.proxy.port", "3128", "$.rows[4].route.proxy.port"),
        ("path", [], "$.path"),
        ("path.kind", "magic", "$.path.kind"),
        ("changes", [{}], "$.changes[0]"),
        ("list", "standard", "$.list"),
        ("started_at", None, "$.started_at"),
    ],
)
def test_refused_with_its_place(path: str, value: object, place: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_report(changed(path, value))
    assert place in refused.value.reason
    assert "\n" not in refused.value.reason
    assert len(refused.value.reason) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"<html>",
        b"[" * 100_000,
        b'{"schema": ' + b"9" * 5000 + b"}",
        json.dumps(GOOD).encode()[:-40],
        json.dumps(GOOD).encode("utf-16"),
    ],
)
def test_no_report(data: bytes) -> None:
    with pytest.raises(InputError):
        read_report(data)


def test_evidence_nested_without_end() -> None:
    nested: Any = "x"
    for _ in range(100):
        nested = [nested]
    with pytest.raises(InputError, match="deeply"):
        parse_report(changed("rows.1.observations.0.evidence.addresses", nested))


def test_unknown_keys_are_ignored() -> None:
    document = changed("rows.1.later_key", {"a": 1})
    document["another"] = [None]
    assert parse_report(document) == company()


def test_the_interface_alone_is_enough_for_a_baseline() -> None:
    row = {
        "n": 1,
        "pattern": "a.example",
        "target": "a.example",
        "port": 443,
        "required": True,
        "outcome": "blocked",
        "failed_step": "connect",
        "failure": "tcp.dropped",
        "blocked_by": {"kind": "firewall", "address": ""},
        "hint": "",
        "took_ms": 5,
        "observations": [
            {"step": "connect", "failure": "generic_timeout_error", "evidence": {}, "took_ms": 5}
        ],
    }
    document = {
        "schema": 1,
        "list": {"id": "x"},
        "started_at": "",
        "took_s": 1,
        "path": {"kind": "direct", "proxy": ""},
        "rows": [row],
        "summary": {},
    }
    (read,) = parse_report(document).rows
    assert read.finding is not None
    assert read.finding.failure == "tcp.dropped"


def test_a_byte_order_mark_is_no_harm() -> None:
    assert read_report(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()) == company()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["schema", "rows", "path", "list", "n", "outcome"]) | st.text(), x
            )
        ),
        max_leaves=20,
    )
)
def test_anything_else_is_an_input_error(value: object) -> None:
    with suppress(InputError):
        assert isinstance(parse_report(value), Report)
