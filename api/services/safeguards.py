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


@dataclass(slots=True)
class Isolations:
    """How many isolations a tenant ordered within the hour, and how many it may."""

    recent: int
    cap: int

    def beyond(self, *, more: int = 1) -> Safeguard | None:
        """The blast radius: whether `more` go beyond the cap."""
        if self.recent + more <= self.cap:
            return None
        return Safeguard("cap", f"{self.recent} isolations within the hour, the cap is {self.cap}")


def against(session: Session, services: Services, actor: Actor, machine: Machine) -> tuple[Safeguard, ...]:
    """What speaks against isolating this machine now; empty when nothing does."""
    return against_one(services, machine, isolations(session, services, actor))


def against_one(services: Services, machine: Machine, counted: Isolations) -> tuple[Safeguard, ...]:
    """The same, for who counts the isolations of many in one."""
    found = []
    settings = services.settings
    if settings.never_isolate_tag.lower() in {str(each).lower() for each in machine.tags}:
        found.append(
            Safeguard("tag", f"{machine.computer_name} carries the tag {settings.never_isolate_tag}")
        )
    if machine.facts.get("is_controller_host") is True:
        found.append(Safeguard("own_host", f"{machine.computer_name} runs this controller"))
    cap = counted.beyond()
    if cap is not None:
        found.append(cap)
    return tuple(found)


def isolations(session: Session, services: Services, actor: Actor) -> Isolations:
    """Count the tenant's isolations of the last hour; what was cancelled does not count."""
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
    return Isolations(recent or 0, services.settings.isolations_per_hour)
