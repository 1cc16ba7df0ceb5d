"""Connectivity reports: the list, and one report with what stands in the way first."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from api.deps import ServicesOf
from api.portal.rendering import page
from api.portal.visitor import Reader
from api.services import preflights
from connectivity_check.core.document_reader import parse_report
from connectivity_check.model import InputError, Outcome, Report, Row

router = APIRouter()

_WORST_FIRST = (
    Outcome.BLOCKED,
    Outcome.UNEXPLAINED,
    Outcome.DEGRADED,
    Outcome.NOT_PROBEABLE,
    Outcome.REACHABLE,
)


@router.get("/preflights")
def reports(visitor: Reader, services: ServicesOf) -> HTMLResponse:
    """The newest reports."""
    assert visitor.actor is not None
    found = preflights.list_reports(services, visitor.actor)
    return page("preflights/list.html", visitor, services.clock.now(), reports=found)


@router.get("/preflights/{report_id}")
def report(report_id: str, visitor: Reader, services: ServicesOf) -> HTMLResponse:
    """One report: blockers with their hints, then everything."""
    assert visitor.actor is not None
    kept = preflights.get_report(services, visitor.actor, report_id)
    try:
        read: Report | None = parse_report(kept.document)
    except InputError:
        read = None  # kept by another version; the numbers and the document itself are still shown
    rows = sorted(read.rows, key=_badness) if read else []
    return page(
        "preflights/report.html",
        visitor,
        services.clock.now(),
        kept=kept,
        report=read,
        rows=rows,
        blockers=[each for each in rows if each.outcome in (Outcome.BLOCKED, Outcome.UNEXPLAINED)],
    )


def _badness(row: Row) -> tuple[int, bool, int]:
    return _WORST_FIRST.index(row.outcome), not row.target.required, row.target.n
