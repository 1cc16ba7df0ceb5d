"""Machines: Microsoft's read calls, and its call that tags one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.core.odata_lexer import parse_instant_literal
from api.deps import Administrator, Reader, ServicesOf
from api.problems import Problem
from api.routes.list_answers import LIST_OPTIONS, answer_page, base_of
from api.schemas.action import action_out
from api.schemas.machine import MachineOut, machine_out
from api.schemas.own import TagBody
from api.schemas.page import ActionPage, MachinePage, page_body
from api.services import groups, listing, machines
from api.services.addresses import WINDOW, find_by_address
from api.store.tables import Machine

router = APIRouter(tags=["machines"])

FIND_REACH = timedelta(days=30)
_FIND = re.compile(r"ip='(?P<ip>[^']{1,60})',\s*timestamp='?(?P<at>[^']{1,60})'?", re.IGNORECASE)


@router.get("/machines", responses={200: {"model": MachinePage}}, openapi_extra=LIST_OPTIONS)
def list_machines(request: Request, actor: Reader, services: ServicesOf) -> JSONResponse:
    """Machines by OData options, the newest first."""
    page = listing.list_machines(services, actor, request.query_params.multi_items())
    now = services.clock.now()
    rows = [machine_out(machine, group, now) for machine, group in listing.pairs(page)]
    return answer_page(request, services, "Machines", page, rows)


@router.get("/machines/findbyip({arguments})", responses={200: {"model": MachinePage}})
def find_by_ip(arguments: str, request: Request, actor: Reader, services: ServicesOf) -> JSONResponse:
    """Machines that had an address at a time: `findbyip(ip='10.0.0.7',timestamp=2024-05-31T12:00:00Z)`.

    A quarter of an hour each way counts; the time lies within the last 30 days.
    """
    ip, at = _asked(arguments, services.clock.now())
    with services.database.read() as session:
        found = find_by_address(session, actor, ip, at)
    rows = _shown(services, found)
    return JSONResponse(page_body(base_of(request, services), "Machines", rows))


@router.get("/machines/{machine_id}")
def get_machine(machine_id: str, actor: Reader, services: ServicesOf) -> MachineOut:
    """One machine by its id or its computer name."""
    with services.database.read() as session:
        machine = machines.find(session, actor, machine_id)
    return _shown(services, [machine])[0]


@router.get(
    "/machines/{machine_id}/machineactions",
    responses={200: {"model": ActionPage}},
    openapi_extra=LIST_OPTIONS,
)
def list_machine_actions(
    machine_id: str, request: Request, actor: Reader, services: ServicesOf
) -> JSONResponse:
    """The actions of one machine."""
    options = request.query_params.multi_items()
    page = listing.list_actions(services, actor, options, machine_name=machine_id)
    rows = [action_out(action, name) for action, name in listing.pairs(page)]
    return answer_page(request, services, "MachineActions", page, rows)


@router.post("/machines/{machine_id}/tags")
def change_tag(machine_id: str, body: TagBody, actor: Administrator, services: ServicesOf) -> MachineOut:
    """Add or remove one tag; what was there or gone already is no error."""
    machine = groups.change_tag(services, actor, machine_id, body.Value, add=body.Action == "Add")
    return _shown(services, [machine])[0]


def _asked(arguments: str, now: datetime) -> tuple[str, datetime]:
    parts = _FIND.fullmatch(arguments.strip())
    if parts is None:
        raise Problem("BadRequest", "it reads findbyip(ip='ADDRESS',timestamp=INSTANT)")
    try:
        address = str(ip_address(parts["ip"]))
    except ValueError:
        raise Problem("InvalidInput", f"{parts['ip']!a} is no IP address") from None
    try:
        at = parse_instant_literal(parts["at"].strip())
    except ValueError as error:
        raise Problem("InvalidInput", f"timestamp: {error}") from None
    if not now - FIND_REACH <= at <= now + WINDOW:
        raise Problem("InvalidInput", "timestamp must lie within the last 30 days")
    return address, at


def _shown(services: ServicesOf, found: Sequence[Machine]) -> list[MachineOut]:
    names = listing.group_names(services, found)
    now = services.clock.now()
    return [machine_out(each, names.get(each.group_id), now) for each in found]
