"""Connectivity reports that `isolator-check --report-to` sends in."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import defer

from api.core.roles import Actor, Permission
from api.problems import Problem, not_found
from api.services import audit
from api.services.context import Services
from api.store.tables import Preflight
from connectivity_check.core.document_reader import parse_report
from connectivity_check.model import InputError, Outcome

MAX_HOSTNAME = 255


def take_report(services: Services, actor: Actor, document: Any, hostname: str) -> Preflight:
    """Keep a report (schema 1 of `isolator-check --format json`). Problem when it is none.

    `hostname` empty: the name the report gives its host.
    A reader may send one in: it changes nothing but the list of reports, and that is audited.
    """
    if not actor.may(Permission.READ):
        raise Problem("Forbidden", f"the role {actor.role.value} may not send reports")
    try:
        report = parse_report(document)
    except InputError as error:
        raise Problem("InvalidInput", str(error)) from None
    hostname = hostname or str(document.get("host") or "")
    if not hostname.isprintable():
        raise Problem("InvalidInput", "hostname holds characters that no name has")
    counts = {each.value: report.count(each) for each in Outcome}
    kept = Preflight(
        id=str(uuid.uuid4()),
        tenant_id=actor.tenant_id,
        hostname=hostname[:MAX_HOSTNAME],
        received_at=services.clock.now(),
        received_from=actor.name,
        list_id=str((document.get("list") or {}).get("id", ""))[:60],
        document=document,
        **counts,
    )
    with services.database.write() as session:
        session.add(kept)
        audit.record(
            session, services, actor, "preflight.receive", kept.id, {"hostname": kept.hostname, **counts}
        )
    return kept


def list_reports(services: Services, actor: Actor, *, limit: int = 200) -> list[Preflight]:
    """The newest reports first, without their documents."""
    with services.database.read() as session:
        query = (
            select(Preflight)
            .where(Preflight.tenant_id == actor.tenant_id)
            .options(defer(Preflight.document))
            .order_by(Preflight.received_at.desc(), Preflight.id)
            .limit(limit)
        )
        return list(session.scalars(query))


def get_report(services: Services, actor: Actor, report_id: str) -> Preflight:
    """One report with its document; 404 when there is none."""
    with services.database.read() as session:
        found = session.get(Preflight, report_id.lower())
        if found is None or found.tenant_id != actor.tenant_id:
            raise not_found("Report", report_id)
        return found
