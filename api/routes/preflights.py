"""Connectivity reports: taken from `isolator-check --report-to`, listed, shown."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from api.core.instant import render_instant
from api.deps import Reader, ServicesOf
from api.schemas.own import PreflightDetail, PreflightOut
from api.services import preflights
from api.store.tables import Preflight

router = APIRouter(tags=["preflight"])


@router.post("/preflights", status_code=201)
def take_report(
    document: Annotated[dict[str, Any], Body()], actor: Reader, services: ServicesOf, hostname: str = ""
) -> PreflightOut:
    """Keep a report: the JSON of `isolator-check --format json`, schema 1."""
    return _short(preflights.take_report(services, actor, document, hostname))


@router.get("/preflights")
def list_reports(actor: Reader, services: ServicesOf) -> list[PreflightOut]:
    """The newest reports first."""
    return [_short(each) for each in preflights.list_reports(services, actor)]


@router.get("/preflights/{report_id}")
def get_report(report_id: str, actor: Reader, services: ServicesOf) -> PreflightDetail:
    """One report, as it came."""
    found = preflights.get_report(services, actor, report_id)
    return PreflightDetail(**_short(found).model_dump(), report=found.document)


def _short(kept: Preflight) -> PreflightOut:
    return PreflightOut(
        id=kept.id,
        hostname=kept.hostname,
        receivedDateTimeUtc=render_instant(kept.received_at) or "",
        receivedFrom=kept.received_from,
        listId=kept.list_id,
        reachable=kept.reachable,
        blocked=kept.blocked,
        degraded=kept.degraded,
        notProbeable=kept.not_probeable,
        unexplained=kept.unexplained,
    )
