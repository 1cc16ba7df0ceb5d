"""Forced release: a signed file that lets one device go when it cannot reach the controller."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import select

from api.core.action_state import ACTIVE, ActionEvent, ActionStatus
from api.core.instant import render_instant
from api.core.roles import Actor, Permission
from api.problems import Problem
from api.services import audit, steering
from api.services.context import Services
from api.services.machines import find_exactly
from api.services.recording import LOST_ORDERS
from api.store.tables import Action, ActionStep
from isolator.model.signed import Envelope, Kind

LONGEST_S = 30 * 86_400.0
"""A file that lets a device go must not lie about for ever."""


def forced_release(
    services: Services, actor: Actor, machine_name: str, comment: str, lasts_s: float, *, above: int = 0
) -> tuple[Action, Envelope]:
    """The release file for one machine and the action that watches it.

    The machine's desired state becomes connected, so that it stays free when it comes back; an action that
    was under way ends as superseded. Single use on the device, good for `lasts_s` seconds. Problem when the
    actor is no administrator, the machine is unknown, or the time is unfit.

    `above`: the order that the device names when it refuses a file as too old; a database restored from a
    backup does not know it. At most LOST_ORDERS ahead.
    """
    if not actor.may(Permission.ADMINISTER):
        raise Problem("Forbidden", "only an administrator may force a release")
    if not comment.strip():
        raise Problem("MissingRequiredParameter", "a forced release needs a comment")
    if not 0 < lasts_s <= LONGEST_S:
        raise Problem("InvalidInput", "a release file is good for more than nothing and at most 30 days")
    now = services.clock.now()
    with services.database.write() as session:
        machine = find_exactly(session, actor, machine_name, lock=True)
        if above > machine.generation + LOST_ORDERS:
            raise Problem("InvalidInput", f"above: at most {LOST_ORDERS} more than {machine.generation}")
        machine.generation = max(machine.generation, above)
        under_way = session.scalars(
            select(Action).where(
                Action.machine_id == machine.id, Action.status.in_([each.value for each in ACTIVE])
            )
        ).all()
        for each in under_way:
            pending = each.status == ActionStatus.PENDING.value
            event = ActionEvent.CANCELLED if pending else ActionEvent.FAILED
            steering.advance(session, services, machine, each, event, {"by": actor.name})
            each.error_text = "superseded by a forced release"
        action = Action(
            id=str(uuid.uuid4()),
            tenant_id=actor.tenant_id,
            machine_id=machine.id,
            type="Unisolate",
            status=ActionStatus.PENDING.value,
            generation=machine.generation + 1,
            title="Forced release",
            requestor=actor.name,
            requestor_role=actor.role.value,
            comment=comment,
            request_source=steering.FORCED,
            created_at=now,
            updated_at=now,
        )
        session.flush()
        session.add(action)
        session.flush()
        steering.steer(session, services, machine, desired="connected", scope=None, action=action)
        session.add(ActionStep(action_id=action.id, at=now, what="ordered"))
        not_after = render_instant(now + timedelta(seconds=lasts_s))
        release_id = str(uuid.uuid4())
        envelope = services.keys.seal(
            Kind.FORCED_RELEASE,
            {
                "machine_id": machine.id,
                "release_id": release_id,
                "generation": machine.generation,
                "issued_at": render_instant(now),
                "not_after": not_after,
            },
        )
        detail = {
            "action_id": action.id,
            "release_id": release_id,
            "not_after": not_after,
            "comment": comment,
        }
        audit.record(session, services, actor, "machine.forced_release", machine.id, detail)
    services.wake.machines([machine.id])
    return action, envelope
