"""A report as one line for Nagios, Icinga, Checkmk and their kin."""

from __future__ import annotations

from connectivity_check.model import Outcome, Report
from connectivity_check.render import overview
from connectivity_check.render.overview import Verdict
from connectivity_check.render.safe_text import plain

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_STATES = {
    Verdict.OPEN: OK,
    Verdict.DEGRADED: WARNING,
    Verdict.BLOCKED: CRITICAL,
    Verdict.UNCLEAR: UNKNOWN,
}
_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_NAMED = 3
"""How many of the failed endpoints the line names: notifications cut long lines."""


def nagios_state(report: Report) -> int:
    """Give the exit code: 0 all required rows pass, 1 degraded or optional ones blocked, 2 required ones
    blocked, 3 nothing can be said."""
    return _STATES[overview.verdict(report)]


def render_nagios(report: Report) -> str:
    """Give state, sentence, the first failed endpoints and performance data, in one line, in English."""
    parts = [overview.headline(report).en]
    partial = overview.partial(report)
    if partial:
        parts.insert(0, partial.en)
    failed = [
        row
        for row in report.rows
        if row.outcome in (Outcome.BLOCKED, Outcome.UNEXPLAINED) and not row.partial
    ]
    failed.sort(key=lambda row: not row.target.required)
    if failed:
        named = ", ".join(f"{overview.endpoint(row)} {row.failure or ''}".rstrip() for row in failed[:_NAMED])
        parts.append(f"{named} and {len(failed) - _NAMED} more" if len(failed) > _NAMED else named)
    if report.changes is not None:
        parts.append(f"{len(report.changes)} changes against the baseline")
    # "|" begins the performance data (Nagios plug-in guidelines, section "Performance data").
    sentence = plain(" ".join(parts)).replace("|", "/")
    return f"{_NAMES[nagios_state(report)]} - {sentence} | {_figures(report)}\n"


def _figures(report: Report) -> str:
    total = len(report.rows)
    counts = [f"{each.value}={report.count(each)};;;0;{total}" for each in Outcome]
    return " ".join([*counts, f"time={max(report.recording.took_s, 0.0):.3f}s;;;0"])
