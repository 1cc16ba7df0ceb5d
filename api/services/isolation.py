"""Orders: isolate, release, cancel, and what time does to them.

Each order is one transaction: the action, the machine's desired state with a higher generation, the signed
order, and the audit row. Only after the commit the machine's poll is woken.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from api.core.action_state import ACTIVE, ActionEvent, ActionStatus
from api.core.roles import Actor, Permission, Role
from api.problems import ALREADY_IN_PROGRESS, Problem, not_found
from api.services import audit, events, steering
from api.services.context import Services
from api.services.machines import find_exactly, visible
from api.services.safeguards import Isolations, Safeguard, against_one, isolations
from api.store.tables import Action, ActionStep, Machine

MAX_COMMENT = 4000

PROOF_WITHIN = timedelta(minutes=1)
"""How long an applied order may wait for its proof before the opposite one may take its place."""

_ACTIVE_NAMES = [each.value for each in ACTIVE]


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
    check(actor, request)
    machine = find_exactly(session, actor, request.machine, lock=True)
    counted = None
    if request.isolate:
        audit.hold(session, actor.tenant_id)  # two at once must not both be the last one under the cap
        counted = isolations(session, services, actor)
    active = session.scalars(
        select(Action).where(Action.machine_id == machine.id, Action.status.in_(_ACTIVE_NAMES))
    ).one_or_none()
    judged = judge(services, actor, machine, active, request, counted)
    return carry_out(session, services, actor, [judged], request)[0]


def check(actor: Actor, request: OrderRequest) -> None:
    """Whether the actor may order at all, and says why. Problem otherwise."""
    _require(actor, Permission.ISOLATE)
    _check_comment(request.comment)


@dataclass(frozen=True, slots=True)
class Judged:
    """An order that may be given: whose, what gives way to it, and which safeguards it passes on purpose."""

    machine: Machine
    replaces: Action | None
    passed: tuple[Safeguard, ...]


def judge(
    services: Services,
    actor: Actor,
    machine: Machine,
    active: Action | None,
    request: OrderRequest,
    counted: Isolations | None,
) -> Judged:
    """Whether the order may be given to a locked machine; changes nothing. Problem when it may not.

    `active`: the machine's action under way. `counted`: the isolations before this one; None for a release.
    """
    if machine.unenrolled_at is not None:
        raise Problem("BadRequest", f"Machine {machine.computer_name} is no longer enrolled")
    passed = () if counted is None else _pass_safeguards(services, actor, machine, request, counted)
    if active is not None:
        # At most one active action. It gives way to the opposite order while it is undelivered, and when the
        # host obeyed and the proof does not come (of a suspected clone it never does).
        opposite = (active.type == "Isolate") != request.isolate
        unproven = active.applied_at is not None and services.clock.now() - active.applied_at >= PROOF_WITHIN
        if not opposite or not (active.status == ActionStatus.PENDING.value or unproven):
            raise Problem(
                "ActiveRequestAlreadyExists", ALREADY_IN_PROGRESS, extra={"activeActionId": active.id}
            )
    return Judged(machine, active, passed)


def carry_out(
    session: Session, services: Services, actor: Actor, judged: Sequence[Judged], request: OrderRequest
) -> list[Placed]:
    """Give the same order to each; a thousand are written with as many statements as one."""
    for each in judged:
        if each.replaces is not None:
            _give_way(session, services, actor, each.machine, each.replaces, request.comment)
    session.flush()  # the partial unique index must see them ended before the next ones come
    placed = [Placed(_action(services, actor, each, request), each.replaces, each.passed) for each in judged]
    session.add_all([each.action for each in placed])
    session.flush()  # before their steps, which refer to them
    scope = request.scope if request.isolate else None
    terms: dict[int | None, dict[str, Any]] = {}
    for each, done in zip(judged, placed, strict=True):
        group = each.machine.group_id
        if group not in terms:
            with session.no_autoflush:
                terms[group] = steering.fresh_terms(
                    session,
                    services,
                    each.machine,
                    scope,
                    lists=request.lists,
                    geo=request.geo,
                    profile=request.profile,
                )
        _order(session, services, actor, each.machine, done, request, scope, terms[group])
    return placed


def _order(
    session: Session,
    services: Services,
    actor: Actor,
    machine: Machine,
    placed: Placed,
    request: OrderRequest,
    scope: str | None,
    terms: Mapping[str, Any],
) -> None:
    action = placed.action
    desired = "isolated" if request.isolate else "connected"
    steering.steer(session, services, machine, desired=desired, scope=scope, action=action, terms=terms)
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
            "replaced": placed.replaced.id if placed.replaced else None,
        },
    )
    events.emit(session, services, actor.tenant_id, "action.ordered", steering.event_body(action, machine))


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
        steering.steer_back(session, services, machine, action)
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
        steering.advance(session, services, machine, action, ActionEvent.TIMED_OUT, {"delivered": delivered})
        if not delivered:
            steering.steer_back(session, services, machine, action)
        actor = Actor(machine.tenant_id, steering.SYSTEM, Role.ADMINISTRATOR, kind="system")
        detail = {"action_id": action.id, "delivered": delivered}
        audit.record(session, services, actor, "action.time_out", machine.id, detail)
        return True


def _action(services: Services, actor: Actor, judged: Judged, request: OrderRequest) -> Action:
    now: datetime = services.clock.now()
    machine = judged.machine
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
        overrides=[each.override for each in judged.passed],
    )


def _give_way(
    session: Session, services: Services, actor: Actor, machine: Machine, action: Action, comment: str
) -> None:
    if action.status == ActionStatus.PENDING.value:
        _cancel(session, services, actor, machine, action, f"replaced: {comment}")
        return
    steering.advance(session, services, machine, action, ActionEvent.TIMED_OUT, {"by": actor.name})
    action.error_code = "not_verified"
    action.error_text = "applied and never verified; another order took its place"


def _cancel(
    session: Session, services: Services, actor: Actor, machine: Machine, action: Action, comment: str
) -> None:
    steering.advance(
        session, services, machine, action, ActionEvent.CANCELLED, {"by": actor.name, "comment": comment}
    )
    action.cancelled_by, action.cancel_comment = actor.name, comment
    action.cancelled_at = action.updated_at


def _pass_safeguards(
    services: Services, actor: Actor, machine: Machine, request: OrderRequest, counted: Isolations
) -> tuple[Safeguard, ...]:
    found = against_one(services, machine, counted)
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
