"""Thousands of enrolled agents at once: their rows are written directly, which is not what is measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, select

from api.services.keys import load_keys
from api.store.database import Database
from api.store.tables import Machine, Tenant
from isolator.core.signed import encode_envelope, public_bytes
from tests.fleet.agent import Agent


def seed(database: Database, state_dir: Path, count: int) -> list[Agent]:
    """`count` agents of the first tenant, and what the enrolment would have told them."""
    keys = load_keys(state_dir / "keys")
    agents = [Agent(f"sim-{number:05}") for number in range(count)]
    now = datetime.now(UTC)
    with database.write() as session:
        tenant_id = session.scalars(select(Tenant.id).limit(1)).one()
        session.execute(
            insert(Machine),
            [
                {
                    "id": each.machine_id,
                    "tenant_id": tenant_id,
                    "public_key": public_bytes(each.key),
                    "computer_name": each.name,
                    "first_seen": now,
                    "last_seen": now,
                    "enrolled_at": now,
                    "os_platform": "Linux",
                    "past_incarnations": [],
                    "tags": [],
                    "facts": {},
                }
                for each in agents
            ],
        )
    for each in agents:
        each.pin(keys.root_public, encode_envelope(keys.keyset))
    return agents
