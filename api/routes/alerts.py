"""Alerts: none here; connection tests of existing clients ask for them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from api.deps import Reader, ServicesOf
from api.routes.list_answers import base_of
from api.schemas.page import page_body

router = APIRouter(tags=["alerts"])


@router.get("/alerts")
def list_alerts(request: Request, actor: Reader, services: ServicesOf) -> dict[str, Any]:
    """An empty list: this controller isolates, it raises no alerts."""
    return page_body(base_of(request, services), "Alerts", [])
