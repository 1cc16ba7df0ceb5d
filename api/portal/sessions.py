"""Signed-in browsers. The cookie's value is 256 random bits; the database knows only its hash.

A session ends after `session_idle_s` without a deliberate request and after `session_lasts_s` in any case.
What a page fetches by itself (live updates) does not count as activity, or no session would ever be idle.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select

from api.services.context import Services
from api.store.tables import Session as SessionRow
from api.store.tables import User

COOKIE = "__Host-isolator"
"""The prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis, 4.1.3.2)."""

TOUCHED_AFTER = timedelta(seconds=30)
"""Activity is written down at most this often; idle time is exact to that."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A live session and its person."""

    user: User
    session: SessionRow


def begin(services: Services, user: User, *, instead_of: str = "") -> str:
    """A new session for a person who has just shown who they are; gives the cookie's value.

    `instead_of`: the cookie the browser had; it is worth nothing afterwards (session fixation).
    """
    token = secrets.token_urlsafe(32)
    now = services.clock.now()
    with services.database.write() as session:
        session.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
        if instead_of:
            session.execute(delete(SessionRow).where(SessionRow.token_hash == _hash(instead_of)))
        session.add(
            SessionRow(
                token_hash=_hash(token),
                user_id=user.id,
                csrf_token=secrets.token_urlsafe(32),
                created_at=now,
                seen_at=now,
                expires_at=now + timedelta(seconds=services.settings.session_lasts_s),
            )
        )
    return token


def find(services: Services, token: str, *, live: bool = False) -> SignedIn | None:
    """The session of a cookie; None when there is none, it is over, or the account is disabled.

    `live`: the page asked by itself, which is no activity.
    """
    if not token or len(token) > 200:
        return None
    now = services.clock.now()
    idle = timedelta(seconds=services.settings.session_idle_s)
    with services.database.read() as session:
        found = session.execute(
            select(SessionRow, User)
            .join(User, User.id == SessionRow.user_id)
            .where(SessionRow.token_hash == _hash(token))
        ).one_or_none()
    if found is None:
        return None
    row, user = found
    if row.expires_at <= now or row.seen_at + idle <= now or user.disabled_at is not None:
        return None
    if not live and row.seen_at + TOUCHED_AFTER <= now:
        _touch(services, row.token_hash)
    return SignedIn(user, row)


def end(services: Services, token: str) -> None:
    """Sign one browser out; nothing when it was not signed in."""
    with services.database.write() as session:
        session.execute(delete(SessionRow).where(SessionRow.token_hash == _hash(token)))


def end_all(services: Services, user: User, *, but: str = "") -> int:
    """Sign a person out everywhere (`but`: except the browser with this cookie); gives how many."""
    doomed = select(SessionRow).where(SessionRow.user_id == user.id)
    if but:
        doomed = doomed.where(SessionRow.token_hash != _hash(but))
    with services.database.write() as session:
        rows = session.scalars(doomed).all()
        for row in rows:
            session.delete(row)
    return len(rows)


def _touch(services: Services, token_hash: str) -> None:
    with services.database.write() as session:
        row = session.get(SessionRow, token_hash)
        if row is not None:
            row.seen_at = services.clock.now()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
