"""The database's shape: brought up to date at the start, refused when it is of a newer version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from api.store.database import Database, DatabaseError

_HERE = Path(__file__).parent / "migrations"

_LOCK = 0x69736F6C
"""PostgreSQL advisory lock: workers that start together take turns."""


def upgrade(database: Database) -> None:
    """Bring the database to this version's shape, in one transaction. Nothing happens when it is there.

    DatabaseError when it cannot be reached, or was made by a newer version.
    """
    try:
        with database.engine.begin() as connection:
            if not database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            _refuse_newer(connection)
            config = Config()
            config.set_main_option("script_location", str(_HERE))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise DatabaseError(f"the database cannot be used: {reason}") from error


def _refuse_newer(connection: Connection) -> None:
    present = MigrationContext.configure(connection).get_current_revision()
    known = {each.revision for each in ScriptDirectory(str(_HERE)).walk_revisions()}
    if present is not None and present not in known:
        raise DatabaseError(
            f"the database was made by a newer version ({present}); install that version, or restore a backup"
        )


def current(database: Database) -> str | None:
    """The revision the database is at; None for an empty one."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
