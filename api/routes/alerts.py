"""Alerts: none here; connection tests of existing clients ask for them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.deps import Reader

router = APIRouter(tags=["alerts"])


@router.get("/alerts")
def list_alerts(actor: Reader) -> dict[str, Any]:
    """An empty list: this controller isolates, it raises no alerts."""
    return {"@odata.context": "https://api.securitycenter.microsoft.com/api/$metadata#Alerts", "value": []}
