"""Exclusions: what Selective isolation leaves open besides the lists."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.deps import ServicesOf
from api.portal.group_choice import chosen_group, groups_of
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingAdministrator, Administrator, Form, PostedForm, Visitor
from api.problems import Problem
from api.services import exclusions
from api.services.context import Services

router = APIRouter()

MOST_UID = 2**32 - 2


@router.get("/exclusions")
def listing(visitor: Administrator, services: ServicesOf) -> HTMLResponse:
    """Every exclusion, and the form for a new one."""
    return _exclusions(visitor, services)


@router.post("/exclusions")
def create(visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> Response:
    """Add one; orders already given do not change."""
    assert visitor.actor is not None
    try:
        exclusions.create_exclusion(
            services, visitor.actor, form.text("name"), _spec(form), chosen_group(form)
        )
    except Problem as problem:
        return _exclusions(visitor, services, problem, form)
    return RedirectResponse(f"{PREFIX}/exclusions", 303)


@router.post("/exclusions/{exclusion_id}/delete")
def delete(exclusion_id: str, visitor: ActingAdministrator, services: ServicesOf) -> Response:
    """Take one away; machines isolated with it keep it until they are released."""
    assert visitor.actor is not None
    exclusions.delete_exclusion(services, visitor.actor, exclusion_id)
    return RedirectResponse(f"{PREFIX}/exclusions", 303)


def _spec(form: Form) -> dict[str, object]:
    spec: dict[str, object] = {
        "direction": form.text("direction"),
        "remote": form.text("remote"),
        "protocol": form.text("protocol"),
    }
    if form.text("port"):
        spec["port"] = form.number("port", least=1, most=65_535, label="port")
    if form.text("uid"):
        spec["process"] = {"uid": form.number("uid", least=0, most=MOST_UID, label="user id")}
    return spec


def _exclusions(
    visitor: Visitor, services: Services, problem: Problem | None = None, form: Form | None = None
) -> HTMLResponse:
    assert visitor.actor is not None
    groups = groups_of(services, visitor.actor)
    return page(
        "exclusions.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        exclusions=exclusions.list_exclusions(services, visitor.actor),
        groups=groups,
        group_names={each.id: each.name for each in groups},
        problem=problem,
        form=form or Form(),
    )
