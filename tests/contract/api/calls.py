"""Calls to a controller under test, and what an agent would have done to an action."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from api.core.action_state import ActionEvent
from api.core.roles import Role
from api.problems import CODES
from api.services import audit, steering
from api.store.tables import Action, Group, Machine, Order
from isolator.core.signed import open_envelope
from isolator.model.signed import Envelope, Kind
from tests.contract.api.controller import ACME, Controller


@dataclass
class Caller:
    """A client of one role with its token."""

    world: Controller
    headers: dict[str, str]

    def get(self, path: str, **options: Any) -> Any:
        """GET under /api."""
        return self.world.http.get(f"/api{path}", headers=self.headers, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """POST a JSON body under /api."""
        options = options or {"json": body}
        return self.world.http.post(f"/api{path}", headers=self.headers, **options)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any method under /api."""
        return self.world.http.request(method, f"/api{path}", headers=self.headers, json=body)

    def isolate(self, machine: Machine | str, **body: Any) -> Any:
        """Order its isolation."""
        machine_id = machine if isinstance(machine, str) else machine.id
        return self.post(f"/machines/{machine_id}/isolate", {"Comment": "because", **body})

    def unisolate(self, machine: Machine, **body: Any) -> Any:
        """Order its release."""
        return self.post(f"/machines/{machine.id}/unisolate", {"Comment": "it is clean", **body})

    def cancel(self, action_id: str) -> Any:
        """Take an order back."""
        return self.post(f"/machineactions/{action_id}/cancel", {"Comment": "a mistake"})


def caller(world: Controller, role: Role, **limits: Any) -> Caller:
    """A new client of this role."""
    return Caller(world, world.headers(role, **limits))


def refusal(answer: Any) -> tuple[int, str]:
    """Status and code of a refusal, whose envelope is looked at on the way."""
    body = answer.json()
    assert set(body) == {"error"}, body
    error = body["error"]
    uuid.UUID(error["target"])
    assert error["message"]
    assert CODES[error["code"]] == answer.status_code
    return answer.status_code, error["code"]


def group(world: Controller, name: str = "desks", tenant: str = ACME) -> int:
    """A new group's id."""
    with world.services.database.write() as session:
        made = Group(tenant_id=tenant, name=name)
        session.add(made)
        session.flush()
        return made.id


def move(world: Controller, action_id: str, *happened: ActionEvent) -> None:
    """What an agent's check-ins do to an action."""
    with world.services.database.write() as session:
        action = session.get_one(Action, action_id)
        machine = session.get_one(Machine, action.machine_id)
        for each in happened:
            steering.advance(session, world.services, machine, action, each, {})


def row(world: Controller, machine: Machine | str) -> Machine:
    """A machine as it is now."""
    with world.services.database.read() as session:
        return session.get_one(Machine, machine if isinstance(machine, str) else machine.id)


def orders(world: Controller, machine: Machine) -> list[dict[str, Any]]:
    """The machine's signed orders, signatures checked, by generation."""
    with world.services.database.read() as session:
        found = session.scalars(
            select(Order).where(Order.machine_id == machine.id).order_by(Order.generation)
        ).all()
    keys = world.services.keys.order_keys
    return [
        open_envelope(Envelope(each.payload, each.key_id, each.signature), Kind.ORDER, keys) for each in found
    ]


def audited(world: Controller, tenant: str = ACME) -> list[dict[str, Any]]:
    """The audit log's contents in order; the chain is verified on the way."""
    with world.services.database.read() as session:
        assert audit.verify(session, world.services, tenant).whole
        found = [dict(link.content) for link in audit.rows(session, tenant)]
    json.dumps(found)
    return found


def words(world: Controller, tenant: str = ACME) -> list[str]:
    """The audit log's words in order."""
    return [each["action"] for each in audited(world, tenant)]
