"""People: local accounts with a password, and accounts known by single sign-on."""

from __future__ import annotations

import secrets
import unicodedata
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.core.roles import Actor, Role
from api.problems import Problem, not_found
from api.services import audit, passwords
from api.services.context import Services
from api.services.reach import check_groups, within
from api.store.tables import Session as SessionRow
from api.store.tables import Tenant
from api.store.tables import User as User

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account just made, and the only sight of its first password; it must be changed at once."""

    user: User
    password: str


def create(
    services: Services, actor: Actor, name: str, role: Role, groups: Iterable[int] | None = None
) -> NewUser:
    """A local account with a random first password.

    Problem: InvalidInput for an unfit name or an unknown group, Conflict for a name in use.
    """
    password = secrets.token_urlsafe(15)
    hashed = passwords.hash_of(password)
    user = _new_user(services, actor.tenant_id, name, role)
    user.password_hash, user.must_change_password = hashed, True
    try:
        with services.database.write() as session:
            user.groups = check_groups(session, actor, groups)
            session.add(user)
            session.flush()
            detail = {"name": user.name, "role": role.value, "groups": user.groups}
            audit.record(session, services, actor, "user.create", user.id, detail)
    except IntegrityError:
        raise Problem("Conflict", f"an account called {user.name} exists already") from None
    return NewUser(user, password)


def listing(services: Services, actor: Actor) -> list[User]:
    """The actor's tenant's accounts by name, disabled ones too; as far as within the actor's groups."""
    query = select(User).where(User.tenant_id == actor.tenant_id).order_by(User.name)
    with services.database.read() as session:
        return [each for each in session.scalars(query) if within(actor, each.groups)]


def authenticate(services: Services, name: str, password: str, address: str) -> User:
    """The person with this name and password. `name` may be `tenant/name` where names are not unique.

    Problem: Unauthorized for any mismatch, whichever it was; TooManyRequests after too many of them, before
    the password is even looked at; ServiceUnavailable when too many others are signing in.
    """
    name = _spelled(name)[: 2 * MAX_NAME]
    services.limits.refuse_guessing(services.settings, address, name)
    with services.database.read() as session:
        user = _by_name(session, name)
    if not passwords.matches(user.password_hash if user else None, password) or user is None:
        services.limits.wrong_secret(services.settings, address, name)
        _record_failure(services, name, user, address)
        raise Problem("Unauthorized", "name or password is wrong")
    return _signed_in(services, user, address, rehash=password)


def authenticate_subject(services: Services, user_id: str, address: str) -> User:
    """The live account that single sign-on has vouched for. Problem Unauthorized when it is disabled."""
    with services.database.read() as session:
        user = session.get(User, user_id)
    if user is None or user.disabled_at is not None:
        raise Problem("Unauthorized", "the account is disabled")
    return _signed_in(services, user, address)


def provide_subject(
    services: Services, tenant_id: str, subject: str, name: str, role: Role, groups: Iterable[int] | None
) -> User:
    """The account of a person whom the identity provider knows as `issuer|sub`, made when it is missing.

    Role and groups are what the provider says today. Somebody else's name is not taken over: the new account
    gets a number behind its name.
    """
    system = Actor(tenant_id, "single sign-on", Role.ADMINISTRATOR, kind="system")
    with services.database.write() as session:
        user = session.scalars(select(User).where(User.subject == subject).with_for_update()).one_or_none()
        if user is not None and user.tenant_id != tenant_id:
            raise Problem("Forbidden", "this person belongs to another tenant")
        wanted = check_groups(session, system, groups)
        if user is None:
            user = _new_user(services, tenant_id, _free_name(session, tenant_id, _spelled(name)), role)
            user.subject, user.groups = subject, wanted
            session.add(user)
            audit.record(session, services, system, "user.create", user.id, _standing(user))
        elif (user.role, user.groups) != (role.value, wanted):
            user.role, user.groups = role.value, wanted
            audit.record(session, services, system, "user.change", user.id, _standing(user))
    return user


def change_password(services: Services, user: User, old: str, new: str, address: str) -> None:
    """Set a person's own new password; every browser session of theirs ends but what the caller begins anew.

    Problem: Unauthorized for a wrong old one (throttled like sign-in), InvalidInput for an unfit new one.
    """
    services.limits.refuse_guessing(services.settings, address, user.name)
    if not passwords.matches(user.password_hash, old):
        services.limits.wrong_secret(services.settings, address, user.name)
        raise Problem("Unauthorized", "the present password is wrong")
    if old == new:
        raise Problem("InvalidInput", "the new password is the old one")
    passwords.check_fitness(new, user.name)
    _set_password(services, actor_for(user), user.id, new, must_change=False)


def reset_password(services: Services, actor: Actor, user_id: str) -> NewUser:
    """A new random password, shown once, to be changed at the next sign-in; the person is signed out."""
    password = secrets.token_urlsafe(15)
    with services.database.read() as session:
        _of_actor(session, actor, user_id)
    return NewUser(_set_password(services, actor, user_id, password, must_change=True), password)


