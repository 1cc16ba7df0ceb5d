"""People: accounts made, listed, shut and opened again, passwords given anew."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import Administrator, ServicesOf
from api.schemas.caller import CallerBody, NewUserOut, UserOut, user_out
from api.services import users

router = APIRouter(tags=["users"])


@router.get("/users")
def list_users(actor: Administrator, services: ServicesOf) -> list[UserOut]:
    """All accounts by name, the disabled ones too."""
    return [user_out(each) for each in users.listing(services, actor)]


@router.post("/users", status_code=201)
def create_user(
    body: CallerBody, response: Response, actor: Administrator, services: ServicesOf
) -> NewUserOut:
    """A new account with a first password, which is in this answer and nowhere else."""
    return _new(response, users.create(services, actor, body.name, body.as_role(), body.groups))


@router.post("/users/{user_id}/password")
def reset_password(
    user_id: str, response: Response, actor: Administrator, services: ServicesOf
) -> NewUserOut:
    """A new password, to be changed at the next sign-in; the person is signed out everywhere."""
    return _new(response, users.reset_password(services, actor, user_id))


@router.post("/users/{user_id}/disable")
def disable_user(user_id: str, actor: Administrator, services: ServicesOf) -> UserOut:
    """Shut an account and end its sessions. Twice is no error."""
    return user_out(users.disable(services, actor, user_id))


@router.post("/users/{user_id}/enable")
def enable_user(user_id: str, actor: Administrator, services: ServicesOf) -> UserOut:
    """Open a disabled account again."""
    return user_out(users.enable(services, actor, user_id))


def _new(response: Response, new: users.NewUser) -> NewUserOut:
    response.headers["Cache-Control"] = "no-store"
    return NewUserOut(**user_out(new.user).model_dump(), password=new.password)
