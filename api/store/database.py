"""Transactions on SQLite or PostgreSQL.

`read()` and `write()` are the only ways in. A write transaction on SQLite begins IMMEDIATE, so that two
writers queue instead of failing half-way; on PostgreSQL rows are locked where a decision depends on them
(`for_update`). Sources: sqlite.org/lang_transaction.html, SQLAlchemy "Serializable isolation / SQLite".
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT_MS = 10_000
"""How long a SQLite writer of another process (backup, command line) may keep us waiting."""

CONNECT_TIMEOUT_S = 10
"""How long a PostgreSQL that does not answer is waited for."""


class DatabaseError(Exception):
    """The database address cannot be used; the message says why."""


class Database:
    """One database and its transactions. Threads may share it."""

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
        except sqlalchemy.exc.ArgumentError as error:
            raise DatabaseError(
                "the database address is no URL such as sqlite:////path or postgresql://…"
            ) from error
        backend = self.url.get_backend_name()
        if backend == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        elif backend != "sqlite":
            raise DatabaseError(f"{backend} is not supported; use sqlite or postgresql")
        self.is_sqlite = backend == "sqlite"
        self.engine = self._engine()
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        # One writer at a time inside this process: waiting here is fair, SQLite's busy handler is not.
        self._writer = threading.Lock()

    def _engine(self) -> Engine:
        if not self.is_sqlite:
            return sqlalchemy.create_engine(
                self.url,
                pool_size=10,
                max_overflow=20,
                pool_pre_ping=True,
                hide_parameters=True,
                connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
            )
        if self.url.database in (None, "", ":memory:"):
            raise DatabaseError(
                "an SQLite database needs a file, for example sqlite:////var/lib/isolator/c.db"
            )
        directory = Path(str(self.url.database)).parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(f"{directory} cannot be made: {error.strerror}") from None
        # Its errors end up in logs; parameters may be personal or secret.
        engine = sqlalchemy.create_engine(self.url, pool_size=10, max_overflow=40, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only looks; whatever it changed is rolled back."""
        with self._sessions() as session:
            yield session
            # What was read stays readable after the block; a rollback would empty it.
            session.expunge_all()
            session.rollback()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that commits at the end, or rolls back when the block raises."""
        if not self.is_sqlite:
            with self._sessions.begin() as session:
                yield session
            return
        with self._writer, self._sessions() as session:
            session.connection(execution_options={"begin": "IMMEDIATE"})
            with _committing(session):
                yield session

    def close(self) -> None:
        """Give every connection back."""
        self.engine.dispose()


@contextmanager
def _committing(session: Session) -> Iterator[None]:
    try:
        yield
        session.commit()
    except BaseException:
        session.rollback()
        raise


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an acknowledged order survives a power cut
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "trusted_schema=OFF",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")
