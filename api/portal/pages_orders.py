"""Isolating and releasing a machine: what it will mean is shown, then a person confirms with a comment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from allowlists.files import SHIPPED
from api.core.action_state import ACTIVE
from api.core.roles import Actor
from api.deps import ServicesOf
from api.portal.evidence import read_report
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingOperator, Form, Operator, PostedForm, Visitor
from api.problems import Problem
from api.services import isolation, lists, safeguards, steering
from api.services.context import Services
from api.services.machines import find
from api.store.tables import Action, Machine

router = APIRouter()

SCOPES = ("full", "selective")
COLLABORATION = "collaboration"
"""The list that agents add to every selective isolation by themselves (Outlook and Teams)."""

OVERRIDES = ("cap", "tag", "own_host")


@dataclass(frozen=True, slots=True)
class OpenList:
    """An allow list as the confirmation shows it; `id` is the name by which agents load it."""

    id: str
    title: str
    version: str
    patterns: tuple[str, ...]
    prefixes: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person filled in, kept when the page must be shown again."""

    scope: str = "full"
    comment: str = ""
    lists: tuple[str, ...] = ()
    overrides: frozenset[str] = frozenset()


@cache
def open_lists() -> Sequence[OpenList]:
    """The lists that come with the controller; they do not change while it runs."""
    return tuple(
        OpenList(
            name,
            each.name,
            each.version,
            tuple(dict.fromkeys(entry.pattern for entry in each.entries)),
            len(each.networks),
        )
        for name, each in zip(SHIPPED, lists.shipped(), strict=True)
    )


@router.get("/machines/{name}/isolate")
def isolate_page(name: str, visitor: Operator, services: ServicesOf) -> Response:
    """What isolating would leave open, what speaks against it, and the form."""
    return _confirm(name, visitor, services, isolate=True)


@router.get("/machines/{name}/release")
def release_page(name: str, visitor: Operator, services: ServicesOf) -> Response:
    """What comes back with a release, and the form."""
    return _confirm(name, visitor, services, isolate=False)


@router.post("/machines/{name}/isolate")
def isolate(name: str, visitor: ActingOperator, form: PostedForm, services: ServicesOf) -> Response:
    """Order it; then watch it on the action's page."""
    return _order(name, visitor, form, services, isolate=True)


@router.post("/machines/{name}/release")
def release(name: str, visitor: ActingOperator, form: PostedForm, services: ServicesOf) -> Response:
    """Order the release; then watch it on the action's page."""
    return _order(name, visitor, form, services, isolate=False)


def _order(name: str, visitor: Visitor, form: Form, services: Services, *, isolate: bool) -> Response:
    assert visitor.actor is not None
    wish = _wish(form)
    try:
        if form.text("generation") != str(_generation(services, visitor.actor, name)):
            raise Problem("Conflict", "the machine has got another order meanwhile; look again")
        action = isolation.place(
            services,
            visitor.actor,
            isolation.OrderRequest(
                machine=name,
                comment=wish.comment,
                isolate=isolate,
                scope=wish.scope,
                request_source="Portal",
                overrides=wish.overrides,
                lists=wish.lists or None,
            ),
        )
    except Problem as problem:
        if problem.status == 404:
            raise
        return _confirm(name, visitor, services, isolate=isolate, wish=wish, problem=problem)
    return RedirectResponse(f"{PREFIX}/actions/{action.id}", 303)


def _wish(form: Form) -> Wish:
    """The form's values; only what a page of ours offers."""
    scope = form.text("scope")
    known = {each.id for each in open_lists()} - {COLLABORATION}
    return Wish(
        scope=scope if scope in SCOPES else "full",
        comment=form.text("comment"),
        lists=tuple(each for each in dict.fromkeys(form.many("lists")) if each in known),
        overrides=frozenset(form.many("overrides")) & frozenset(OVERRIDES),
    )


def _generation(services: Services, actor: Actor, name: str) -> int:
    with services.database.read() as session:
        return find(session, actor, name).generation


def _confirm(
    name: str,
    visitor: Visitor,
    services: Services,
    *,
    isolate: bool,
    wish: Wish | None = None,
    problem: Problem | None = None,
) -> HTMLResponse:
    assert visitor.actor is not None
    with services.database.read() as session:
        machine = find(session, visitor.actor, name)
        against = safeguards.against(session, services, visitor.actor, machine) if isolate else ()
        exclusions = steering.exclusions_for(session, machine) if isolate else []
        latest = session.scalars(
            select(Action)
            .where(Action.machine_id == machine.id, Action.type == "Isolate")
            .order_by(Action.created_at.desc())
            .limit(1)
        ).one_or_none()
        active = session.scalars(
            select(Action).where(
                Action.machine_id == machine.id, Action.status.in_([each.value for each in ACTIVE])
            )
        ).one_or_none()
    return page(
        "orders/isolate.html" if isolate else "orders/release.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        machine=machine,
        wish=wish or Wish(),
        problem=problem,
        report=read_report(machine.observed),
        latest=latest,
        active=active,
        **(_opening(services, machine, against, exclusions) if isolate else {}),
    )


def _opening(
    services: Services,
    machine: Machine,
    against: Sequence[safeguards.Safeguard],
    exclusions: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """What will stay open, and what speaks against closing the rest."""
    return {
        "against": against,
        "exclusions": exclusions,
        "open_lists": [each for each in open_lists() if each.id != COLLABORATION],
        "collaboration": next(each for each in open_lists() if each.id == COLLABORATION),
        "control": services.settings.url,
        "lasts_s": services.settings.isolation_lasts_s,
    }
