"""The audit log: read and verify."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import Auditor, ServicesOf
from api.schemas.own import AuditOut, AuditPage, ChainOut
from api.services import audit

router = APIRouter(tags=["audit"])

_LAST = 2**31 - 1


@router.get("/audit")
def read(
    actor: Auditor,
    services: ServicesOf,
    after: Annotated[int, Query(ge=0, le=_LAST)] = 0,
    top: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> AuditPage:
    """Rows after a number, in order."""
    with services.database.read() as session:
        rows = list(audit.rows(session, actor.tenant_id, after=after, limit=top + 1))
    page = [
        AuditOut(seq=each.seq, content=dict(each.content), previous=each.previous, hash=each.hash)
        for each in rows[:top]
    ]
    return AuditPage(value=page, next=page[-1].seq if len(rows) > top else None)


@router.get("/audit/verify")
def verify(actor: Auditor, services: ServicesOf) -> ChainOut:
    """Walk the whole chain; names the first broken row."""
    with services.database.read() as session:
        verdict = audit.verify(session, services, actor.tenant_id)
    return ChainOut(
        whole=verdict.whole,
        rows=verdict.rows,
        head=verdict.head,
        brokenSeq=verdict.broken_seq,
        reason=verdict.reason,
    )
