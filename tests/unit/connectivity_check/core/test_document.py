"""The document of a report: its stable keys, and that nothing gets lost on the way there and back."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given

from connectivity_check.core.document import json_value, report_document
from connectivity_check.core.document_reader import parse_report, read_report
from connectivity_check.model import Outcome, ProxyAuth, ProxyServer, Report, Route
from connectivity_check.render.as_json import render_json
from tests.golden.preflight_reports import company, empty, stopped
from tests.unit.connectivity_check.core.generated_reports import reports


@given(reports())
def test_there_and_back(report: Report) -> None:
    assert parse_report(report_document(report)) == report


@given(reports())
def test_there_and_back_as_bytes(report: Report) -> None:
    assert read_report(render_json(report).encode()) == report


@pytest.mark.parametrize("report", [company(), stopped(), empty()])
def test_stable_keys(report: Report) -> None:
    document = report_document(report)
    assert document["schema"] == 1
    assert {"schema", "list", "started_at", "took_s", "path", "rows", "summary"} <= document.keys()
    assert {"id", "version", "entries"} <= document["list"].keys()
    assert {"kind", "proxy"} <= document["path"].keys()
    for row in document["rows"]:
        assert {
            "n",
            "pattern",
            "target",
            "port",
            "required",
            "outcome",
            "failed_step",
            "failure",
        } <= row.keys()
        assert {"blocked_by", "hint", "took_ms", "observations"} <= row.keys()
        for each in row["observations"]:
            assert {"step", "failure", "evidence", "took_ms", "role", "via", "started_ms"} <= each.keys()


def test_a_blocked_row_as_scripts_read_it() -> None:
    row = report_document(company())["rows"][1]
    assert row["outcome"] == "blocked"
    assert row["failed_step"] == "connect"
    assert row["failure"] == "tcp.dropped"
    assert row["blocked_by"]["kind"] == "firewall"
    assert row["blocked_by"]["address"] == "192.0.2.1"
    assert row["took_ms"] == 5020.0


def test_a_reachable_row_has_the_same_keys() -> None:
    reachable, blocked = report_document(company())["rows"][:2]
    assert reachable.keys() == blocked.keys()
    assert reachable["failure"] is reachable["blocked_by"] is reachable["failed_step"] is None


def test_summary_counts_every_row() -> None:
    summary = report_document(company())["summary"]
    assert sum(summary[each.value] for each in Outcome) == summary["total"] == 10
    assert summary["required_blocked"] == 6


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, None),
        (-math.inf, None),
        (10**30, None),
        pytest.param(-(10**5000), None, id="thousands of digits"),
        (2**63 - 1, 2**63 - 1),
        ("\ud800x", "\ufffdx"),
        ({"\udfff": ("a", math.inf)}, {"\ufffd": ["a", None]}),
        (b"raw", "b'raw'"),
        (True, True),
        (Outcome.BLOCKED, "blocked"),
    ],
)
def test_what_json_cannot_hold(value: object, written: object) -> None:
    assert json_value(value) == written
    json.dumps(json_value(value), allow_nan=False).encode()


def test_times_that_are_no_numbers_do_not_break_the_document() -> None:
    report = company()
    rows = tuple(replace(row, took_s=math.inf) for row in report.rows)
    recording = replace(report.recording, took_s=math.nan)
    document = report_document(replace(report, rows=rows, recording=recording))
    assert json.loads(json.dumps(document, allow_nan=False))["took_s"] == 0.0


def test_credentials_have_no_key() -> None:
    server = ProxyServer("proxy.example", 3128, username="svc-user", password="hunter22", auth=ProxyAuth.NTLM)
    report = company()
    row = replace(report.rows[0], target=replace(report.rows[0].target, route=Route(server, "", (server,))))
    text = json.dumps(report_document(replace(report, rows=(row,))))
    assert "svc-user" not in text
    assert "hunter22" not in text
    assert "ntlm" in text
