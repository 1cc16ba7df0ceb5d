"""Orders: isolate, release, cancel; and what time and reports do to them.

Each order is one transaction: the action, the machine's desired state with a higher generation, the signed
order, and the audit row. Only after the commit the machine's poll is woken.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from api.core.action_state import ACTIVE, ActionEvent, ActionStatus, after
from api.core.instant import render_instant
from api.core.roles import Actor, Permission, Role
from api.problems import ALREADY_IN_PROGRESS, Problem, not_found
from api.services import audit, events
from api.services.context import Services
from api.services.machines import find_exactly, visible
from api.store.tables import Action, ActionStep, Exclusion, Machine, Order
from isolator.model.signed import Kind

MAX_COMMENT = 4000

_ACTIVE_NAMES = [each.value for each in ACTIVE]

SYSTEM = "controller"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a caller asks for. `overrides`: safeguards to pass on purpose; each is audited.

    Known overrides: `cap` (isolations per hour), `tag` (never-isolate), `own_host` (the controller's host).
    """

    machine: str
    comment: str
    isolate: bool = True
    scope: str = "full"
    title: str | None = None
    external_id: str | None = None
    request_source: str = "PublicApi"
    overrides: frozenset[str] = frozenset()
    lists: tuple[str, ...] | None = None
    geo: tuple[str, ...] | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Safeguard:
    """Something that speaks against an order, and the override that passes it."""

    override: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that was taken: the action, and the one it replaced."""

    action: Action
    replaced: Action | None = None
    passed: tuple[Safeguard, ...] = field(default=())


def place(services: Services, actor: Actor, request: OrderRequest) -> Action:
    """Order isolation or release of one machine and wake its agent. Problem when it is refused."""
    with services.database.write() as session:
        placed = place_in(session, services, actor, request)
    services.wake.machines([placed.action.machine_id])
    return placed.action


def place_in(session: Session, services: Services, actor: Actor, request: OrderRequest) -> Placed:
    """The same inside the caller's transaction; the caller wakes the machine after its commit."""
    _require(actor, Permission.ISOLATE)
    _check_comment(request.comment)
    machine = find_exactly(session, actor, request.machine, lock=True)
    if machine.unenrolled_at is not None:
        raise Problem("BadRequest", f"Machine {machine.computer_name} is no longer enrolled")
    if request.isolate:
        audit.hold(session, actor.tenant_id)  # two at once must not both be the last one under the cap
    passed = _pass_safeguards(session, services, actor, machine, request)
    replaced = _make_room(session, services, actor, machine, request)
    action = _action(services, actor, machine, request)
    action.overrides = [each.override for each in passed]
    session.add(action)
    session.flush()
    steer(
        session,
        services,
        machine,
        desired="isolated" if request.isolate else "connected",
        scope=request.scope if request.isolate else None,
        action=action,
        request=request,
    )
    session.add(ActionStep(action_id=action.id, at=action.created_at, what="ordered"))
    audit.record(
        session,
        services,
        actor,
        "machine.isolate" if request.isolate else "machine.release",
        machine.id,
        {
            "action_id": action.id,
            "computer_name": machine.computer_name,
            "scope": action.scope,
            "comment": request.comment,
            "generation": machine.generation,
            "overrides": action.overrides,
            "replaced": replaced.id if replaced else None,
        },
    )
    events.emit(session, services, actor.tenant_id, "action.ordered", event_body(action, machine))
    return Placed(action, replaced, passed)


def safeguards(session: Session, services: Services, actor: Actor, machine: Machine) -> tuple[Safeguard, ...]:
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


def cancel(services: Services, actor: Actor, action_id: str, comment: str) -> Action:
    """Withdraw an order that no agent has yet. Problem when it was delivered or has ended."""
    _require(actor, Permission.ISOLATE)
    _check_comment(comment)
    with services.database.write() as session:
        action, machine = find_action(session, actor, action_id)
        # The machine first, as everywhere: it is what all who change its actions wait for.
        session.refresh(machine, with_for_update=True)
        session.refresh(action)
        if action.status != ActionStatus.PENDING.value:
            raise Problem("BadRequest", f"Action {action_id} is {action.status} and cannot be cancelled")
        _cancel(session, services, actor, machine, action, comment)
        steer_back(session, services, machine, action)
        audit.record(
            session,
            services,
            actor,
            "action.cancel",
            machine.id,
            {"action_id": action.id, "comment": comment},
        )
    services.wake.machines([machine.id])
    return action


def find_action(session: Session, actor: Actor, action_id: str) -> tuple[Action, Machine]:
    """An action and its machine, as far as the actor may see them; 404 otherwise."""
    found = session.execute(
        select(Action, Machine)
        .join(Machine, Machine.id == Action.machine_id)
        .where(Action.id == action_id.lower(), visible(actor))
    ).one_or_none()
    if found is None:
        raise not_found("Action", action_id)
    return found[0], found[1]


def time_out(services: Services) -> Sequence[str]:
    """End actions that came to nothing in time; gives the ids of their machines.

    Undelivered: what was desired before is desired again. Delivered and never heard of: the host may be in
    the ordered state, which therefore stays the desired one; only the action no longer bars the next.
    """
    limit = services.clock.now() - timedelta(seconds=services.settings.undelivered_after_s)
    with services.database.read() as session:
        query = select(Action.id, Action.machine_id).where(_overdue(limit)).order_by(Action.machine_id)
        overdue = session.execute(query).all()
    ended = [machine_id for each, machine_id in overdue if _time_out(services, each, machine_id, limit)]
    services.wake.machines(ended)
    return ended


