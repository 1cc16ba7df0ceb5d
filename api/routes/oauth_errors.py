"""Flat OAuth errors with the fields that clients of Microsoft's endpoint read."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import JSONResponse

from api.services.context import Services

log = logging.getLogger(__name__)

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthRefusal(Exception):  # noqa: N818 - an answer of the protocol
    """A request to the identity endpoints that is refused. `number`: Microsoft's AADSTS code for it."""

    def __init__(self, error: str, description: str, number: int, *, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.number = number
        self.status = status


def unknown_tenant(name: str) -> OAuthRefusal:
    """The refusal for a tenant that is not here."""
    return OAuthRefusal("invalid_request", f"tenant {name[:100]!a} was not found", 90002)


def oauth_answer(
    request: Request,
    services: Services,
    refusal: OAuthRefusal,
    *,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The refusal as an answer. `trace_id` finds its log line, which names neither form nor header."""
    trace = request.state.target = str(uuid.uuid4())
    address = request.client.host if request.client else "-"
    log.info(
        "%s %a refused: %s AADSTS%d: %a; from %s; target %s",
        request.method,
        request.url.path,
        refusal.error,
        refusal.number,
        refusal.description,
        address,
        trace,
    )
    body = {
        "error": refusal.error,
        "error_description": f"AADSTS{refusal.number}: {refusal.description}. Trace ID: {trace}",
        "error_codes": [refusal.number],
        "timestamp": services.clock.now().strftime("%Y-%m-%d %H:%M:%SZ"),
        "trace_id": trace,
        "correlation_id": request.headers.get("client-request-id", trace)[:64],
    }
    challenge = {"WWW-Authenticate": 'Basic realm="host isolation"'} if refusal.status == 401 else {}
    return JSONResponse(body, refusal.status, {**NO_STORE, **challenge, **(headers or {})})
