"""What an administrator does at the controller's own console. Each command gives its exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from api.core.instant import render_instant
from api.core.roles import Actor, Role
from api.problems import Problem
from api.services import audit, clients, enrolment, users
from api.services.context import Services
from api.services.forced_release import forced_release
from api.services.keys import rotate_order_key
from api.settings import Settings
from api.store.database import Database
from api.store.tables import Group, Tenant
from api.store.transfer import back_up, copy_all, restore
from api.wiring import build_services, console_actor
from isolator.core.signed import encode_envelope

OK, FAILED, USAGE = 0, 1, 2

Command = Callable[[argparse.Namespace, Settings], int]


def client_create(args: argparse.Namespace, settings: Settings) -> int:
    """Print id and secret of a new API client, once."""
    services, actor = _ready(args, settings)
    made = clients.create(services, actor, args.name, Role(args.role), _groups(services, actor, args.group))
    value = {
        "tenant_id": actor.tenant_id,
        "client_id": made.client.id,
        "client_secret": made.secret,
        "role": args.role,
    }
    lines = (f"tenant  {actor.tenant_id}", f"id      {made.client.id}", f"secret  {made.secret}")
    return _print(args, value, *lines, note="The secret is not shown again.")


def client_list(args: argparse.Namespace, settings: Settings) -> int:
    """List API clients."""
    services, actor = _ready(args, settings)
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "role": each.role,
            "revoked": each.revoked_at is not None,
            "last_used_at": render_instant(each.last_used_at),
        }
        for each in clients.listing(services, actor)
    ]
    lines = (
        f"{row['id']}  {row['role']:<13}  {'revoked' if row['revoked'] else 'live':<7}  {row['name']}"
        for row in rows
    )
    return _print(args, {"clients": rows}, *lines)


def client_revoke(args: argparse.Namespace, settings: Settings) -> int:
    """Revoke an API client by id."""
    services, actor = _ready(args, settings)
    client = clients.revoke(services, actor, args.id)
    return _print(args, {"id": client.id, "revoked": True}, f"{client.name} is revoked")


def user_create(args: argparse.Namespace, settings: Settings) -> int:
    """Print the first password of a new portal account, once."""
    services, actor = _ready(args, settings)
    made = users.create(services, actor, args.name, Role(args.role), _groups(services, actor, args.group))
    value = {"name": made.user.name, "password": made.password, "role": args.role}
    lines = (f"name      {made.user.name}", f"password  {made.password}")
    return _print(args, value, *lines, note="It must be changed at the first sign-in and is not shown again.")


def enrolment_create(args: argparse.Namespace, settings: Settings) -> int:
    """Print a new enrolment token, once."""
    services, actor = _ready(args, settings)
    groups = _groups(services, actor, args.group)
    made = enrolment.create_token(
        services, actor, uses=args.uses, lasts_s=args.duration, group_id=groups[0] if groups else None
    )
    expires = render_instant(made.row.expires_at)
    value = {"enrolment_token": made.text, "uses": args.uses, "expires_at": expires}
    return _print(args, value, made.text, note=f"Good for {args.uses} machine(s) until {expires}.")


def enrolment_list(args: argparse.Namespace, settings: Settings) -> int:
    """List enrolment tokens; their texts are not known any more."""
    services, actor = _ready(args, settings)
    rows = [
        {
            "id": each.id,
            "hint": each.hint,
            "uses_left": each.uses_left,
            "uses": each.uses,
            "expires_at": render_instant(each.expires_at),
            "revoked": each.revoked_at is not None,
        }
        for each in enrolment.list_tokens(services, actor)
    ]
    lines = (
        f"{row['id']}  {row['hint']}…  {row['uses_left']} left  until {row['expires_at']}"
        f"{'  revoked' if row['revoked'] else ''}"
        for row in rows
    )
    return _print(args, {"tokens": rows}, *lines)


def enrolment_revoke(args: argparse.Namespace, settings: Settings) -> int:
    """Revoke an enrolment token by id."""
    services, actor = _ready(args, settings)
    row = enrolment.revoke_token(services, actor, args.id)
    return _print(args, {"id": row.id, "revoked": True}, f"{row.hint}… is revoked")


def force_release(args: argparse.Namespace, settings: Settings) -> int:
    """Write a signed release file for one machine."""
    services, actor = _ready(args, settings)
    if args.output.exists():
        print(f"isolator-api: {args.output} exists already; choose another name", file=sys.stderr)
        return USAGE
    # Opened before anything is ordered: a place that refuses must not cost a generation.
    descriptor = os.open(args.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            action, envelope = forced_release(
                services, actor, args.machine, args.comment, args.duration, above=args.above
            )
            json.dump(encode_envelope(envelope), file)
            file.write("\n")
    except BaseException:
        args.output.unlink(missing_ok=True)
        raise
    value = {"action_id": action.id, "machine_id": action.machine_id, "file": str(args.output)}
    note = f"On the device: isolator release --file {args.output.name}"
    return _print(args, value, f"{args.output} lets {action.machine_id} go, once", note=note)


def audit_verify(args: argparse.Namespace, settings: Settings) -> int:
    """Walk the audit chain of every tenant; exit 1 names the first broken row."""
    services = _opened(args, settings)
    verdicts: dict[str, dict[str, Any]] = {}
    with services.database.read() as session:
        for tenant in session.scalars(select(Tenant).order_by(Tenant.created_at)).all():
            if args.tenant in (None, tenant.id, tenant.name):
                found = audit.verify(session, services, tenant.id)
                verdicts[tenant.name] = {
                    "whole": found.whole,
                    "rows": found.rows,
                    "head": found.head,
                    "broken_seq": found.broken_seq,
                    "reason": found.reason,
                }
    lines = (
        f"{name}: whole, {each['rows']} rows, head {each['head'][:16]}"
        if each["whole"]
        else f"{name}: BROKEN at row {each['broken_seq']}: {each['reason']}"
        for name, each in verdicts.items()
    )
    _print(args, {"tenants": verdicts}, *lines)
    return OK if all(each["whole"] for each in verdicts.values()) else FAILED


def audit_export(args: argparse.Namespace, settings: Settings) -> int:
    """Print the audit log, one JSON row a line."""
    services, actor = _ready(args, settings)
    with services.database.read() as session:
        for link in audit.rows(session, actor.tenant_id):
            row = {"seq": link.seq, "content": link.content, "previous": link.previous, "hash": link.hash}
            print(json.dumps(row, ensure_ascii=False))
    return OK


def keys_rotate(args: argparse.Namespace, settings: Settings) -> int:
    """Make a new order key, vouched for by the root."""
    from datetime import UTC, datetime

    root = args.root or settings.state_dir / "keys" / "root.key"
    _opened(args, settings)  # keys without a database to note it in are not rotated
    ring = rotate_order_key(settings.state_dir / "keys", root, datetime.now(UTC), retire=args.retire)
    _note_rotation(args, settings, ring.order_key_id)
    note = "Restart the controller; agents take the new key with their next check-in."
    return _print(args, {"key_id": ring.order_key_id}, f"order key {ring.order_key_id}", note=note)


def _note_rotation(args: argparse.Namespace, settings: Settings, key_id: str) -> None:
    """In every tenant's audit log; its head is then signed with the new key."""
    services = _opened(args, settings)
    with services.database.write() as session:
        for tenant in session.scalars(select(Tenant).order_by(Tenant.created_at)).all():
            actor = console_actor(services, tenant.id)
            audit.record(session, services, actor, "keys.rotate", key_id, {"retired": args.retire})