def disable(services: Services, actor: Actor, user_id: str) -> User:
    """Shut an account and end its sessions. Twice is no error; one's own is Problem Conflict."""
    if user_id == actor.id:
        raise Problem("Conflict", "you cannot disable yourself")
    with services.database.write() as session:
        user = _of_actor(session, actor, user_id)
        if user.disabled_at is None:
            user.disabled_at = services.clock.now()
            session.execute(delete(SessionRow).where(SessionRow.user_id == user.id))
            audit.record(session, services, actor, "user.disable", user.id, {"name": user.name})
    return user


def enable(services: Services, actor: Actor, user_id: str) -> User:
    """Open a disabled account again; its password is what it was."""
    with services.database.write() as session:
        user = _of_actor(session, actor, user_id)
        if user.disabled_at is not None:
            user.disabled_at = None
            audit.record(session, services, actor, "user.enable", user.id, {"name": user.name})
    return user


def set_language(services: Services, user_id: str, language: str) -> None:
    """Keep the language a person chose; nothing when the account is gone."""
    with services.database.write() as session:
        user = session.get(User, user_id)
        if user is not None:
            user.language = language[:5]


def actor_for(user: User) -> Actor:
    """Who a person is to the services."""
    return Actor(
        tenant_id=user.tenant_id,
        name=user.name,
        role=Role(user.role),
        kind="user",
        id=user.id,
        groups=None if user.groups is None else frozenset(user.groups),
    )


def _new_user(services: Services, tenant_id: str, name: str, role: Role) -> User:
    name = _spelled(name)
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or "/" in name:
        raise Problem("InvalidInput", f"a name has 1 to {MAX_NAME} printable characters and no slash")
    return User(
        id=str(uuid.uuid4()),
        tenant_id=tenant_id,
        name=name,
        role=role.value,
        created_at=services.clock.now(),
    )


def _by_name(session: Session, name: str) -> User | None:
    """The live account of this name; None when there is none, or when several tenants have one."""
    if not name.isprintable():
        return None
    query = select(User).where(User.disabled_at.is_(None))
    tenant, slash, plain = name.rpartition("/")
    if slash:
        query = query.join(Tenant).where(Tenant.name == tenant)
    found = session.scalars(query.where(User.name == plain).limit(2)).all()
    return found[0] if len(found) == 1 else None


def _free_name(session: Session, tenant_id: str, name: str) -> str:
    name = name.replace("/", "_")[: MAX_NAME - 4] or "person"
    taken = set(session.scalars(select(User.name).where(User.tenant_id == tenant_id)))
    return next(
        each for each in (name, *(f"{name} {number}" for number in range(2, 1000))) if each not in taken
    )


def _of_actor(session: Session, actor: Actor, user_id: str) -> User:
    user = session.get(User, user_id, with_for_update=True)
    if user is None or user.tenant_id != actor.tenant_id or not within(actor, user.groups):
        raise not_found("Account", user_id)
    return user


def _signed_in(services: Services, user: User, address: str, *, rehash: str | None = None) -> User:
    fresh = None
    if rehash is not None and passwords.is_outdated(user.password_hash or ""):
        fresh = passwords.hash_of(rehash)
    with services.database.write() as session:
        row = session.get_one(User, user.id)
        row.last_login_at = services.clock.now()
        row.password_hash = fresh or row.password_hash
        audit.record(session, services, actor_for(row), "user.sign_in", row.id, {"address": address})
    return row


def _set_password(
    services: Services, actor: Actor, user_id: str, password: str, *, must_change: bool
) -> User:
    hashed = passwords.hash_of(password)
    with services.database.write() as session:
        user = _of_actor(session, actor, user_id) if actor.id != user_id else session.get_one(User, user_id)
        if user.subject is not None:
            raise Problem("InvalidInput", "this person signs in elsewhere and has no password here")
        user.password_hash, user.must_change_password = hashed, must_change
        session.execute(delete(SessionRow).where(SessionRow.user_id == user_id))
        audit.record(session, services, actor, "user.password", user_id, {"must_change": must_change})
    return user


def _record_failure(services: Services, name: str, user: User | None, address: str) -> None:
    """One row, whether the account exists or not: the time taken must not tell. A name nobody has is not
    written down; people type their password there.
    """
    with services.database.write() as session:
        if user is not None:
            actor = actor_for(user)
        else:
            wanted = Tenant.name == name.rpartition("/")[0]
            tenant = session.scalars(
                select(Tenant).order_by(wanted.desc(), Tenant.created_at, Tenant.id).limit(1)
            ).first()
            if tenant is None:
                return
            actor = Actor(tenant.id, "unknown", Role.READER, kind="user")
        audit.record(session, services, actor, "user.sign_in_failed", actor.id, {"address": address})


def _standing(user: User) -> dict[str, object]:
    return {"name": user.name, "role": user.role, "groups": user.groups}


def _spelled(text: str) -> str:
    """One spelling of what looks the same, without what a keyboard adds at the ends."""
    return unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode()).strip()
