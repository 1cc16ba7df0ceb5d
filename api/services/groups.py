"""Groups, and which machine is in which; tags too, since safeguards look at them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from api.core.roles import Actor
from api.problems import Problem, not_found
from api.services import audit
from api.services.context import Services
from api.services.machines import find
from api.store.tables import Group, Machine

MAX_NAME = 200
MAX_TAGS = 100
MAX_TAG = 100


def list_groups(services: Services, actor: Actor) -> list[tuple[Group, int]]:
    """The tenant's groups by name, each with the number of its machines; only the actor's own, if limited."""
    with services.database.read() as session:
        query = (
            select(Group, func.count(Machine.id))
            .outerjoin(Machine, Machine.group_id == Group.id)
            .where(Group.tenant_id == actor.tenant_id)
            .group_by(Group.id)
            .order_by(Group.name)
        )
        return [(group, count) for group, count in session.execute(query) if actor.reaches(group.id)]


def create_group(services: Services, actor: Actor, name: str) -> Group:
    """A new group. Problem when the name is empty, too long or taken."""
    name = name.strip()
    if not name or len(name) > MAX_NAME:
        raise Problem("InvalidInput", f"a group's name has 1 to {MAX_NAME} characters")
    with services.database.write() as session:
        same = select(Group).where(Group.tenant_id == actor.tenant_id, Group.name == name)
        if session.scalars(same).first() is not None:
            raise Problem("InvalidInput", f"there is a group {name!a} already")
        group = Group(tenant_id=actor.tenant_id, name=name)
        session.add(group)
        session.flush()
        audit.record(session, services, actor, "group.create", str(group.id), {"name": name})
    return group


def place_machine(services: Services, actor: Actor, machine_name: str, group_id: int | None) -> Machine:
    """Put a machine into a group, or out of every group (None). Problem when either is unknown."""
    with services.database.write() as session:
        machine = find(session, actor, machine_name, lock=True)
        if group_id is not None:
            group = session.get(Group, group_id)
            if group is None or group.tenant_id != actor.tenant_id:
                raise not_found("Group", str(group_id))
        detail = {"from": machine.group_id, "to": group_id}
        machine.group_id = group_id
        audit.record(session, services, actor, "machine.group", machine.id, detail)
    return machine


def set_tags(services: Services, actor: Actor, machine_name: str, tags: Sequence[str]) -> Machine:
    """Replace a machine's tags. Problem for too many or too long ones; blanks around them are taken off."""
    wanted = list(dict.fromkeys(each.strip() for each in tags if each.strip()))
    if len(wanted) > MAX_TAGS or any(len(each) > MAX_TAG for each in wanted):
        raise Problem("InvalidInput", f"at most {MAX_TAGS} tags of at most {MAX_TAG} characters")
    with services.database.write() as session:
        machine = find(session, actor, machine_name, lock=True)
        detail = {"from": list(machine.tags), "to": wanted}
        machine.tags = wanted
        audit.record(session, services, actor, "machine.tags", machine.id, detail)
    return machine