def backup(args: argparse.Namespace, settings: Settings) -> int:
    """Write the whole database to one file; the keys are files of their own."""
    rows = back_up(_opened(args, settings).database, args.file, _progress)
    note = f"Keep {settings.state_dir / 'keys'} as well: without its keys no agent obeys."
    return _print(args, {"file": str(args.file), "rows": rows}, f"{args.file}: {rows} rows", note=note)


def restore_backup(args: argparse.Namespace, settings: Settings) -> int:
    """Fill an empty database from a backup."""
    rows = restore(args.file, _other(args, settings.database_url), _progress)
    return _print(args, {"rows": rows}, f"{rows} rows restored")


def move(args: argparse.Namespace, settings: Settings) -> int:
    """Copy everything into another, empty database, SQLite or PostgreSQL."""
    rows = copy_all(_opened(args, settings).database, _other(args, args.to), _progress)
    note = "Stop the controller before, and start it with the new address after."
    return _print(args, {"rows": rows}, f"{rows} rows copied", note=note)


def _ready(args: argparse.Namespace, settings: Settings) -> tuple[Services, Actor]:
    services = _opened(args, settings)
    return services, console_actor(services, args.tenant)


def _opened(args: argparse.Namespace, settings: Settings) -> Services:
    """The controller's services; their database is closed when the command is over."""
    services = build_services(settings)
    args.opened.callback(services.database.close)
    return services


def _other(args: argparse.Namespace, url: str) -> Database:
    database = Database(url)
    args.opened.callback(database.close)
    return database


def _groups(services: Services, actor: Actor, names: list[str] | None) -> list[int] | None:
    if not names:
        return None
    with services.database.read() as session:
        known = {
            each.name: each.id
            for each in session.scalars(select(Group).where(Group.tenant_id == actor.tenant_id))
        }
    for name in names:
        if name not in known:
            raise Problem(
                "InvalidInput", f"there is no group {name!a}; there are {', '.join(known) or 'none'}"
            )
    return [known[name] for name in names]


def _progress(table: str, rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{table}: {rows}", end="", file=sys.stderr, flush=True)


def _print(args: argparse.Namespace, value: Any, *lines: str, note: str = "") -> int:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if args.json:
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return OK
    for line in lines:
        print(line)
    if note:
        print(note, file=sys.stderr)
    return OK


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `30m`, `24h` or `7d`."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400}.get(text[-1:])
    if unit is None or not text[:-1].isascii() or not text[:-1].isdigit() or len(text) > 8:
        raise argparse.ArgumentTypeError(f"{text!a} is no duration; write 30m, 24h or 7d")
    return float(int(text[:-1]) * unit)


def file_path(text: str) -> Path:
    """A path that can be one."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("this is no file name")
    return Path(text)
