"""Groups, and which group and tags a machine has; what was looked into."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.deps import ServicesOf
from api.portal.group_choice import chosen_group
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingAdministrator, Administrator, PostedForm, Visitor
from api.problems import Problem
from api.services import groups, membership
from api.services.context import Services

router = APIRouter()


@router.get("/groups")
def listing(visitor: Administrator, services: ServicesOf) -> HTMLResponse:
    """Every group with the number of its machines, and the form for a new one."""
    return _groups(visitor, services)


@router.post("/groups")
def create(visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> Response:
    """Add a group."""
    assert visitor.actor is not None
    try:
        groups.create_group(services, visitor.actor, form.text("name"))
    except Problem as problem:
        return _groups(visitor, services, problem, form.text("name"))
    return RedirectResponse(f"{PREFIX}/groups", 303)


@router.post("/machines/{name}/place")
def place(name: str, visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> Response:
    """Put a machine into a group and give it tags (separated by commas)."""
    assert visitor.actor is not None
    groups.place_machine(services, visitor.actor, name, chosen_group(form))
    groups.set_tags(services, visitor.actor, name, form.text("tags").split(","))
    return RedirectResponse(f"{PREFIX}/machines/{name}", 303)


@router.post("/machines/{name}/dismiss-duplicate")
def dismiss(name: str, visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> Response:
    """Somebody has looked into a suspected clone; reports count again."""
    assert visitor.actor is not None
    membership.dismiss_duplicate(services, visitor.actor, name, form.text("comment"))
    return RedirectResponse(f"{PREFIX}/machines/{name}", 303)


def _groups(
    visitor: Visitor, services: Services, problem: Problem | None = None, name: str = ""
) -> HTMLResponse:
    assert visitor.actor is not None
    return page(
        "groups.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        groups=groups.list_groups(services, visitor.actor),
        problem=problem,
        name=name,
    )
