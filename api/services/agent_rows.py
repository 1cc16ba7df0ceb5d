"""What is read of many machines at once when their agents check in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.core.action_state import ACTIVE
from api.store.tables import Action, Machine, Order

_ACTIVE_NAMES = [each.value for each in ACTIVE]


def for_admission(machine_ids: Sequence[str]) -> Any:
    """What a check-in is judged by: key, sequence, desired and observed state, and an action under way."""
    active = (
        select(Action.id)
        .where(Action.machine_id == Machine.id, Action.status.in_(_ACTIVE_NAMES))
        .scalar_subquery()
    )
    return select(
        Machine.id,
        Machine.public_key,
        Machine.computer_name,
        Machine.facts,
        Machine.sequence,
        Machine.incarnation,
        Machine.generation,
        Machine.desired,
        Machine.desired_scope,
        Machine.unenrolled_at,
        Machine.duplicate_since,
        Machine.observed,
        active.label("action_id"),
    ).where(Machine.id.in_(machine_ids))


def with_orders(machine_ids: Sequence[str]) -> Any:
    """Each machine's present generation with its signed order; None for one that never had an order."""
    return (
        select(
            Machine.id,
            Machine.generation,
            Machine.unenrolled_at,
            Order.payload,
            Order.signature,
            Order.key_id,
            Order.not_after,
            Order.created_at,
        )
        .outerjoin(Order, (Order.machine_id == Machine.id) & (Order.generation == Machine.generation))
        .where(Machine.id.in_(machine_ids))
    )


def locked(session: Session, machine_ids: Iterable[str]) -> tuple[dict[str, Machine], dict[str, Action]]:
    """The machines, always locked in the same order so that two batches cannot hold each other, and their
    actions under way."""
    machines: dict[str, Machine] = {}
    actions: dict[str, Action] = {}
    for chunk in chunks(machine_ids):
        rows = session.scalars(
            select(Machine).where(Machine.id.in_(chunk)).order_by(Machine.id).with_for_update()
        )
        machines |= {each.id: each for each in rows}
        under_way = session.scalars(
            select(Action).where(Action.machine_id.in_(chunk), Action.status.in_(_ACTIVE_NAMES))
        )
        actions |= {each.machine_id: each for each in under_way}
    return machines, actions


def chunks(machine_ids: Iterable[str], size: int = 500) -> Iterable[list[str]]:
    """In order, and in portions that every SQLite takes as parameters."""
    everything = sorted(machine_ids)
    for start in range(0, len(everything), size):
        yield everything[start : start + size]
