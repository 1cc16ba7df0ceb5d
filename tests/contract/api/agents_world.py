"""A controller's services on a test database, with clock in hand, and agents that talk to them directly."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from api.core.roles import Actor, Role
from api.services import audit, enrolment, isolation
from api.services.checkin import Arrival, CheckIns, Taken
from api.services.context import Services
from api.services.isolation import OrderRequest
from api.services.keys import create_keys
from api.settings import Settings
from api.store.database import Database
from api.store.tables import Action, ActionStep, AuditRow, Machine, Tenant
from api.store.wake import open_wake
from tests.fleet.agent import Agent


@dataclass
class HandClock:
    """Real time, plus what the test moved it by."""

    ahead: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        """The instant."""
        return datetime.now(UTC) + self.ahead


@dataclass
class World:
    """One controller, its administrator, its check-in desk."""

    services: Services
    clock: HandClock
    admin: Actor
    desk: CheckIns

    def token(self, **options: Any) -> str:
        """An enrolment token's text."""
        return enrolment.create_token(self.services, self.admin, **{"uses": 100, **options}).text

    def agent(self, name: str = "host-1", **changes: Any) -> Agent:
        """An enrolled agent."""
        agent = Agent(name)
        answer = enrolment.enrol(self.services, agent.enrol(self.token(), **changes), "192.0.2.1")
        agent.enrolled(answer)
        return agent

    def take(self, body: bytes, desk: CheckIns | None = None) -> Taken:
        """What the desk makes of a check-in; raises what it refuses with."""
        desk = desk or self.desk
        taken = desk.admit([Arrival(body, "192.0.2.1")])[0]
        if isinstance(taken, Taken) and taken.news:
            taken = desk.record([taken])[0]
        if isinstance(taken, Exception):
            raise taken
        return taken

    def isolate(self, agent: Agent, **options: Any) -> Action:
        """Order its isolation."""
        return isolation.place(
            self.services, self.admin, OrderRequest(agent.machine_id, "because", **options)
        )

    def release(self, agent: Agent) -> Action:
        """Order its release."""
        return self.isolate(agent, isolate=False)

    def deliver(self, agent: Agent) -> dict[str, Any]:
        """Let the agent fetch and obey its order, without reporting."""
        from api.services.checkin import Asked

        taken = self.take(agent.check_in())
        asked = Asked(agent.machine_id, agent.nonce, agent.generation, agent.keys_version)
        body = self.desk.orders([asked])[0]
        assert isinstance(body, bytes)
        assert taken.generation > asked.generation
        order = agent.order_of(agent.believe(body))
        assert order is not None
        agent.obey(order)
        return order

    def machine(self, agent: Agent) -> Machine:
        """Its row."""
        with self.services.database.read() as session:
            return session.get_one(Machine, agent.machine_id)

    def action(self, action: Action) -> Action:
        """The action as it is now."""
        with self.services.database.read() as session:
            return session.get_one(Action, action.id)

    def steps(self, action: Action) -> list[str]:
        """Its timeline's words."""
        with self.services.database.read() as session:
            rows = select(ActionStep.what).where(ActionStep.action_id == action.id).order_by(ActionStep.id)
            return list(session.scalars(rows))

    def audited(self) -> list[str]:
        """The words of the audit log, in order; the chain is checked on the way."""
        import json

        with self.services.database.read() as session:
            assert audit.verify(session, self.services, self.admin.tenant_id).whole
            rows = session.scalars(select(AuditRow.content).order_by(AuditRow.seq))
            return [json.loads(each)["action"] for each in rows]


def make_world(database: Database, directory: Path, settings: Settings | None = None) -> World:
    """A world on this database. Its wake is to be closed by `close_world`."""
    clock = HandClock()
    settings = settings or Settings(state_dir=directory)
    keys = create_keys(directory / "keys", clock.now())
    services = Services(settings, database, clock, keys, open_wake(database))
    return World(services, clock, tenant(services, "first"), CheckIns(services))


def tenant(services: Services, name: str) -> Actor:
    """A new tenant's administrator."""
    tenant_id = str(uuid.uuid4())
    with services.database.write() as session:
        session.add(Tenant(id=tenant_id, name=name, created_at=services.clock.now(), policy={}))
    return Actor(tenant_id, "admin", Role.ADMINISTRATOR, kind="user")


async def until(condition: Any, within_s: float = 10.0) -> None:
    """Wait until the condition holds; AssertionError when it does not in time."""
    end = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not come about"
        await asyncio.sleep(0.01)
