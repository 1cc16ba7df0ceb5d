"""What the controller holds of an enrolled machine: its facts, its name, its leave.

A name is what people see, an id is what a machine is: who takes a name that another machine has is marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.core.action_state import ACTIVE, ActionEvent, ActionStatus
from api.core.machine_name import name_key
from api.core.roles import Actor, Permission, Role
from api.problems import Problem
from api.services import audit, events
from api.services.context import Services
from api.services.machines import find_exactly
from api.services.steering import advance, steer_back
from api.store.tables import Action, Machine


def unenrol(services: Services, actor: Actor, machine: str, comment: str, *, force: bool = False) -> Machine:
    """Let a machine go from the controller. Refused while it is, or should be, isolated, unless forced.

    Forced: the host itself stays as it is; only a forced-release file or enrolling again reaches it then.
    """
    _administer(actor)
    if not comment.strip():
        raise Problem("MissingRequiredParameter", "Comment is required")
    with services.database.write() as session:
        row = find_exactly(session, actor, machine, lock=True)
        if row.unenrolled_at is not None:
            return row
        active = session.scalars(
            select(Action).where(
                Action.machine_id == row.id, Action.status.in_([each.value for each in ACTIVE])
            )
        ).one_or_none()
        shut = row.desired == "isolated" or row.observed_state not in ("connected", "unknown")
        if (shut or active is not None) and not force:
            why = "has an action under way" if not shut else "is or should be isolated"
            raise Problem("Conflict", f"{row.computer_name} {why}; release it first, or force it")
        if active is not None:
            pending = active.status == ActionStatus.PENDING.value
            event = ActionEvent.CANCELLED if pending else ActionEvent.FAILED
            active.error_code = None if pending else "unenrolled"
            advance(session, services, row, active, event, {"by": actor.name, "comment": comment})
            if pending:  # or it would be carried out when the device enrols again
                steer_back(session, services, row, active)
        row.unenrolled_at = services.clock.now()
        detail = {"computer_name": row.computer_name, "comment": comment, "forced": force}
        detail |= {"desired": row.desired, "observed": row.observed_state}
        audit.record(session, services, actor, "machine.unenrol", row.id, detail)
        events.emit(session, services, row.tenant_id, "machine.unenrolled", {"machine_id": row.id, **detail})
    services.wake.machines([row.id])
    return row


def dismiss_duplicate(services: Services, actor: Actor, machine: str, comment: str) -> Machine:
    """An administrator has looked into a suspected clone or borrowed name; reports count again. Audited."""
    _administer(actor)
    if not comment.strip():
        raise Problem("MissingRequiredParameter", "Comment is required")
    with services.database.write() as session:
        row = find_exactly(session, actor, machine, lock=True)
        row.duplicate_since, row.same_name_as = None, None
        row.past_incarnations = []
        audit.record(session, services, actor, "machine.dismiss_duplicate", row.id, {"comment": comment})
    return row


def same_name(session: Session, machine: Machine, name: str) -> str | None:
    """The id of another enrolled machine of the tenant that carries this name (any case), if one does."""
    return session.scalars(
        select(Machine.id)
        .where(
            Machine.tenant_id == machine.tenant_id,
            Machine.id != machine.id,
            Machine.name_key == name_key(name),
            Machine.unenrolled_at.is_(None),
        )
        .order_by(Machine.first_seen)
        .limit(1)
    ).one_or_none()


def mark_same_name(session: Session, services: Services, machine: Machine) -> None:
    """Note, audit and tell when a machine has just taken a name that another one carries."""
    other = same_name(session, machine, machine.computer_name)
    if other is None or other == machine.same_name_as:
        return
    machine.same_name_as = other
    detail = {"computer_name": machine.computer_name, "same_name_as": other}
    audit.record(session, services, agent_of(machine), "machine.same_name", machine.id, detail)
    events.emit(
        session, services, machine.tenant_id, "machine.same_name", {"machine_id": machine.id, **detail}
    )


def agent_of(machine: Machine) -> Actor:
    """The machine's agent, as the audit log names it."""
    return Actor(machine.tenant_id, machine.computer_name, Role.READER, kind="agent", id=machine.id)


def apply_facts(machine: Machine, facts: Mapping[str, Any]) -> None:
    """What the agent says of its host, into the columns that are searched and shown."""
    machine.facts = {name: value for name, value in facts.items() if name != "computer_name"}
    machine.agent_version = str(facts.get("agent_version", ""))[:50]
    machine.os_platform = str(facts.get("os_platform", ""))[:50]
    addresses = [each["ipAddress"] for each in facts.get("ip_addresses", ())]
    machine.last_ip = next((each for each in addresses if not each.startswith(("127.", "::1", "fe80"))), None)


def believed(facts: dict[str, Any], *, own_host: bool) -> dict[str, Any]:
    """The facts without a claim that would shield a host from isolation, unless its address agrees."""
    return {
        name: value
        for name, value in facts.items()
        if name != "is_controller_host" or (own_host and value is True)
    }


def _administer(actor: Actor) -> None:
    if not actor.may(Permission.ADMINISTER):
        raise Problem("Forbidden", f"the role {actor.role.value} may not {Permission.ADMINISTER.value}")
