"""Lists of machines and machine actions, as far as the actor may see them, by the caller's query options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select

from api.core.odata import ODataError, parse_query
from api.core.roles import Actor
from api.problems import Problem
from api.services.context import Services
from api.services.machines import find, visible
from api.store.odata_columns import ACTIONS, MACHINES
from api.store.odata_page import Page, fetch
from api.store.odata_sql import Resource
from api.store.tables import Action, Group, Machine

Options = Iterable[tuple[str, str]]
"""Decoded names and values of a request's query."""


def list_machines(services: Services, actor: Actor, options: Options) -> Page:
    """Machines; each row is the machine and its group's name. Problem ODataError for a wrong option."""
    statement = select(Machine, Group.name).outerjoin(Group, Group.id == Machine.group_id)
    return _page(services, statement.where(visible(actor)), MACHINES, options)


def list_actions(
    services: Services, actor: Actor, options: Options, *, machine_name: str | None = None
) -> Page:
    """Actions; each row is the action and its machine's name.

    `machine_name`: of the machine with this id or name only; 404 when there is none.
    """
    statement = (
        select(Action, Machine.computer_name)
        .join(Machine, Machine.id == Action.machine_id)
        .where(Action.tenant_id == actor.tenant_id, visible(actor))
    )
    if machine_name is not None:
        with services.database.read() as session:
            machine = find(session, actor, machine_name)
        statement = statement.where(Action.machine_id == machine.id)
    return _page(services, statement, ACTIONS, options)


def pairs(page: Page) -> list[tuple[Any, Any]]:
    """The page's rows without the ordering values behind."""
    return [(row[0], row[1]) for row in map(tuple, page.rows)]


def group_names(services: Services, machines: Iterable[Machine]) -> dict[int | None, str]:
    """The names of the machines' groups by id."""
    wanted = {each.group_id for each in machines if each.group_id is not None}
    if not wanted:
        return {}
    with services.database.read() as session:
        query = select(Group.id, Group.name).where(Group.id.in_(wanted))
        return dict(session.execute(query).all())


def _page(services: Services, statement: Select[*Any], resource: Resource, options: Options) -> Page:
    try:
        query = parse_query(options)
        with services.database.read() as session:
            return fetch(session, statement, resource, query, services.clock.now())
    except ODataError as error:
        raise Problem("ODataError", str(error)) from None
