"""The fixture's own promises: both databases are fresh, migrated, and stay apart."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select

from api.store import schema
from api.store.database import Database
from api.store.tables import Tenant

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def _add(database: Database) -> None:
    with database.write() as session:
        session.add(Tenant(id="t", name="Tenant", created_at=AT, policy={}))


def test_is_migrated_and_empty(database: Database) -> None:
    assert schema.current(database) is not None
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Tenant)) == 0
    _add(database)


def test_nothing_is_left_of_the_test_before(database: Database) -> None:
    _add(database)
    with database.read() as session:
        assert session.scalars(select(Tenant.created_at)).all() == [AT]


def test_a_second_worker_sees_the_same_rows(database: Database, database_url: str) -> None:
    _add(database)
    other = Database(database_url)
    try:
        with other.read() as session:
            assert session.scalar(select(func.count()).select_from(Tenant)) == 1
    finally:
        other.close()
