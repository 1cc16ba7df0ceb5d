"""What a machine should be: its signed orders, one generation after the other, and how their actions move on.

Everything here happens inside the caller's transaction, which holds the machine's row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from api.core.action_state import ACTIVE, ActionEvent, ActionStatus, after
from api.core.instant import render_instant
from api.services import events
from api.services.context import Services
from api.store.tables import Action, ActionStep, Exclusion, Machine, Order
from isolator.model.signed import Kind

SYSTEM = "controller"
"""Who orders what nobody asked for."""

FORCED = "ForcedRelease"
"""`request_source` of an action whose order is also out as a file."""


def advance(
    session: Session,
    services: Services,
    machine: Machine,
    action: Action,
    event: ActionEvent,
    detail: dict[str, Any],
) -> None:
    """Move an action along its table and write the step. TransitionError when it cannot be."""
    now = services.clock.now()
    action.status = after(ActionStatus(action.status), event).value
    action.updated_at = now
    if event is ActionEvent.DELIVERED:
        action.delivered_at = action.delivered_at or now
    elif event is ActionEvent.APPLIED:
        action.applied_at = action.applied_at or now
    elif event is ActionEvent.VERIFIED:
        action.applied_at = action.applied_at or now
        action.verified_at = now
    if ActionStatus(action.status) not in ACTIVE:
        action.ended_at = now
    session.add(ActionStep(action_id=action.id, at=now, what=event.value, detail=detail))
    events.emit(session, services, machine.tenant_id, f"action.{event.value}", event_body(action, machine))


def steer(
    session: Session,
    services: Services,
    machine: Machine,
    *,
    desired: str,
    scope: str | None,
    action: Action | None,
    terms: Mapping[str, Any] | None = None,
) -> Order:
    """Give the machine a new desired state: next generation, signed order.

    `terms`: what the isolation leaves open and how long it lasts; None: as of now, with nothing asked for.
    """
    now = services.clock.now()
    not_after = now + timedelta(seconds=services.settings.undelivered_after_s)
    machine.generation += 1
    machine.desired, machine.desired_scope = desired, scope
    document = {
        "machine_id": machine.id,
        "generation": machine.generation,
        "desired": desired,
        "scope": scope,
        **(terms or fresh_terms(session, services, machine, scope)),
        "on_silence": "roll_back",
        "comment": action.comment if action else "",
        "requestor": action.requestor if action else SYSTEM,
        "action_id": action.id if action else None,
        "issued_at": render_instant(now),
        "not_after": render_instant(not_after),
    }
    envelope = services.keys.seal(Kind.ORDER, document)
    order = Order(
        machine_id=machine.id,
        generation=machine.generation,
        action_id=action.id if action else None,
        payload=envelope.payload,
        signature=envelope.signature,
        key_id=envelope.key_id,
        created_at=now,
        not_after=not_after,
    )
    session.add(order)
    if action:
        action.generation = machine.generation
    return order


def fresh_terms(
    session: Session,
    services: Services,
    machine: Machine,
    scope: str | None,
    *,
    lists: Sequence[str] | None = None,
    geo: Sequence[str] | None = None,
    profile: str | None = None,
) -> dict[str, Any]:
    """The terms of an order as of now: here exclusions are frozen into it. `scope` None: of a release.

    Lists, geographies and profile that are not asked for are the device's own.
    """
    return {
        "lists": list(lists) if lists else None,
        "geo": list(geo) if geo else None,
        "profile": profile,
        "exclusions": exclusions_for(session, machine) if scope == "selective" else [],
        "duration_s": services.settings.isolation_lasts_s if scope is not None else None,
    }


def steer_back(session: Session, services: Services, machine: Machine, action: Action) -> None:
    """Take an order back that nobody had: what was in force before it is ordered again, one generation on.

    With the same lists and exclusions as then, and until the same end. A forced release is not taken back:
    its file may have been used where nobody could tell us, and the host would be isolated once more as soon
    as its line is mended.
    """
    if action.request_source == FORCED and action.status != ActionStatus.CANCELLED.value:
        steer(session, services, machine, desired="connected", scope=None, action=None)
        return
    before = _in_force_before(session, action)
    document = json.loads(before.payload) if before is not None else {}
    left_s = _left_s(document, before, services.clock.now())
    if document.get("desired") != "isolated" or (left_s is not None and left_s <= 0):
        steer(session, services, machine, desired="connected", scope=None, action=None)
        return
    terms = {name: document.get(name) for name in ("lists", "geo", "profile", "exclusions")}
    terms["duration_s"] = left_s
    scope = document.get("scope")
    steer(session, services, machine, desired="isolated", scope=scope, action=None, terms=terms)


def _in_force_before(session: Session, action: Action) -> Order | None:
    """The last order before the action's that a host has, or has to have; None when there is none."""
    reached = or_(
        Action.status == ActionStatus.SUCCEEDED.value,
        and_(
            Action.status.in_([ActionStatus.IN_PROGRESS.value, ActionStatus.TIME_OUT.value]),
            Action.delivered_at.is_not(None),
        ),
    )
    return session.scalars(
        select(Order)
        .outerjoin(Action, Action.id == Order.action_id)
        .where(
            Order.machine_id == action.machine_id,
            Order.generation < action.generation,
            # Without an action: the controller's own, after an isolation ended or an order was taken back.
            or_(Order.action_id.is_(None), and_(Action.id != action.id, reached)),
        )
        .order_by(Order.generation.desc())
        .limit(1)
    ).one_or_none()


def _left_s(document: Mapping[str, Any], order: Order | None, now: datetime) -> float | None:
    duration_s = document.get("duration_s")
    if order is None or duration_s is None:
        return None
    return float(duration_s) - (now - order.created_at).total_seconds()


def exclusions_for(session: Session, machine: Machine) -> list[dict[str, Any]]:
    """The tenant's exclusions that apply to the machine, as an order carries them."""
    found = session.scalars(
        select(Exclusion)
        .where(
            Exclusion.tenant_id == machine.tenant_id,
            (Exclusion.group_id.is_(None)) | (Exclusion.group_id == machine.group_id),
        )
        .order_by(Exclusion.name)
    )
    return [{**each.spec, "name": each.name} for each in found]


def event_body(action: Action, machine: Machine) -> dict[str, Any]:
    """An action as events tell it."""
    return {
        "action_id": action.id,
        "type": action.type,
        "status": action.status,
        "machine_id": machine.id,
        "computer_name": machine.computer_name,
        "requestor": action.requestor,
        "comment": action.comment,
        "at": render_instant(action.updated_at),
    }
