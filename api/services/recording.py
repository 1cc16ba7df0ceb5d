"""What one check-in changes in the database: the machine as observed, and the action under way."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy.orm import Session

from api.core.action_state import ACTIVE, ActionEvent, ActionStatus
from api.core.check_in import SETTLED, CheckIn, Meaning, Ordered, alerts_in, follow_runs, meaning
from api.core.roles import Actor, Role
from api.services import audit, events
from api.services.addresses import note_addresses
from api.services.context import Services
from api.services.membership import agent_of, apply_facts, believed, mark_same_name
from api.services.steering import SYSTEM, advance, steer, steer_back
from api.store.tables import Action, Machine, Order

CLOCKS_DIFFER = 0.001
"""By which part two clocks may run apart; quartz is off by 0.0001 at most, unless it is broken."""

LOST_ORDERS = 1000
"""How far an agent may be ahead of a controller whose database was restored from a backup."""


CLOCK_STEP = timedelta(minutes=5)
"""An order of later than this from now was signed by a clock that has been set back since."""


class SignedOrder(Protocol):
    """What of an order decides whether agents will take it."""

    @property
    def key_id(self) -> str:
        """The order key that signed it."""
        ...

    @property
    def created_at(self) -> datetime:
        """When it was signed."""
        ...

    @property
    def not_after(self) -> datetime:
        """Until when it may be obeyed."""
        ...


class Origin(Protocol):
    """Where a check-in came from."""

    @property
    def address(self) -> str:
        """The caller's address."""
        ...

    @property
    def own_host(self) -> bool:
        """Whether that is the controller's own host."""
        ...


def record_one(
    session: Session,
    services: Services,
    machine: Machine,
    action: Action | None,
    check: CheckIn,
    origin: Origin,
) -> None:
    """Write one check-in of a locked machine, in the caller's transaction.

    A report that comes late, twice, or for an action that has ended is observed and moves nothing.
    """
    now = services.clock.now()
    machine.sequence, machine.last_seen = check.sequence, now
    machine.external_ip = origin.address[:45] or None
    _follow_runs(session, services, machine, check)
    if check.facts is not None:
        _take_facts(session, services, machine, check.facts, own_host=origin.own_host)
    if check.generation > machine.generation:
        _catch_up(session, services, machine, action, check)
    under_way = action if action is not None and ActionStatus(action.status) in ACTIVE else None
    found = meaning(check, _ordered(machine, under_way))
    was = machine.observed_state
    _take_alerts(session, services, machine, check.report.document)
    _observe(machine, check, found, services)
    if under_way is not None:
        _advance(session, services, machine, under_way, check, found)
    elif machine.observed_state in SETTLED:
        _unordered(session, services, machine, changed=was != machine.observed_state)


def _ordered(machine: Machine, action: Action | None) -> Ordered:
    return Ordered(
        machine.desired,
        machine.desired_scope,
        machine.generation,
        action_generation=None if action is None else action.generation,
        delivered=action is not None and action.delivered_at is not None,
        applied=action is not None and action.applied_at is not None,
        duplicate=machine.duplicate_since is not None,
    )


def _follow_runs(session: Session, services: Services, machine: Machine, check: CheckIn) -> None:
    runs = follow_runs(machine.incarnation, tuple(machine.past_incarnations), check.incarnation)
    if runs.incarnation == machine.incarnation:
        return
    machine.incarnation, machine.past_incarnations = runs.incarnation, list(runs.past)
    if not runs.came_back or machine.duplicate_since is not None:
        return
    machine.duplicate_since = services.clock.now()
    machine.verified_at = None
    detail = {"computer_name": machine.computer_name, "incarnation": check.incarnation}
    audit.record(session, services, agent_of(machine), "machine.duplicate", machine.id, detail)
    events.emit(
        session, services, machine.tenant_id, "machine.duplicate", {"machine_id": machine.id, **detail}
    )


def _take_facts(
    session: Session, services: Services, machine: Machine, facts: dict[str, Any], *, own_host: bool
) -> None:
    apply_facts(machine, believed(facts, own_host=own_host))
    note_addresses(session, machine, services.clock.now())
    name = str(facts.get("computer_name") or "").strip()
    if not name or name == machine.computer_name:
        return
    detail = {"from": machine.computer_name, "to": name}
    machine.computer_name = name
    session.flush()
    audit.record(session, services, agent_of(machine), "machine.rename", machine.id, detail)
    mark_same_name(session, services, machine)


def _take_alerts(session: Session, services: Services, machine: Machine, document: Mapping[str, Any]) -> None:
    """What the agent found on its host since its last report: recorded once, and told to the receivers."""
    known = alerts_in(machine.observed or {})
    for reason, pattern in alerts_in(document):
        if (reason, pattern) in known:
            continue
        detail = {"computer_name": machine.computer_name, "reason": reason, "pattern": pattern}
        audit.record(session, services, agent_of(machine), "machine.alert", machine.id, detail)
        body = {"machine_id": machine.id, **detail}
        events.emit(session, services, machine.tenant_id, "machine.alert", body)


def _catch_up(
    session: Session, services: Services, machine: Machine, action: Action | None, check: CheckIn
) -> None:
    """The agent obeyed orders this database does not know: it was restored. Go on above them.

    An order that is under way is given once more with a generation the agent will take.
    """
    detail = {"agent": check.generation, "controller": machine.generation}
    if check.generation - machine.generation > LOST_ORDERS:
        # No backup explains that; the agent lies or its disk is broken, and no generation would help.
        kind = "machine.impossible_generation"
        events.emit(session, services, machine.tenant_id, kind, {"machine_id": machine.id, **detail})
        return
    machine.generation = check.generation
    audit.record(session, services, _system(machine), "machine.catch_up", machine.id, detail)
    if action is not None and action.status == ActionStatus.PENDING.value:
        _order_again(session, services, machine, action.generation, action)


