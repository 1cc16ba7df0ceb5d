"""Events for others: webhook, syslog, file. Kept in the database until every receiver took them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from api.services.context import Services
from api.settings import Settings
from api.store.tables import Outgoing


def receivers(settings: Settings) -> tuple[str, ...]:
    """Who is told: `webhook`, `syslog`, `file`, as far as configured."""
    configured = {
        "webhook": bool(settings.webhook_url),
        "syslog": bool(settings.syslog),
        "file": settings.audit_file is not None,
    }
    return tuple(name for name, wanted in configured.items() if wanted)


def emit(session: Session, services: Services, tenant_id: str, kind: str, body: Mapping[str, Any]) -> None:
    """Queue an event for each receiver, in the caller's transaction."""
    now = services.clock.now()
    for receiver in receivers(services.settings):
        session.add(
            Outgoing(
                tenant_id=tenant_id,
                receiver=receiver,
                kind=kind,
                body=dict(body),
                created_at=now,
                next_attempt_at=now,
            )
        )
