"""The web application of one controller."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI

from api.services.context import Services

TITLE = "Host isolation controller"

_MDE = ("orders", "machines", "actions", "alerts")
"""Routers whose paths are Microsoft's; they answer under /api and under /api/v1.0."""
_OWN = ("bulk", "exclusions", "lists", "preflights", "groups", "enrolment", "clients", "audit")
"""Our own routers, under /api."""
_ROOT = ("token", "discovery", "agent", "health")
"""Routers that give whole paths."""


def create_app(services: Services) -> FastAPI:
    """The application: every route, the errors' envelope and the portal. Starts nothing by itself."""
    app = FastAPI(title=TITLE, docs_url="/docs", redoc_url=None, openapi_url="/openapi.json")
    app.state.services = services
    for name in _ROOT:
        _include(app, name, "")
    for name in _MDE:
        _include(app, name, "/api")
        _include(app, name, "/api/v1.0", in_schema=False)
    for name in _OWN:
        _include(app, name, "/api")
    return app


def _include(app: FastAPI, name: str, prefix: str, *, in_schema: bool = True) -> None:
    if find_spec(f"api.routes.{name}") is None:
        return
    module = import_module(f"api.routes.{name}")
    app.include_router(module.router, prefix=prefix, include_in_schema=in_schema)