def unfit_for(order: SignedOrder, keys: Container[str], now: datetime) -> str:
    """Why an agent would refuse this order for good, though it is the one in force; empty: it would not.

    `keys`: ids of the order keys that are good.
    """
    if order.not_after <= now:
        return "expired"
    if order.created_at > now + CLOCK_STEP:
        return "from the future"  # our clock was ahead when it was signed
    return "" if order.key_id in keys else "key retired"


def renew(services: Services, machine_id: str) -> None:
    """Sign an order anew that nobody fetched and that agents would refuse for good by now.

    Else what is desired would be lost with it, for an agent that comes back after weeks as after a change of
    keys. An order that belongs to an action is not renewed when it ended (whoever ordered it was told that it
    came to nothing), and otherwise only while the action waits.
    """
    now = services.clock.now()
    with services.database.write() as session:
        machine = session.get_one(Machine, machine_id, with_for_update=True)
        order = session.get(Order, (machine.id, machine.generation))
        why = "" if order is None else unfit_for(order, services.keys.order_keys, now)
        if order is None or not why:
            return
        action = None if order.action_id is None else session.get_one(Action, order.action_id)
        if action is not None and (why == "expired" or action.status != ActionStatus.PENDING.value):
            return
        _order_again(session, services, machine, machine.generation, action)
        detail = {"from": order.generation, "to": machine.generation, "desired": machine.desired, "why": why}
        audit.record(session, services, _system(machine), "order.renew", machine.id, detail)


def _order_again(
    session: Session, services: Services, machine: Machine, generation: int, action: Action | None
) -> None:
    """The machine's desired state as an order of the next generation, with the terms of an earlier one."""
    order = session.get(Order, (machine.id, generation))
    document = json.loads(order.payload) if order is not None else {}
    terms = {name: document.get(name) for name in ("lists", "geo", "profile", "exclusions", "duration_s")}
    steer(
        session,
        services,
        machine,
        desired=machine.desired,
        scope=machine.desired_scope,
        action=action,
        terms={**terms, "exclusions": terms["exclusions"] or []},
    )


def _observe(machine: Machine, check: CheckIn, found: Meaning, services: Services) -> None:
    now = services.clock.now()
    report = check.report
    if check.delivered is not None and report.generation < machine.observed_generation:
        return  # said beside the work, and overtaken by the report of its end
    changed = report.state != machine.observed_state or report.generation != machine.observed_generation
    machine.observed = report.document
    machine.observed_state = report.state
    machine.observed_generation = report.generation
    machine.observed_at = now
    if found.proves:
        machine.verified_at = now
    elif changed:
        machine.verified_at = None


def _advance(
    session: Session, services: Services, machine: Machine, action: Action, check: CheckIn, found: Meaning
) -> None:
    for event in found.events:
        detail: dict[str, Any] = {"generation": check.report.generation, "state": check.report.state}
        if event in (ActionEvent.VERIFIED, ActionEvent.FAILED):
            action.evidence = check.report.document
        if event is ActionEvent.FAILED:
            action.error_code, action.error_text = found.error_code, found.error_sentence
            detail = {**detail, "error": found.error_code, "sentence": found.error_sentence}
        advance(session, services, machine, action, event, detail)
        if event is ActionEvent.FAILED:
            # What was in force stays in force, as an order of its own: a later attempt is a new one.
            steer_back(session, services, machine, action)
            detail = {"action_id": action.id, "error": found.error_code, "generation": machine.generation}
            audit.record(session, services, _system(machine), "action.failed", machine.id, detail)


def _unordered(session: Session, services: Services, machine: Machine, *, changed: bool) -> None:
    """The state is not the desired one and nothing is under way: an isolation ran out, or somebody did it at
    the host. The end is looked for every time, not just when the state changes: our clock may have been
    behind then. The rest is told once.
    """
    if machine.observed_state == machine.desired or machine.observed_generation != machine.generation:
        return
    detail = {"desired": machine.desired, "observed": machine.observed_state}
    if machine.desired == "isolated" and _ran_out(session, services, machine):
        steer(session, services, machine, desired="connected", scope=None, action=None)
        audit.record(session, services, _system(machine), "isolation.expired", machine.id, detail)
        kind = "machine.isolation_expired"
    elif changed:
        kind = "machine.drift"
    else:
        return
    body = {"machine_id": machine.id, "computer_name": machine.computer_name, **detail}
    events.emit(session, services, machine.tenant_id, kind, body)


def _ran_out(session: Session, services: Services, machine: Machine) -> bool:
    """Whether the order in force had an end, and it has come. The agent counts from when it obeyed, by a
    clock of its own: over days it may run a little ahead of ours."""
    order = session.get(Order, (machine.id, machine.generation))
    duration_s = None if order is None else json.loads(order.payload).get("duration_s")
    if order is None or duration_s is None:
        return False
    lasts = timedelta(seconds=float(duration_s))
    return services.clock.now() >= order.created_at + lasts * (1 - CLOCKS_DIFFER)


def _system(machine: Machine) -> Actor:
    return Actor(machine.tenant_id, SYSTEM, Role.ADMINISTRATOR, kind="system")
