"""The history of orders, and one order from ordered over applied to verified."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from api.core.action_state import ActionStatus
from api.deps import ServicesOf
from api.portal.evidence import read_report
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingOperator, PostedForm, Reader, Visitor
from api.problems import Problem
from api.services import isolation
from api.services.context import Services
from api.services.machines import visible
from api.store.tables import Action, ActionStep, Machine, Order
from isolator.core.signed import open_envelope
from isolator.model.signed import Envelope, Kind, Refused

router = APIRouter()

PAGE_SIZE = 50

STATUSES = tuple(each.value for each in ActionStatus)


@dataclass(frozen=True, slots=True)
class Step:
    """One of the three steps: `done`, `now`, `failed`, `waiting` or `off` (never to come)."""

    name: str
    look: str
    at: Any = None
    after_s: float | None = None
    """Seconds since the order was given."""


@router.get("/actions")
def actions(request: Request, visitor: Reader, services: ServicesOf) -> HTMLResponse:
    """Every order the person may see, newest first."""
    assert visitor.actor is not None
    machine_id = request.query_params.get("machine", "")[:40]
    status = request.query_params.get("status", "")
    number = request.query_params.get("page", "1")
    number_ = int(number) if number.isascii() and number.isdigit() and 0 < len(number) < 6 else 1
    query = (
        select(Action, Machine)
        .join(Machine, Machine.id == Action.machine_id)
        .where(visible(visitor.actor))
        .order_by(Action.created_at.desc(), Action.id)
    )
    if machine_id:
        query = query.where(Action.machine_id == machine_id)
    if status in STATUSES:
        query = query.where(Action.status == status)
    first = (max(1, number_) - 1) * PAGE_SIZE
    with services.database.read() as session:
        rows = session.execute(query.offset(first).limit(PAGE_SIZE + 1)).all()
    return page(
        "actions/list.html",
        visitor,
        services.clock.now(),
        rows=rows[:PAGE_SIZE],
        more=len(rows) > PAGE_SIZE,
        number=max(1, number_),
        wanted={"machine": machine_id, "status": status if status in STATUSES else ""},
        statuses=STATUSES,
    )


@router.get("/actions/{action_id}")
def action(action_id: str, visitor: Reader, services: ServicesOf) -> HTMLResponse:
    """One order: its three steps, what was signed, what the agent answered."""
    return _action(action_id, visitor, services, "actions/action.html")


@router.get("/actions/{action_id}/live")
def action_live(action_id: str, seen: str, visitor: Reader, services: ServicesOf) -> Response:
    """The changing part; 204 when it still looks as the page has `seen` it, so nothing is read out twice."""
    with services.database.read() as session:
        assert visitor.actor is not None
        found, _ = isolation.find_action(session, visitor.actor, action_id)
    if seen == _look(found):
        return Response(status_code=204)
    return _action(action_id, visitor, services, "actions/live.html")


@router.post("/actions/{action_id}/cancel")
def cancel(action_id: str, visitor: ActingOperator, form: PostedForm, services: ServicesOf) -> Response:
    """Withdraw an order that no agent has yet."""
    assert visitor.actor is not None
    try:
        isolation.cancel(services, visitor.actor, action_id, form.text("comment"))
    except Problem as problem:
        if problem.status == 404:
            raise
        return _action(action_id, visitor, services, "actions/action.html", problem)
    return RedirectResponse(f"{PREFIX}/actions/{action_id}", 303)


def _action(
    action_id: str, visitor: Visitor, services: Services, template: str, problem: Problem | None = None
) -> HTMLResponse:
    assert visitor.actor is not None
    with services.database.read() as session:
        found, machine = isolation.find_action(session, visitor.actor, action_id)
        timeline = session.scalars(
            select(ActionStep).where(ActionStep.action_id == found.id).order_by(ActionStep.id)
        ).all()
        order = session.scalars(
            select(Order).where(Order.machine_id == machine.id, Order.action_id == found.id)
        ).first()
    return page(
        template,
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        action=found,
        machine=machine,
        timeline=timeline,
        steps=steps_of(found),
        order=order,
        document=_document(order),
        signed=_is_signed(services, order),
        report=read_report(found.evidence),
        look=_look(found),
        problem=problem,
    )


def steps_of(action: Action) -> tuple[Step, ...]:
    """Ordered, applied, verified: three different words, each with its own proof."""
    over = action.ended_at is not None
    steps = [Step("ordered", "done", action.created_at, 0.0)]
    running = not over
    for name, at in (("applied", action.applied_at), ("verified", action.verified_at)):
        if at is not None:
            steps.append(Step(name, "done", at, (at - action.created_at).total_seconds()))
        elif over:
            failed = steps[-1].look == "done" and action.status != ActionStatus.CANCELLED.value
            steps.append(Step(name, "failed" if failed else "off"))
        else:
            steps.append(Step(name, "now" if running else "waiting"))
            running = False
    return tuple(steps)


def _look(action: Action) -> str:
    parts = (action.status, action.delivered_at, action.applied_at, action.verified_at, action.ended_at)
    return "-".join(str(each.timestamp()) if isinstance(each, datetime) else str(each) for each in parts)


def _document(order: Order | None) -> dict[str, Any] | None:
    """The order as signed; it is shown, never trusted."""
    if order is None:
        return None
    document: dict[str, Any] = json.loads(order.payload)
    return document


def _is_signed(services: Services, order: Order | None) -> bool | None:
    """Whether the signature fits the bytes and the root vouches for the key; None without an order."""
    if order is None:
        return None
    envelope = Envelope(order.payload, order.key_id, order.signature)
    try:
        open_envelope(envelope, Kind.ORDER, services.keys.order_keys)
    except Refused:
        return False
    return True
