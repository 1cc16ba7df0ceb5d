"""People: accounts made, listed, shut and opened again, passwords given anew."""

from __future__ import annotations

from fastapi import APIRouter

from api.core.instant import render_instant
from api.core.roles import Role
from api.deps import Administrator, ServicesOf
from api.schemas.access import HolderBody, NewUserOut, UserOut
from api.services import users
from api.store.tables import User

router = APIRouter(tags=["users"])


@router.get("/users")
def list_users(actor: Administrator, services: ServicesOf) -> list[UserOut]:
    """All accounts by name, the disabled ones too."""
    return [_out(each) for each in users.listing(services, actor)]


@router.post("/users", status_code=201)
def create_user(body: HolderBody, actor: Administrator, services: ServicesOf) -> NewUserOut:
    """A new account with a first password, which is in this answer and nowhere else."""
    return _new(users.create(services, actor, body.name, Role(body.role), body.groups))


@router.post("/users/{user_id}/resetpassword")
def reset_password(user_id: str, actor: Administrator, services: ServicesOf) -> NewUserOut:
    """A new password, to be changed at the next sign-in; the person is signed out everywhere."""
    return _new(users.reset_password(services, actor, user_id))


@router.post("/users/{user_id}/disable")
def disable_user(user_id: str, actor: Administrator, services: ServicesOf) -> UserOut:
    """Shut an account and end its sessions. Twice is no error."""
    return _out(users.disable(services, actor, user_id))


@router.post("/users/{user_id}/enable")
def enable_user(user_id: str, actor: Administrator, services: ServicesOf) -> UserOut:
    """Open a disabled account again."""
    return _out(users.enable(services, actor, user_id))


def _new(new: users.NewUser) -> NewUserOut:
    return NewUserOut(**_out(new.user).model_dump(), password=new.password)


def _out(user: User) -> UserOut:
    return UserOut(
        id=user.id,
        name=user.name,
        role=user.role,  # type: ignore[arg-type]  # the table holds just these
        groups=user.groups,
        singleSignOn=user.subject is not None,
        mustChangePassword=user.must_change_password,
        createdDateTimeUtc=render_instant(user.created_at) or "",
        lastSignInDateTimeUtc=render_instant(user.last_login_at),
        disabledDateTimeUtc=render_instant(user.disabled_at),
    )
