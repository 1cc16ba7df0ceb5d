"""Enrolment tokens: made, shown once, revoked."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.deps import ServicesOf
from api.portal.group_choice import chosen_group, groups_of
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingAdministrator, Administrator, PostedForm, Visitor
from api.problems import Problem
from api.services import enrolment
from api.services.context import Services

router = APIRouter()

HOUR_S = 3600.0
MOST_HOURS = 24 * 90
MOST_USES = 100_000


@router.get("/enrolment")
def tokens(visitor: Administrator, services: ServicesOf) -> HTMLResponse:
    """Every token, and the form for a new one."""
    return _tokens(visitor, services)


@router.post("/enrolment")
def create(visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> HTMLResponse:
    """Make a token; this answer is the only one that shows it."""
    assert visitor.actor is not None
    try:
        made = enrolment.create_token(
            services,
            visitor.actor,
            uses=form.number("uses", least=1, most=MOST_USES, label="uses"),
            lasts_s=form.number("hours", least=1, most=MOST_HOURS, label="hours") * HOUR_S,
            group_id=chosen_group(form),
        )
    except Problem as problem:
        return _tokens(visitor, services, problem=problem)
    return _tokens(visitor, services, made=made)


@router.post("/enrolment/{token_id}/revoke")
def revoke(token_id: str, visitor: ActingAdministrator, services: ServicesOf) -> Response:
    """End a token."""
    assert visitor.actor is not None
    enrolment.revoke_token(services, visitor.actor, token_id)
    return RedirectResponse(f"{PREFIX}/enrolment", 303)


def _tokens(
    visitor: Visitor,
    services: Services,
    *,
    made: enrolment.NewToken | None = None,
    problem: Problem | None = None,
) -> HTMLResponse:
    assert visitor.actor is not None
    groups = groups_of(services, visitor.actor)
    return page(
        "enrolment.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        tokens=enrolment.list_tokens(services, visitor.actor),
        groups=groups,
        group_names={each.id: each.name for each in groups},
        made=made,
        problem=problem,
        url=services.settings.url,
    )
