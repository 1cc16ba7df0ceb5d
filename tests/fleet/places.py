"""Where a fleet's controller keeps its data: SQLite in a directory, or a PostgreSQL of its own."""

from __future__ import annotations

import os
import resource
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from api.store.database import Database
from tests.contract.api import postgresql
from tests.fleet.controller import Controller
from tests.fleet.postmaster import Postmaster

SETTINGS = {
    "isolations_per_hour": 1_000_000,
    "calls_per_minute": 1_000_000,
    "calls_per_hour": 1_000_000,
    "logins_per_minute": 1_000_000,
}
"""The limits are tested elsewhere."""


@dataclass
class Place:
    """A controller that is not started yet, and its database for looking into."""

    controller: Controller
    database: Database


@contextmanager
def place(directory: Path, backend: str, **settings: object) -> Iterator[Place]:
    """A controller's place for the length of the block. RuntimeError without PostgreSQL."""
    if backend == "sqlite":
        with _opened(directory, f"sqlite:///{directory / 'controller.db'}", settings) as made:
            yield made
        return
    programs = postgresql.probe()
    if isinstance(programs, postgresql.Missing):
        raise RuntimeError(f"{programs.code}: {programs.detail}")
    with postgresql.running(programs) as server:
        server.create("fleet")
        with _opened(directory, server.url("fleet"), settings) as made:
            yield made


@contextmanager
def place_to_kill(directory: Path) -> Iterator[tuple[Place, Postmaster]]:
    """A place on a PostgreSQL that may be killed. RuntimeError without PostgreSQL."""
    programs = postgresql.probe()
    if isinstance(programs, postgresql.Missing):
        raise RuntimeError(f"{programs.code}: {programs.detail}")
    # Not below `directory`: that one is closed to PostgreSQL's account, and too long for a socket.
    with tempfile.TemporaryDirectory(prefix="isolator-pg-", dir="/tmp", ignore_cleanup_errors=True) as home:
        if os.geteuid() == 0:
            shutil.chown(home, postgresql.ACCOUNT, postgresql.ACCOUNT)
        postmaster = Postmaster(programs, Path(home))
        postmaster.start()
        try:
            postmaster.server.create("fleet")
            with _opened(directory, postmaster.server.url("fleet"), {}) as made:
                yield made, postmaster
        finally:
            postmaster.end()


def serve_tls(made: Place) -> None:
    """Give the controller a certificate for loopback, and its callers the authority."""
    authority = trustme.CA()
    chain, key = made.controller.directory / "chain.pem", made.controller.directory / "key.pem"
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(key))
    for number, each in enumerate(certificate.cert_chain_pems):
        each.write_to_path(str(chain), append=number > 0)
    made.controller.settings = {**made.controller.settings, "tls_cert": chain, "tls_key": key}
    made.controller.tls = ssl.create_default_context()
    authority.configure_trust(made.controller.tls)


@contextmanager
def _opened(directory: Path, url: str, settings: dict[str, object]) -> Iterator[Place]:
    controller = Controller(directory, url, {**SETTINGS, **settings})
    database = Database(url)
    try:
        yield Place(controller, database)
    finally:
        controller.close()
        database.close()


def limits_of_open_files(wanted: int) -> None:
    """Let this process, and those it starts, hold as many connections. RuntimeError when that is refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise RuntimeError(f"{wanted} open files are needed, {hard} are allowed (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
