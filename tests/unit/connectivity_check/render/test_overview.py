"""The verdict on a run and a row in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectivity_check.model import Outcome, Report, Row
from connectivity_check.render import overview
from connectivity_check.render.as_nagios import nagios_state, render_nagios
from connectivity_check.render.overview import Verdict
from tests.golden.preflight_reports import EVIL, company, compared, empty, report_of, stopped, target


def rows(*outcomes: str) -> Report:
    """Give a run with these outcomes; one that ends in "?" is optional."""
    made = [
        Row(target(n, f"{n}.example", required=not name.endswith("?")), Outcome(name.rstrip("?")))
        for n, name in enumerate(outcomes)
    ]
    return report_of(*made)


@pytest.mark.parametrize(
    ("report", "verdict", "state", "sentence"),
    [
        (rows("reachable", "reachable"), Verdict.OPEN, 0, "All 2 required endpoints are reachable."),
        (rows("reachable", "blocked"), Verdict.BLOCKED, 2, "1 of 2 required endpoints are blocked."),
        (
            rows("blocked", "unexplained", "degraded"),
            Verdict.BLOCKED,
            2,
            "1 of 3 required endpoints are blocked.",
        ),
        (rows("reachable", "unexplained", "degraded"), Verdict.UNCLEAR, 3, "Not decided: 1 of 3"),
        (rows("reachable", "degraded"), Verdict.DEGRADED, 1, "can be used, 1 of them with faults."),
        (
            rows("reachable", "not_probeable"),
            Verdict.OPEN,
            0,
            "1 of 2 required endpoints are reachable; 1 cannot",
        ),
        (rows("reachable", "blocked?"), Verdict.DEGRADED, 1, "All 1 required endpoints are reachable."),
        (rows("blocked?"), Verdict.DEGRADED, 1, "None of the endpoints tried is required."),
        (rows("reachable?"), Verdict.OPEN, 0, "None of the endpoints tried is required."),
        (empty(), Verdict.UNCLEAR, 3, "Nothing was tried."),
        (stopped(), Verdict.UNCLEAR, 3, "Not decided: 1 of 2"),
        (replace(rows("reachable"), interrupted=True), Verdict.UNCLEAR, 3, "PARTIAL"),
    ],
)
def test_verdict(report: Report, verdict: Verdict, state: int, sentence: str) -> None:
    assert overview.verdict(report) is verdict
    assert nagios_state(report) == state
    assert sentence in render_nagios(report)


@pytest.mark.parametrize("report", [company(), empty(), stopped(), compared()])
def test_nagios_is_one_line_with_one_bar(report: Report) -> None:
    line = render_nagios(report)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert line.count("|") == 1
    assert "=" not in line.partition("|")[0].partition(" - ")[0]
    assert line.split(" ")[0] in ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def test_nagios_with_hostile_names() -> None:
    row = Row(target(1, EVIL), Outcome.BLOCKED)
    line = render_nagios(report_of(row))
    assert line.count("|") == 1
    assert "\x1b" not in line


def test_partial() -> None:
    assert overview.partial(company()) is None
    said = overview.partial(stopped())
    assert said is not None
    assert said.en.startswith("PARTIAL")
    assert "1 of 2" in said.en


@pytest.mark.parametrize(
    ("host", "pattern", "shown"),
    [
        ("a.example", "*.example", "a.example:443"),
        ("2001:db8::1", "2001:db8::1", "[2001:db8::1]:443"),
        (None, "*.example", "*.example:443"),
        (None, "*.example/path/*", "*.example/path/*"),
    ],
)
def test_endpoint(host: str | None, pattern: str, shown: str) -> None:
    assert overview.endpoint(Row(target(1, host, pattern), Outcome.REACHABLE)) == shown
