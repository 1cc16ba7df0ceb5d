"""What a report means for a script: the exit code, and one line."""

from __future__ import annotations

from enum import IntEnum

from connectivity_check.core import judge_run
from connectivity_check.failure import Failure
from connectivity_check.model import Outcome, Report, Row, Scope


class Code(IntEnum):
    """Exit codes of `isolator-check`."""

    OPEN = 0
    """Every required endpoint that can be tried is reachable."""
    BLOCKED = 1
    """Some required endpoint is not, or, with strictness, not without a warning."""
    USAGE = 2
    """Usage or bad input: nothing was measured."""
    UNKNOWN = 3
    """Nothing can be said: no network, nothing to try, or not measured to the end."""


_NO_NETWORK = frozenset({Failure.DNS_TIMEOUT, Failure.META_UNEXPLAINED})
"""What the analysis finds of a run in which nothing answered."""


def exit_code(report: Report, *, strict: bool = False, stopped: bool = False) -> Code:
    """Give the exit code; `stopped`: somebody ended the run, so the report is a part of one.

    Rows that cannot be tried (wildcards without a known host) count neither way, but a report in which no
    required row was tried is UNKNOWN: "nothing is wrong" must not come from looking at nothing.
    """
    if stopped or not _tried(report):
        return Code.UNKNOWN
    return Code(judge_run.exit_code(report, strict=strict))


def line(report: Report, code: Code, *, strict: bool = False, kept: str = "") -> str:
    """Give the one line of `--gate`; it begins with "open:", "blocked:" or "unknown:".

    `code` is that of `exit_code`, with the same strictness. `kept` is the file that holds the whole
    report, "" when there is none.
    """
    tried = _tried(report)
    fine = (Outcome.REACHABLE,) if strict else (Outcome.REACHABLE, Outcome.DEGRADED)
    bad = [row for row in tried if row.outcome not in fine]
    where = f"; see {kept}" if kept else ""
    took = f"({report.recording.took_s:.1f} s)"
    if code is Code.OPEN:
        return f"open: {len(tried)} of {len(tried)} required endpoints reachable {took}{where}"
    if code is Code.BLOCKED:
        first = next((row for row in bad if row.outcome is not Outcome.UNEXPLAINED), bad[0])
        return f"blocked: {len(bad)} of {len(tried)} required endpoints {took}; first: {_of(first)}{where}"
    return f"unknown: {_why_unknown(report, bad, len(tried))} {took}{where}"


def _tried(report: Report) -> list[Row]:
    return [row for row in report.rows if row.target.required and row.outcome is not Outcome.NOT_PROBEABLE]


def _why_unknown(report: Report, bad: list[Row], tried: int) -> str:
    if not tried:
        return "no required endpoint could be tried"
    whole = [each for each in report.findings if each.failure in _NO_NETWORK and each.scope is Scope.ALL]
    if whole and len(bad) == tried:
        return f"nothing could be measured: {', '.join(whole[0].reasons) or whole[0].failure}"
    if report.interrupted:
        return f"stopped early, {len(bad)} of {tried} required endpoints are not known to be reachable"
    first = f"; first: {_of(bad[0])}" if bad else ""
    return f"{len(bad)} of {tried} required endpoints without an answer{first}"


def _of(row: Row) -> str:
    """Give "HOST:PORT code by BLOCKER"; the address is as measured, never text that a peer chose."""
    host = row.target.host or row.target.pattern
    host = f"[{host}]" if ":" in host else host
    blocker = row.finding.blocked_by if row.finding else None
    by = f" by {blocker.kind} {blocker.address}" if blocker and blocker.address else ""
    return f"{host}:{row.target.port} {row.failure or row.outcome}{by}"
