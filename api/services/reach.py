"""Groups as a limit: nobody gives to others what they may not touch themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.core.roles import Actor
from api.problems import Problem
from api.store.tables import Group


def within(actor: Actor, groups: Iterable[Any] | None) -> bool:
    """Whether a holder of these groups (None: of all) reaches no further than the actor."""
    if actor.groups is None:
        return True
    return groups is not None and set(groups) <= actor.groups


def check_groups(session: Session, actor: Actor, groups: Iterable[int] | None) -> list[int] | None:
    """The groups in order and once each, when they exist in the tenant and the actor may give them away.

    Problem: InvalidInput for an unknown group, Forbidden for more than the actor's own.
    """
    if groups is None:
        if actor.groups is not None:
            raise Problem("Forbidden", "you are limited to groups yourself; name the groups to give")
        return None
    wanted = sorted(set(groups))
    query = select(Group.id).where(Group.tenant_id == actor.tenant_id, Group.id.in_(wanted))
    missing = set(wanted) - set(session.scalars(query))
    if missing:
        raise Problem("InvalidInput", f"there is no group {min(missing)}")
    if not within(actor, wanted):
        raise Problem("Forbidden", "a group you are not limited to yourself cannot be given")
    return wanted
