"""Reading groups and roles out of forms, as accounts, clients and tokens need them."""

from __future__ import annotations

from typing import Any

from api.core.roles import Actor, Role
from api.portal.visitor import Form
from api.problems import Problem
from api.services import groups
from api.services.context import Services
from api.store.tables import Group

MAX_GROUP = 2**31 - 1


def groups_of(services: Services, actor: Actor) -> list[Group]:
    """The groups the actor may name, by name."""
    return [group for group, _ in groups.list_groups(services, actor)]


def choices(services: Services, actor: Actor) -> dict[str, Any]:
    """What the pages of clients and people offer: groups, their names by id, and roles."""
    groups = groups_of(services, actor)
    return {
        "groups": groups,
        "group_names": {each.id: each.name for each in groups},
        "roles": [each.value for each in Role],
    }


def chosen_group(form: Form) -> int | None:
    """The one group of a form; None when none was chosen."""
    return form.number("group", least=1, most=MAX_GROUP, label="group") if form.text("group") else None


def chosen_groups(form: Form) -> list[int] | None:
    """The groups of a form's boxes; None when no box was ticked, which means every group."""
    numbers = form.many("groups")
    if not all(each.isascii() and each.isdigit() and len(each) < 10 for each in numbers):
        raise Problem("InvalidInput", "that is no group")
    return [int(each) for each in numbers] or None


def chosen_role(form: Form) -> Role:
    """The role of a form. Problem when it is none."""
    try:
        return Role(form.text("role"))
    except ValueError:
        raise Problem("InvalidInput", "choose a role") from None
