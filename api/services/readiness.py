"""Whether this process can do its work now."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from api.services.context import Services
from api.store.tables import Tenant
from isolator.model.signed import Refused

MIN_FREE_BYTES = 16 * 1024 * 1024


def troubles(services: Services) -> dict[str, str]:
    """What is in the way, by part; empty when nothing is. Says nothing that a stranger may not know."""
    found = {
        "database": _database(services),
        "keys": _keys(services),
        "disk": _disk(services),
    }
    return {part: sentence for part, sentence in found.items() if sentence}


def _database(services: Services) -> str:
    try:
        with services.database.read() as session:
            session.scalars(select(Tenant.id).limit(1)).first()
    except SQLAlchemyError:
        return "the database does not answer"
    return ""


def _keys(services: Services) -> str:
    """Agents obey no key of a set that is over."""
    try:
        expires_at = services.keys.expires_at
        known = services.keys.order_keys
    except (Refused, ValueError, KeyError):
        return "the key set is not signed by the root"
    if services.keys.order_key_id not in known:
        return "the order key is not in the key set"
    return "the key set is over" if expires_at <= services.clock.now() else ""


def _disk(services: Services) -> str:
    url = services.database.url
    directory = services.settings.state_dir
    if services.database.is_sqlite and url.database:
        directory = Path(url.database).parent
    probe = directory / f".ready-{os.getpid()}"
    try:
        free = shutil.disk_usage(directory).free
        probe.write_bytes(b"ready")
        probe.unlink()
    except OSError as error:
        return f"the state directory cannot be written: {error.strerror}"
    return "the disk is nearly full" if free < MIN_FREE_BYTES else ""
