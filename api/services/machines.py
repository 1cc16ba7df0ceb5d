"""Machines: who they are, found by id or name, as far as the actor may see them."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, and_, select, true
from sqlalchemy.orm import Session

from api.core.machine_name import name_key
from api.core.roles import Actor
from api.problems import Problem, not_found
from api.services.context import Services
from api.store.tables import Machine


def visible(actor: Actor) -> ColumnElement[bool]:
    """The condition under which a machine is the actor's business: tenant and groups."""
    mine = Machine.tenant_id == actor.tenant_id
    if actor.groups is None:
        return mine
    return and_(mine, Machine.group_id.in_(actor.groups)) if actor.groups else and_(mine, ~true())


def find(session: Session, actor: Actor, name: str, *, lock: bool = False) -> Machine:
    """The machine with this id or computer name (any case).

    404 when there is none the actor may see; a name that several machines carry finds the one seen last
    among those still enrolled. `lock`: hold its row until the transaction ends.
    """
    # An id is more exact than a name, whatever name a machine gave itself; and it is found by its index.
    by_id = select(Machine).where(visible(actor), Machine.id == name.lower())
    machine = session.scalars(by_id.with_for_update() if lock else by_id).one_or_none()
    if machine is not None:
        return machine
    by_name = (
        select(Machine)
        .where(visible(actor), Machine.name_key == name_key(name))
        .order_by(Machine.unenrolled_at.is_(None).desc(), Machine.last_seen.desc())
        .limit(1)
    )
    machine = session.scalars(by_name.with_for_update() if lock else by_name).one_or_none()
    if machine is None:
        raise not_found("Machine", name)
    return machine


def find_exactly(session: Session, actor: Actor, name: str, *, lock: bool = False) -> Machine:
    """Like `find`, for orders: a name that several enrolled machines carry is refused, never guessed."""
    machine = find(session, actor, name, lock=lock)
    if machine.id == name.lower():
        return machine
    same = session.scalars(
        select(Machine.id).where(
            visible(actor), Machine.name_key == name_key(name), Machine.unenrolled_at.is_(None)
        )
    ).all()
    if len(same) > 1:
        raise Problem("InvalidInput", f"{len(same)} machines are called {name}; use the id of one")
    return machine


def names(services: Services, machine_ids: Iterable[str]) -> dict[str, str]:
    """The computer names of machines by id; unknown ids are left out."""
    with services.database.read() as session:
        query = select(Machine.id, Machine.computer_name).where(Machine.id.in_(list(machine_ids)))
        return dict(session.execute(query).all())
