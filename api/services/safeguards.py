"""Safeguards: what speaks against isolating a machine, and may be overridden on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.core.action_state import ActionStatus
from api.core.roles import Actor
from api.services.context import Services
from api.store.tables import Action, Machine


@dataclass(frozen=True, slots=True)
class Safeguard:
    """Something that speaks against an order, and the override that passes it."""

    override: str
    sentence: str


def against(session: Session, services: Services, actor: Actor, machine: Machine) -> tuple[Safeguard, ...]:
    """What speaks against isolating this machine now; empty when nothing does."""
    found = []
    settings = services.settings
    if settings.never_isolate_tag.lower() in {str(each).lower() for each in machine.tags}:
        found.append(
            Safeguard("tag", f"{machine.computer_name} carries the tag {settings.never_isolate_tag}")
        )
    if machine.facts.get("is_controller_host") is True:
        found.append(Safeguard("own_host", f"{machine.computer_name} runs this controller"))
    cap = cap_reached(session, services, actor)
    if cap is not None:
        found.append(cap)
    return tuple(found)


def cap_reached(session: Session, services: Services, actor: Actor, *, more: int = 1) -> Safeguard | None:
    """The blast radius: whether `more` isolations go beyond the tenant's cap for the last hour."""
    cap = services.settings.isolations_per_hour
    recent = session.scalar(
        select(func.count())
        .select_from(Action)
        .where(
            Action.tenant_id == actor.tenant_id,
            Action.type == "Isolate",
            Action.created_at > services.clock.now() - timedelta(hours=1),
            Action.status != ActionStatus.CANCELLED.value,
        )
    )
    if (recent or 0) + more <= cap:
        return None
    return Safeguard("cap", f"{recent} isolations within the hour, the cap is {cap}")
