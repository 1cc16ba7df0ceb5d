"""API clients: programs with an id, a secret and one role.

A secret is 256 random bits, shown once; the database holds its SHA-256 (a slow hash protects secrets that can
be guessed, this one cannot). Every call looks the client up anew, so that revoking works at once.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from api.core.roles import Actor, Role
from api.problems import Problem, not_found
from api.services import audit
from api.services.context import Services
from api.services.reach import check_groups, within
from api.store.tables import ApiClient

log = logging.getLogger(__name__)

NOTED_AFTER = timedelta(minutes=1)
"""`last_used_at` is written at most this often for one client."""

MAX_NAME = 200
_NO_HASH = "0" * 64
_ID = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client just made, and the only sight of its secret."""

    client: ApiClient
    secret: str


def create(
    services: Services, actor: Actor, name: str, role: Role, groups: Iterable[int] | None = None
) -> NewClient:
    """A new client of the actor's tenant; its secret is in the answer and nowhere else.

    `groups` None: every group; an actor who is limited to groups can give no more than those.
    Problem: InvalidInput for an empty or too long name or an unknown group, Conflict for a name in use.
    """
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise Problem("InvalidInput", f"a client's name has 1 to {MAX_NAME} printable characters")
    secret = secrets.token_urlsafe(32)
    client = ApiClient(
        id=str(uuid.uuid4()),
        tenant_id=actor.tenant_id,
        name=name,
        role=role.value,
        secret_hash=_digest(secret),
        created_at=services.clock.now(),
        created_by=actor.name,
    )
    try:
        with services.database.write() as session:
            client.groups = check_groups(session, actor, groups)
            session.add(client)
            session.flush()
            detail = {"name": name, "role": role.value, "groups": client.groups}
            audit.record(session, services, actor, "client.create", client.id, detail)
    except IntegrityError:
        raise Problem(
            "Conflict", f"a client called {name} exists already; revoked names stay taken"
        ) from None
    return NewClient(client, secret)


def listing(services: Services, actor: Actor) -> list[ApiClient]:
    """The actor's tenant's clients, the revoked ones too, by name; as far as within the actor's groups."""
    query = select(ApiClient).where(ApiClient.tenant_id == actor.tenant_id).order_by(ApiClient.name)
    with services.database.read() as session:
        return [each for each in session.scalars(query) if within(actor, each.groups)]


def revoke(services: Services, actor: Actor, client_id: str) -> ApiClient:
    """Make a client's secret and tokens worthless, from the next call on. Twice is no error.

    Problem ResourceNotFound when it is not the actor's business.
    """
    with services.database.write() as session:
        client = session.get(ApiClient, client_id.lower(), with_for_update=True)
        if client is None or client.tenant_id != actor.tenant_id or not within(actor, client.groups):
            raise not_found("Client", client_id)
        if client.revoked_at is None:
            client.revoked_at = services.clock.now()
            audit.record(session, services, actor, "client.revoke", client.id, {"name": client.name})
    return client


def authenticate(
    services: Services, tenant_id: str, client_id: str, secret: str, address: str
) -> ApiClient | None:
    """The live client of this tenant with this secret; None for any mismatch, whichever it was.

    A right secret passes whatever others guessed before; after too many wrong ones the refusal is
    Problem TooManyRequests. A right one counts as a call against the client's limits.
    """
    client_id = client_id.lower()
    with services.database.read() as session:
        client = _live(session, tenant_id, client_id)
    # Compared even when there is no such client: the time taken says nothing about which ids exist.
    known = client.secret_hash if client is not None else _NO_HASH
    if not hmac.compare_digest(known, _digest(secret)) or client is None:
        services.limits.refuse_guessing(services.settings, address, client_id)
        services.limits.wrong_secret(services.settings, address, client_id)
        return None
    services.limits.call(services.settings, client.id)
    note_use(services, client)
    return client


def find_live(services: Services, tenant_id: str, client_id: str) -> ApiClient | None:
    """The client as it is in the database now; None when unknown, revoked or another tenant's."""
    with services.database.read() as session:
        return _live(session, tenant_id, client_id)


def actor_for(client: ApiClient) -> Actor:
    """Who a client is to the services."""
    return Actor(
        tenant_id=client.tenant_id,
        name=client.name,
        role=Role(client.role),
        kind="client",
        id=client.id,
        groups=None if client.groups is None else frozenset(client.groups),
    )


def note_use(services: Services, client: ApiClient) -> None:
    """Write down that the client was here, now and then; a database that cannot is no reason to refuse."""
    now = services.clock.now()
    if client.last_used_at is not None and now - client.last_used_at < NOTED_AFTER:
        return
    try:
        with services.database.write() as session:
            row = session.get(ApiClient, client.id)
            if row is not None:
                row.last_used_at = now
    except SQLAlchemyError as error:
        log.warning("last use of client %s could not be noted: %s", client.id, type(error).__name__)


def _live(session: Session, tenant_id: str, client_id: str) -> ApiClient | None:
    client = session.get(ApiClient, client_id) if _ID.fullmatch(client_id) else None
    if client is None or client.revoked_at is not None or client.tenant_id != tenant_id:
        return None
    return client


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
