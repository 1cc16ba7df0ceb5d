"""Every answered request: one line in the log, one count. Values in paths and queries stay out of both."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app.paths import Paths
from api.services.metrics import Metrics

_QUIET = frozenset({"/agent/v1/checkin", "/healthz", "/readyz", "/metrics", "/portal/static"})
"""Polls of thousands of agents, of load balancers and browsers: logged only when they fail."""
_OTHER = "other"

_log = logging.getLogger("api.requests")


class RouteNote:
    """The innermost layer: notes the template of the portal's route, which only its own router knows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then look at where it went."""
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http" and scope.get("root_path"):
                template = getattr(scope.get("route"), "path", "")
                scope["state"]["route"] = (scope["root_path"] + template) or _OTHER


class Traffic:
    """The outermost layer but one: measures, counts, logs."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Paths) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; whoever handles it may note `caller`, `target` and `reason` in its state."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        started = time.monotonic()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # 499, as nginx has it: the caller went, or the connection was cut, before there was an answer.
            self._note(scope, state, status or 499, time.monotonic() - started)

    def _note(self, scope: Scope, state: dict[str, Any], status: int, took_s: float) -> None:
        route = self._paths.template(scope["path"]) or state.get("route") or _OTHER
        self._metrics.request(scope["method"], route, status, took_s)
        if reason := state.get("reason"):
            self._metrics.refused(reason)
        level = logging.DEBUG if route in _QUIET and status < 400 else logging.INFO
        if not _log.isEnabledFor(level):
            return
        client = scope.get("client")
        fields = {
            "target": state.get("target") or str(uuid.uuid4()),
            "client": state.get("caller", ""),
            "address": client[0] if client else "",
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(took_s * 1000, 1),
        }
        _log.log(level, "%s %s %d", scope["method"], route, status, extra=fields)
