"""isolator-api: serve the controller, and what an administrator does at its console."""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import uvicorn
from sqlalchemy import select

from api.app import create_app
from api.services.context import Services, SystemClock
from api.services.keys import KeysError, create_keys
from api.settings import Settings, SettingsError, load_settings
from api.store import schema
from api.store.database import Database, DatabaseError
from api.store.tables import Tenant

OK, FAILED, USAGE = 0, 1, 2


class NoWake:
    """For the console: the serving process finds new orders by its sweep."""

    def machines(self, machine_ids: Iterable[str]) -> None:
        """Nobody waits in this process."""


def build_services(settings: Settings) -> Services:
    """Database, keys and clock for these settings; makes what is missing."""
    database = Database(settings.database_url)
    clock = SystemClock()
    schema.upgrade(database)
    with database.write() as session:
        if session.scalars(select(Tenant)).first() is None:
            session.add(Tenant(id=str(uuid.uuid4()), name="default", created_at=clock.now()))
    return Services(
        settings, database, clock, create_keys(settings.state_dir / "keys", clock.now()), NoWake()
    )


def _serve(settings: Settings) -> int:
    app = create_app(build_services(settings))
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        log_config=None,
    )
    return OK


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 done, 1 failed, 2 usage or bad input."""
    parser = argparse.ArgumentParser(prog="isolator-api", description=__doc__)
    parser.add_argument("--config", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run controller and portal")
    serve.add_argument("--host")
    serve.add_argument("--port", type=int)
    serve.add_argument("--database")
    serve.add_argument("--tls-cert", type=Path)
    serve.add_argument("--tls-key", type=Path)
    args = parser.parse_args(argv)
    try:
        settings = load_settings(args.config)
        given = {
            name: value
            for name, value in vars(args).items()
            if name in ("host", "port", "database", "tls_cert", "tls_key") and value is not None
        }
        return _serve(replace(settings, **given))
    except (SettingsError, KeysError, DatabaseError) as error:
        print(f"isolator-api: {error}", file=sys.stderr)
        return USAGE
