"""People who may sign in: made, their password reset, disabled."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.deps import ServicesOf
from api.portal.group_choice import choices, chosen_groups, chosen_role
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingAdministrator, Administrator, PostedForm, Visitor
from api.problems import Problem
from api.services import users
from api.services.context import Services

router = APIRouter()


@router.get("/users")
def listing(visitor: Administrator, services: ServicesOf) -> HTMLResponse:
    """Every account, and the form for a new one."""
    return _users(visitor, services)


@router.post("/users")
def create(visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> HTMLResponse:
    """Make an account; this answer is the only one that shows its first password."""
    assert visitor.actor is not None
    try:
        made = users.create(
            services, visitor.actor, form.text("name"), chosen_role(form), chosen_groups(form)
        )
    except Problem as problem:
        return _users(visitor, services, problem=problem, name=form.text("name"))
    return _users(visitor, services, made=made)


@router.post("/users/{user_id}/reset")
def reset(user_id: str, visitor: ActingAdministrator, services: ServicesOf) -> HTMLResponse:
    """A new first password, shown once; the person is signed out everywhere."""
    assert visitor.actor is not None
    try:
        made = users.reset_password(services, visitor.actor, user_id)
    except Problem as problem:
        return _users(visitor, services, problem=problem)
    return _users(visitor, services, made=made)


@router.post("/users/{user_id}/disable")
def disable(user_id: str, visitor: ActingAdministrator, services: ServicesOf) -> Response:
    """Shut the account and end its sessions."""
    assert visitor.actor is not None
    try:
        users.disable(services, visitor.actor, user_id)
    except Problem as problem:
        return _users(visitor, services, problem=problem)
    return RedirectResponse(f"{PREFIX}/users", 303)


@router.post("/users/{user_id}/enable")
def enable(user_id: str, visitor: ActingAdministrator, services: ServicesOf) -> Response:
    """Open a disabled account again."""
    assert visitor.actor is not None
    users.enable(services, visitor.actor, user_id)
    return RedirectResponse(f"{PREFIX}/users", 303)


def _users(
    visitor: Visitor,
    services: Services,
    *,
    made: users.NewUser | None = None,
    problem: Problem | None = None,
    name: str = "",
) -> HTMLResponse:
    assert visitor.actor is not None
    return page(
        "users.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        users=users.listing(services, visitor.actor),
        **choices(services, visitor.actor),
        made=made,
        problem=problem,
        name=name,
    )
