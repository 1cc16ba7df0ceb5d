"""A controller for tests: two tenants, a clock that stands still, callers of every role."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import StarletteDeprecationWarning

from api.app import create_app
from api.core.roles import Actor, Role
from api.services import clients
from api.services.clients import NewClient
from api.services.context import Services
from api.services.keys import create_keys
from api.settings import Settings
from api.store.database import Database
from api.store.tables import Machine, Tenant

with warnings.catch_warnings():
    # It prefers another HTTP library than the one we have; both do.
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient

ACME, OTHER = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
URL = "https://controller.test"


class StillClock:
    """Time that a test moves."""

    def __init__(self, at: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)) -> None:
        self.at = at

    def now(self) -> datetime:
        """The instant it stands at."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)


@dataclass
class SilentWake:
    """Remembers who was woken."""

    woken: list[str] = field(default_factory=list)

    def machines(self, machine_ids: Iterable[str]) -> None:
        """Note them down."""
        self.woken.extend(machine_ids)


@dataclass
class Controller:
    """The wired services, the application and a way to call it."""

    services: Services
    clock: StillClock
    app: FastAPI
    http: TestClient

    def client(self, role: Role, *, tenant: str = ACME, groups: list[int] | None = None) -> NewClient:
        """A new API client of this role."""
        with self.services.database.read() as session:
            number = session.query(clients.ApiClient).count()
        actor = console(tenant)
        return clients.create(self.services, actor, f"{role.value} {number}", role, groups)

    def token(self, role: Role, **limits: Any) -> str:
        """The access token of a new client of this role, through the token endpoint."""
        new = self.client(role, **limits)
        return str(self.token_answer(new, limits.get("tenant", ACME)).json()["access_token"])

    def token_answer(self, new: NewClient, tenant: str = ACME, **changes: str) -> Any:
        """The token endpoint's whole answer."""
        form = {
            "grant_type": "client_credentials",
            "client_id": new.client.id,
            "client_secret": new.secret,
            "scope": "https://api.securitycenter.microsoft.com/.default",
            **changes,
        }
        return self.http.post(f"/{tenant}/oauth2/v2.0/token", data=form)

    def headers(self, role: Role, **limits: Any) -> dict[str, str]:
        """What a caller of this role sends."""
        return {"Authorization": f"Bearer {self.token(role, **limits)}"}

    def machine(self, name: str = "pc-1", *, tenant: str = ACME, group: int | None = None) -> Machine:
        """An enrolled machine."""
        with self.services.database.write() as session:
            number = session.query(Machine).count() + 1
            machine = Machine(
                id=f"{number:040x}",
                tenant_id=tenant,
                public_key=number.to_bytes(32, "big"),
                computer_name=name,
                group_id=group,
                first_seen=self.clock.now(),
                last_seen=self.clock.now(),
                enrolled_at=self.clock.now(),
                last_ip="10.0.0.7",
                os_platform="Linux",
            )
            session.add(machine)
        return machine


def console(tenant: str = ACME) -> Actor:
    """An administrator at the controller's own console."""
    return Actor(tenant, "console", Role.ADMINISTRATOR, kind="console")


@contextmanager
def controller(
    database: Database, directory: Path, settings: Mapping[str, Any] | None = None
) -> Iterator[Controller]:
    """A controller over this database with the tenants `Acme` and `Other`; errors are answers, not raised."""
    clock = StillClock()
    given = replace(
        Settings(state_dir=directory, public_url=URL, calls_per_minute=10_000, calls_per_hour=10_000),
        **(settings or {}),
    )
    with database.write() as session:
        for tenant_id, name in ((ACME, "Acme"), (OTHER, "Other")):
            if session.get(Tenant, tenant_id) is None:
                session.add(Tenant(id=tenant_id, name=name, created_at=clock.now(), policy={}))
    services = Services(given, database, clock, create_keys(directory / "keys", clock.now()), SilentWake())
    app = create_app(services)
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as http:
        yield Controller(services, clock, app, http)
