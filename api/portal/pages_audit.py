"""The audit log: newest first, narrowed by what and whom, and its chain checked on request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import ColumnElement, func, or_, select

from api.deps import ServicesOf
from api.portal.rendering import page
from api.portal.visitor import ActingPerson, Auditor, Visitor
from api.problems import Problem
from api.services import audit
from api.services.context import Services
from api.services.machines import names
from api.store.tables import AuditHead, AuditRow

router = APIRouter()

PAGE_SIZE = 50

KINDS = ("client", "user", "agent", "console", "system")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as shown; a row whose content was damaged still shows."""

    seq: int
    at: object
    actor: str
    kind: str
    role: str
    action: str
    target: str
    detail: dict[str, Any]
    hash: str
    previous: str


@router.get("/audit")
def log(request: Request, visitor: Auditor, services: ServicesOf) -> HTMLResponse:
    """Rows that fit the address's `target`, `actor` and `action`, newest first, from `before` downwards."""
    return _log(request, visitor, services, None)


@router.post("/audit/check")
def check(request: Request, visitor: ActingPerson, services: ServicesOf) -> HTMLResponse:
    """Walk the whole chain, its head and the head's signature, and say what was found."""
    assert visitor.actor is not None
    if not visitor.may("audit"):
        raise Problem("Forbidden", "your role may not read the audit log")
    with services.database.read() as session:
        verdict = audit.verify(session, services, visitor.actor.tenant_id)
    if request.headers.get("hx-request"):
        return page("audit/verdict.html", visitor, services.clock.now(), verdict=verdict)
    return _log(request, visitor, services, verdict)


def _log(request: Request, visitor: Visitor, services: Services, verdict: object) -> HTMLResponse:
    assert visitor.actor is not None
    wanted = {
        name: request.query_params.get(name, "").replace("\x00", "").strip()[:200]
        for name in ("target", "actor", "action")
    }
    before = request.query_params.get("before", "")
    query = select(AuditRow).where(
        AuditRow.tenant_id == visitor.actor.tenant_id,
        *(_holds(name, value) for name, value in wanted.items() if value),
    )
    if before.isascii() and before.isdigit() and len(before) < 10:
        query = query.where(AuditRow.seq < int(before))
    with services.database.read() as session:
        rows = session.scalars(query.order_by(AuditRow.seq.desc()).limit(PAGE_SIZE + 1)).all()
        head = session.get(AuditHead, visitor.actor.tenant_id)
    entries = [_entry(each) for each in rows[:PAGE_SIZE]]
    return page(
        "audit/list.html",
        visitor,
        services.clock.now(),
        entries=entries,
        names=names(services, {each.target for each in entries}) if entries else {},
        older=entries[-1].seq if len(rows) > PAGE_SIZE else None,
        wanted=wanted,
        head=head,
        verdict=verdict,
    )


def _holds(name: str, value: str) -> ColumnElement[bool]:
    """Rows are canonical JSON text: a value is found as it is written there, behind its own key."""
    written = json.dumps(value, ensure_ascii=False)[1:-1]
    keys = {
        "target": ['"target":"'],
        "action": ['{"action":"'],
        # A detail may have a name too; only an actor has a kind before it.
        "actor": [f'"kind":"{kind}","name":"' for kind in KINDS],
    }[name]
    content = func.lower(AuditRow.content)
    return or_(*(content.contains((key + written).lower(), autoescape=True) for key in keys))


def _entry(row: AuditRow) -> Entry:
    try:
        content = json.loads(row.content)
    except ValueError:
        content = {}
    content = content if isinstance(content, dict) else {}
    actor = content.get("actor")
    actor = actor if isinstance(actor, dict) else {}
    detail = content.get("detail")
    return Entry(
        seq=row.seq,
        at=content.get("at"),
        actor=str(actor.get("name", "?")),
        kind=str(actor.get("kind", "?")),
        role=str(actor.get("role", "?")),
        action=str(content.get("action", "?")),
        target=str(content.get("target", "")),
        detail=detail if isinstance(detail, dict) else {},
        hash=row.hash,
        previous=row.previous,
    )
