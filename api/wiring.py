"""Puts a controller together from its settings."""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Iterable

from sqlalchemy import select

from api.core.roles import Actor, Role
from api.ports import Wake
from api.problems import not_found
from api.services.context import Services, SystemClock
from api.services.keys import create_keys
from api.settings import Settings
from api.store import schema
from api.store.database import Database
from api.store.tables import Tenant

DEFAULT_TENANT = "default"


class NoWake:
    """For the console: the serving process finds new orders by its sweep."""

    def machines(self, machine_ids: Iterable[str]) -> None:
        """Nobody waits in this process."""


def build_services(settings: Settings, wake: Wake | None = None) -> Services:
    """Database, keys and clock for these settings; brings the database up to date, makes what is missing.

    DatabaseError or KeysError, in one sentence, when something cannot be used.
    """
    database = Database(settings.database_url)
    clock = SystemClock()
    try:
        schema.upgrade(database)
        with database.write() as session:
            if session.scalars(select(Tenant).limit(1)).first() is None:
                session.add(Tenant(id=str(uuid.uuid4()), name=DEFAULT_TENANT, created_at=clock.now()))
        keys = create_keys(settings.state_dir / "keys", clock.now())
    except BaseException:
        database.close()
        raise
    return Services(settings, database, clock, keys, wake or NoWake())


def console_actor(services: Services, tenant: str | None) -> Actor:
    """Who works at the controller's own console: root of the host is an administrator here.

    `tenant` by name or id; None: the only one. Problem when it is unknown or there are several.
    """
    with services.database.read() as session:
        tenants = session.scalars(select(Tenant).order_by(Tenant.created_at)).all()
    found = [each for each in tenants if tenant is None or tenant in (each.id, each.name)]
    if tenant is not None and not found:
        raise not_found("Tenant", tenant)
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise not_found("Tenant", f"(none given; there are {names}: say --tenant NAME)")
    return Actor(found[0].id, getpass.getuser(), Role.ADMINISTRATOR, kind="console")
