"""API clients: made, their secret shown once, revoked."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.deps import ServicesOf
from api.portal.group_choice import choices, chosen_groups, chosen_role
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingAdministrator, Administrator, PostedForm, Visitor
from api.problems import Problem
from api.services import clients
from api.services.context import Services

router = APIRouter()


@router.get("/clients")
def listing(visitor: Administrator, services: ServicesOf) -> HTMLResponse:
    """Every client, and the form for a new one."""
    return _clients(visitor, services)


@router.post("/clients")
def create(visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> HTMLResponse:
    """Make a client; this answer is the only one that shows its secret."""
    assert visitor.actor is not None
    try:
        made = clients.create(
            services, visitor.actor, form.text("name"), chosen_role(form), chosen_groups(form)
        )
    except Problem as problem:
        return _clients(visitor, services, problem=problem, name=form.text("name"))
    return _clients(visitor, services, made=made)


@router.post("/clients/{client_id}/revoke")
def revoke(client_id: str, visitor: ActingAdministrator, services: ServicesOf) -> Response:
    """Make a client's secret and tokens worthless."""
    assert visitor.actor is not None
    clients.revoke(services, visitor.actor, client_id)
    return RedirectResponse(f"{PREFIX}/clients", 303)


def _clients(
    visitor: Visitor,
    services: Services,
    *,
    made: clients.NewClient | None = None,
    problem: Problem | None = None,
    name: str = "",
) -> HTMLResponse:
    assert visitor.actor is not None
    return page(
        "clients.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        clients=clients.listing(services, visitor.actor),
        **choices(services, visitor.actor),
        made=made,
        problem=problem,
        name=name,
        tenant_id=visitor.actor.tenant_id,
        url=services.settings.url,
    )
