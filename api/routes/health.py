"""Health for supervisors and load balancers, figures for Prometheus."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import ip_address
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api.auth import actor_of
from api.core.roles import Permission
from api.deps import ServicesOf, caller_address
from api.problems import Problem
from api.services.context import Services
from api.services.metrics import CONTENT_TYPE, Metrics
from api.services.readiness import troubles

READY_WITHIN_S = 5.0
"""A database that takes longer does not count as one that answers."""

_log = logging.getLogger(__name__)

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """200 while the process answers at all; looks at nothing else."""
    return {"status": "ok"}


@router.get("/readyz", response_model=None, responses={503: {"description": "Not ready; says why"}})
async def readyz(request: Request, services: ServicesOf) -> Response:
    """200 when orders can be taken and delivered; 503 with the reasons when not, and while ending."""
    agents = getattr(request.app.state, "agents", None)
    if agents is not None and agents.polls.draining:
        return _ready({"process": "it is ending"})
    try:
        found = await asyncio.wait_for(asyncio.to_thread(troubles, services), READY_WITHIN_S)
    except TimeoutError:
        found = {"database": f"it did not answer within {READY_WITHIN_S:.0f} s"}
    if found:
        _log.warning("not ready: %s", "; ".join(found.values()))
    return _ready(found)


@router.get("/metrics", response_model=None, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request, services: ServicesOf) -> Response:
    """Figures in Prometheus's text format: for loopback, or with a token that may read."""
    figures: Metrics = request.app.state.metrics
    agents = getattr(request.app.state, "agents", None)
    figures.waiting(len(agents.polls.waiting) if agents is not None else 0)
    return Response(figures.text(_whose(request, services)), media_type=CONTENT_TYPE)


def _whose(request: Request, services: Services) -> str | None:
    """The tenant whose figures the caller may see; None for all. Problem when none."""
    authorization = request.headers.get("authorization", "")
    if not authorization and (services.settings.metrics_public or _from_here(request, services)):
        return None
    actor = actor_of(services, authorization, caller_address(request))
    if not actor.may(Permission.READ):
        raise Problem("Forbidden", f"the role {actor.role.value} may not read figures")
    return actor.tenant_id


def _from_here(request: Request, services: Services) -> bool:
    """Whether this very host asks. Where a proxy on loopback speaks for others, loopback proves nothing."""
    try:
        address = ip_address(caller_address(request))
    except ValueError:
        return False
    return address.is_loopback and not any(address in each for each in services.settings.trusted_proxies)


def _ready(found: dict[str, str]) -> JSONResponse:
    content: dict[str, Any] = {"status": "not ready" if found else "ready", "reasons": found}
    return JSONResponse(content, 503 if found else 200, {"Cache-Control": "no-store"})
