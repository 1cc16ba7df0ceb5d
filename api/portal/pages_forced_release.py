"""A release file for a machine that cannot reach the controller."""

from __future__ import annotations

import json

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from api.deps import ServicesOf
from api.portal.rendering import page
from api.portal.visitor import ActingAdministrator, Administrator, PostedForm, Visitor
from api.problems import Problem
from api.services.context import Services
from api.services.forced_release import forced_release
from api.services.machines import find
from isolator.core.signed import encode_envelope

router = APIRouter()

HOUR_S = 3600.0
MOST_HOURS = 30 * 24


@router.get("/machines/{name}/forced-release")
def form(name: str, visitor: Administrator, services: ServicesOf) -> HTMLResponse:
    """What such a file does, and the form for it."""
    return _form(name, visitor, services)


@router.post("/machines/{name}/forced-release")
def make(name: str, visitor: ActingAdministrator, form: PostedForm, services: ServicesOf) -> Response:
    """The signed file, as a download: once used on the device, it is worth nothing."""
    assert visitor.actor is not None
    try:
        hours = form.number("hours", least=1, most=MOST_HOURS, label="hours")
        action, envelope = forced_release(services, visitor.actor, name, form.text("comment"), hours * HOUR_S)
    except Problem as problem:
        if problem.status == 404:
            raise
        return _form(name, visitor, services, problem)
    # Named after the id: a computer's name may hold anything.
    file = f"forced-release-{action.machine_id[:12]}.json"
    return Response(
        json.dumps(encode_envelope(envelope)) + "\n",
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{file}"'},
    )


def _form(name: str, visitor: Visitor, services: Services, problem: Problem | None = None) -> HTMLResponse:
    assert visitor.actor is not None
    with services.database.read() as session:
        machine = find(session, visitor.actor, name)
    return page(
        "orders/forced_release.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        machine=machine,
        problem=problem,
        most_hours=MOST_HOURS,
    )
