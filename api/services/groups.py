"""Groups, and which machine is in which; tags too, since safeguards look at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.core.roles import Actor
from api.problems import Problem, not_found
from api.services import audit
from api.services.context import Services
from api.services.machines import find_exactly
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
    if actor.groups is not None:
        raise Problem("Forbidden", "you are limited to groups and could not see a new one")
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise Problem("InvalidInput", f"a group's name has 1 to {MAX_NAME} printable characters")
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
    """Put a machine into a group, or out of every group (None). Problem when either is unknown.

    Who is limited to groups moves machines between those and nowhere else.
    """
    if group_id is None and actor.groups is not None:
        raise Problem("Forbidden", "you are limited to groups; a machine of yours stays in one of them")
    with services.database.write() as session:
        machine = find_exactly(session, actor, machine_name, lock=True)
        if group_id is not None:
            find_group(session, actor, group_id)
        detail = {"from": machine.group_id, "to": group_id}
        machine.group_id = group_id
        audit.record(session, services, actor, "machine.group", machine.id, detail)
    return machine


def find_group(session: Session, actor: Actor, group_id: int) -> Group:
    """A group of the actor's; 404 otherwise."""
    group = session.get(Group, group_id)
    if group is None or group.tenant_id != actor.tenant_id or not actor.reaches(group_id):
        raise not_found("Group", str(group_id))
    return group


def set_tags(services: Services, actor: Actor, machine_name: str, tags: Sequence[str]) -> Machine:
    """Replace a machine's tags. Problem for too many or unfit ones; blanks around them are taken off."""
    return _retag(services, actor, machine_name, lambda _before: list(tags))


def change_tag(services: Services, actor: Actor, machine_name: str, tag: str, *, add: bool) -> Machine:
    """Add one tag, or take it off; nothing happens when it was so before."""
    tag = tag.strip()

    def changed(before: list[str]) -> list[str]:
        without = [each for each in before if each != tag]
        return (before if tag in before else [*before, tag]) if add else without

    return _retag(services, actor, machine_name, changed)


def _retag(
    services: Services, actor: Actor, machine_name: str, change: Callable[[list[str]], list[str]]
) -> Machine:
    with services.database.write() as session:
        machine = find_exactly(session, actor, machine_name, lock=True)
        before = [str(each) for each in machine.tags]
        wanted = _fit_tags(change(before))
        if wanted != before:
            machine.tags = wanted
            detail = {"from": before, "to": wanted}
            audit.record(session, services, actor, "machine.tags", machine.id, detail)
    return machine


def _fit_tags(tags: Sequence[str]) -> list[str]:
    wanted = list(dict.fromkeys(each.strip() for each in tags if each.strip()))
    if len(wanted) > MAX_TAGS or any(len(each) > MAX_TAG or not each.isprintable() for each in wanted):
        raise Problem("InvalidInput", f"at most {MAX_TAGS} printable tags of at most {MAX_TAG} characters")
    return wanted