def _overdue(limit: datetime) -> ColumnElement[bool]:
    undelivered = and_(Action.status == ActionStatus.PENDING.value, Action.created_at <= limit)
    silent = and_(Action.status == ActionStatus.IN_PROGRESS.value, Action.updated_at <= limit)
    return or_(undelivered, silent)


def _time_out(services: Services, action_id: str, machine_id: str, limit: datetime) -> bool:
    with services.database.write() as session:
        machine = session.get_one(Machine, machine_id, with_for_update=True)
        action = session.scalars(select(Action).where(Action.id == action_id, _overdue(limit))).one_or_none()
        if action is None:
            return False  # it moved on while we waited for the machine
        delivered = action.status == ActionStatus.IN_PROGRESS.value
        advance(session, services, machine, action, ActionEvent.TIMED_OUT, {"delivered": delivered})
        if not delivered:
            steer_back(session, services, machine, action)
        actor = Actor(machine.tenant_id, SYSTEM, Role.ADMINISTRATOR, kind="system")
        detail = {"action_id": action.id, "delivered": delivered}
        audit.record(session, services, actor, "action.time_out", machine.id, detail)
        return True


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
    request: OrderRequest | None = None,
    terms: Mapping[str, Any] | None = None,
) -> Order:
    """Give the machine a new desired state: next generation, signed order.

    What the isolation leaves open and how long it lasts is frozen here; `terms`: as in an earlier order.
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
        **(terms or _terms(session, services, machine, request)),
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


def _terms(
    session: Session, services: Services, machine: Machine, request: OrderRequest | None
) -> dict[str, Any]:
    isolated = machine.desired == "isolated"
    selective = isolated and machine.desired_scope == "selective"
    return {
        "lists": list(request.lists) if request and request.lists else None,
        "geo": list(request.geo) if request and request.geo else None,
        "profile": request.profile if request else None,
        "exclusions": exclusions_for(session, machine) if selective else [],
        "duration_s": services.settings.isolation_lasts_s if isolated else None,
    }


def steer_back(session: Session, services: Services, machine: Machine, action: Action) -> None:
    """Take an order back that nobody had: what was in force before it is ordered again, one generation on.

    With the same lists and exclusions as then, and until the same end.
    """
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


def _action(services: Services, actor: Actor, machine: Machine, request: OrderRequest) -> Action:
    now: datetime = services.clock.now()
    return Action(
        id=str(uuid.uuid4()),
        tenant_id=actor.tenant_id,
        machine_id=machine.id,
        type="Isolate" if request.isolate else "Unisolate",
        scope=request.scope.capitalize() if request.isolate else None,
        status=ActionStatus.PENDING.value,
        generation=machine.generation + 1,
        title=request.title,
        requestor=actor.name,
        requestor_role=actor.role.value,
        comment=request.comment,
        external_id=request.external_id,
        request_source=request.request_source,
        created_at=now,
        updated_at=now,
    )


def _make_room(
    session: Session, services: Services, actor: Actor, machine: Machine, request: OrderRequest
) -> Action | None:
    """At most one active action: an undelivered opposite one gives way, any other is in the way."""
    active = session.scalars(
        select(Action).where(Action.machine_id == machine.id, Action.status.in_(_ACTIVE_NAMES))
    ).one_or_none()
    if active is None:
        return None
    opposite = (active.type == "Isolate") != request.isolate
    if active.status != ActionStatus.PENDING.value or not opposite:
        raise Problem("ActiveRequestAlreadyExists", ALREADY_IN_PROGRESS, extra={"activeActionId": active.id})
    _cancel(session, services, actor, machine, active, f"replaced: {request.comment}")
    session.flush()  # the partial unique index must see it ended before the next one comes
    return active


def _cancel(
    session: Session, services: Services, actor: Actor, machine: Machine, action: Action, comment: str
) -> None:
    advance(session, services, machine, action, ActionEvent.CANCELLED, {"by": actor.name, "comment": comment})
    action.cancelled_by, action.cancel_comment = actor.name, comment
    action.cancelled_at = action.updated_at


def _pass_safeguards(
    session: Session, services: Services, actor: Actor, machine: Machine, request: OrderRequest
) -> tuple[Safeguard, ...]:
    if not request.isolate:
        return ()
    found = safeguards(session, services, actor, machine)
    for each in found:
        if each.override not in request.overrides:
            raise Problem(
                "Forbidden",
                f"{each.sentence}; to isolate all the same, name the override {each.override!r}",
                extra={"override": each.override},
            )
        if not actor.may(Permission.ADMINISTER):
            raise Problem("Forbidden", f"{each.sentence}; only an administrator may override that")
    return found


def _require(actor: Actor, permission: Permission) -> None:
    if not actor.may(permission):
        raise Problem("Forbidden", f"the role {actor.role.value} may not {permission.value}")


def _check_comment(comment: str) -> None:
    if not comment.strip():
        raise Problem("MissingRequiredParameter", "Comment is required")
    if len(comment) > MAX_COMMENT:
        raise Problem(
            "InvalidInput", f"Comment has {len(comment)} characters, at most {MAX_COMMENT} are taken"
        )
