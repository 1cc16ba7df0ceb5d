"""The list of machines, and one machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import func, select

from api.core.action_state import ACTIVE
from api.core.roles import Actor, Permission
from api.deps import ServicesOf
from api.portal.evidence import read_report
from api.portal.group_choice import groups_of
from api.portal.machine_filter import (
    PAGE_SIZE,
    MachineFilter,
    count,
    matching,
    offline_before,
    parse_filter,
)
from api.portal.rendering import page
from api.portal.visitor import LIVE_HEADER, PREFIX, Person, Reader
from api.services.context import Services
from api.services.machines import find
from api.store.tables import Action, Group, Machine

router = APIRouter()

AGES_S = 15
"""How old "12 seconds ago" may get on an open page."""

HISTORY = 10
"""So many actions a machine's page shows; the rest is one click away."""


@router.get("/")
def home(visitor: Person) -> RedirectResponse:
    """The first page of a role."""
    first = "machines" if visitor.may(Permission.READ.value) else "audit"
    return RedirectResponse(f"{PREFIX}/{first}", 303)


@router.get("/machines")
def machines(request: Request, visitor: Reader, services: ServicesOf) -> Response:
    """The list; for htmx only its changing part, and 204 when that still looks as the page has `seen` it."""
    wanted = parse_filter(request.query_params)
    values = _list(services, visitor.actor, wanted)
    if request.query_params.get("seen") == values["look"]:
        return Response(status_code=204)
    partial = request.headers.get("hx-target") == "results"
    return page(
        "machines/results.html" if partial else "machines/list.html",
        visitor,
        services.clock.now(),
        headers={"vary": "HX-Request"},
        # Read out what a person asked for, not what the page fetches by itself.
        announce=partial and LIVE_HEADER not in request.headers,
        **values,
    )


def _list(services: Services, actor: Actor | None, wanted: MachineFilter) -> dict[str, Any]:
    assert actor is not None
    silent_since = offline_before(services.clock.now(), services.settings.offline_after_s)
    with services.database.read() as session:
        query = matching(wanted, actor, silent_since)
        total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
        rows = session.execute(query.offset((wanted.page - 1) * PAGE_SIZE).limit(PAGE_SIZE)).all()
        active = session.execute(
            select(Action.machine_id, Action.id).where(
                Action.machine_id.in_([machine.id for machine, *_ in rows]),
                Action.status.in_([each.value for each in ACTIVE]),
            )
        ).all()
        counts = count(session, actor, silent_since)
    moving = dict(active)
    return {
        "wanted": wanted,
        "rows": rows,
        "total": total,
        "pages": max(1, -(-total // PAGE_SIZE)),
        "active": moving,
        "counts": counts,
        "groups": groups_of(services, actor),
        "silent_since": silent_since,
        "look": _look_of_list(services, rows, (total, counts, sorted(moving.items()))),
    }


def _look_of_list(services: Services, rows: Sequence[Any], more: object) -> str:
    """What the list shows, as a hash: it changes when the list would, and every few seconds for the ages."""
    shown = [
        (
            each.id,
            each.computer_name,
            each.tags,
            each.desired,
            each.desired_scope,
            each.observed_state,
            each.observed_generation,
            each.verified_at is None,
            each.duplicate_since is None,
            group,
        )
        for each, group in rows
    ]
    ages = int(services.clock.now().timestamp() // AGES_S)
    return hashlib.sha256(repr((shown, more, ages)).encode("utf-8", "replace")).hexdigest()[:16]


@router.get("/machines/{name}")
def machine(name: str, visitor: Reader, services: ServicesOf) -> Response:
    """One machine, by id; a name leads to the id's address, so that links stay true."""
    return _machine(name, visitor, services, "machines/machine.html")


@router.get("/machines/{name}/live")
def machine_live(name: str, seen: str, visitor: Reader, services: ServicesOf) -> Response:
    """The changing part of a machine's page; 204 when it still looks as the page has `seen` it."""
    return _machine(name, visitor, services, "machines/live.html", seen=seen)


def _machine(
    name: str, visitor: Reader, services: Services, template: str, seen: str | None = None
) -> Response:
    assert visitor.actor is not None
    now = services.clock.now()
    with services.database.read() as session:
        found = find(session, visitor.actor, name)
        if found.id != name:
            return RedirectResponse(f"{PREFIX}/machines/{found.id}", 303)
        history = session.scalars(
            select(Action)
            .where(Action.machine_id == found.id)
            .order_by(Action.created_at.desc(), Action.generation.desc())
            .limit(HISTORY + 1)
        ).all()
        group = session.get(Group, found.group_id) if found.group_id is not None else None
        namesakes = session.scalars(
            select(Machine).where(
                Machine.tenant_id == found.tenant_id,
                Machine.name_key == found.name_key,
                Machine.id != found.id,
                Machine.unenrolled_at.is_(None),
            )
        ).all()
    look = _look(found, history[0] if history else None)
    if seen == look:
        return Response(status_code=204)
    return page(
        template,
        visitor,
        now,
        machine=found,
        groups=groups_of(services, visitor.actor),
        group=group,
        history=history[:HISTORY],
        more_history=len(history) > HISTORY,
        active=next((each for each in history if each.ended_at is None), None),
        report=read_report(found.observed),
        namesakes=[each for each in namesakes if visitor.actor.reaches(each.group_id)],
        silent_since=offline_before(now, services.settings.offline_after_s),
        look=look,
    )


def _look(machine: Machine, latest: Action | None) -> str:
    """What the page shows, as a short text: it changes when the page would."""
    parts = (
        machine.generation,
        machine.observed_state,
        machine.observed_generation,
        machine.observed_at.timestamp() if machine.observed_at else 0,
        machine.verified_at.timestamp() if machine.verified_at else 0,
        latest.status if latest else "",
        latest.updated_at.timestamp() if latest else 0,
    )
    return "-".join(str(each) for each in parts)
