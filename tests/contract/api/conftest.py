"""Both databases for the controller's contract tests: every test with `database` runs on each.

The shape is made once per session and copied for every test: 0.1 s instead of a run of the migrations.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.store import schema
from api.store.database import Database
from tests.contract.api import postgresql

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """A PostgreSQL of this session's own; skipped with the probe's code where there is none."""
    programs = postgresql.probe()
    if isinstance(programs, postgresql.Missing):
        pytest.skip(f"{programs.code}: {programs.detail}")
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite file of today's shape."""
    file = tmp_path_factory.mktemp("shape") / "shape.db"
    _shape(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgresql_shape(postgresql_server: postgresql.Server) -> str:
    """The name of an empty PostgreSQL database of today's shape."""
    postgresql_server.create("shape")
    _shape(postgresql_server.url("shape"))
    return "shape"


@contextmanager
def _fresh(request: pytest.FixtureRequest, directory: Path) -> Iterator[str]:
    if request.param == "sqlite":
        file = directory / "controller.db"
        shutil.copyfile(request.getfixturevalue("sqlite_shape"), file)
        yield f"sqlite:///{file}"
        return
    shape = request.getfixturevalue("postgresql_shape")
    server: postgresql.Server = request.getfixturevalue("postgresql_server")
    name = f"test_{secrets.token_hex(6)}"
    server.create(name, shape)
    try:
        yield server.url(name)
    finally:
        server.drop(name)


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh database of today's shape, gone after the test; once per backend."""
    with _fresh(request, tmp_path) as url:
        yield url


@pytest.fixture(scope="module", params=BACKENDS)
def module_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One database for all tests of a module, for those that roll back what they do; once per backend."""
    with _fresh(request, tmp_path_factory.mktemp("module")) as url:
        opened = Database(url)
        yield opened
        opened.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh, migrated, empty database; once per backend. `Database(database_url)` is another worker's."""
    opened = Database(database_url)
    yield opened
    opened.close()


def _shape(url: str) -> None:
    opened = Database(url)
    try:
        schema.upgrade(opened)
        if opened.is_sqlite:
            with opened.engine.connect() as connection:  # the file alone must be the whole of it
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        opened.close()
