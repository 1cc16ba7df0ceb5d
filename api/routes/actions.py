"""Machine actions: Microsoft's read calls."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.deps import Reader, ServicesOf
from api.routes.list_answers import LIST_OPTIONS, answer_page
from api.schemas.action import ActionOut, action_out
from api.schemas.page import ActionPage
from api.services import isolation, listing

router = APIRouter(tags=["actions"])


@router.get("/machineactions", responses={200: {"model": ActionPage}}, openapi_extra=LIST_OPTIONS)
def list_actions(request: Request, actor: Reader, services: ServicesOf) -> JSONResponse:
    """Actions by OData options, the newest first."""
    page = listing.list_actions(services, actor, request.query_params.multi_items())
    rows = [action_out(action, name) for action, name in listing.pairs(page)]
    return answer_page(request, services, "MachineActions", page, rows)


@router.get("/machineactions/{action_id}")
def get_action(action_id: str, actor: Reader, services: ServicesOf) -> ActionOut:
    """One action: ordered, delivered, applied, verified."""
    with services.database.read() as session:
        action, machine = isolation.find_action(session, actor, action_id)
    return action_out(action, machine.computer_name)
