"""The web application of one controller."""

from __future__ import annotations

from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import Lifespan

from api.app.answer_headers import AnswerHeaders
from api.app.body_limit import BodyLimit
from api.app.failures import LastResort, install_failures
from api.app.paths import Paths, Spelling
from api.app.reference import install_reference
from api.app.short_way import ShortWay
from api.app.traffic import RouteNote, Traffic
from api.schemas.error import refusals
from api.services.context import Services
from api.services.metrics import Metrics

TITLE = "Host isolation controller"

_MDE = ("orders", "machines", "actions", "alerts")
"""Routers whose paths are Microsoft's; they answer under /api and under /api/v1.0."""
_OWN = ("bulk", "exclusions", "lists", "preflights", "groups", "enrolment", "clients", "users", "audit")
"""Our own routers, under /api."""
_ROOT = ("token", "discovery", "agent", "health")
"""Routers that give whole paths."""


def create_app(services: Services, *, lifespan: Lifespan[Any] | None = None) -> FastAPI:
    """The application: every route, the errors' envelope and the portal. Starts nothing by itself.

    `lifespan`: what runs beside it (sweeps, deliveries), from the server's start to its end.
    """
    app = FastAPI(
        title=TITLE,
        version=_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.metrics = Metrics(services)
    paths = Paths()
    for name in _ROOT:
        _include(app, paths, name, "")
    for name in _MDE:
        _include(app, paths, name, "/api")
        _include(app, paths, name, "/api/v1.0", in_schema=False)
    for name in _OWN:
        _include(app, paths, name, "/api")
    if find_spec("api.portal.site") is not None:
        import_module("api.portal.site").install(app, services)
    install_reference(app)
    install_failures(app, paths)
    # The last one added sees a request first.
    app.add_middleware(RouteNote)
    app.add_middleware(Spelling, paths=paths)
    app.add_middleware(BodyLimit, limit=services.settings.max_body_bytes)
    app.add_middleware(LastResort)
    app.add_middleware(AnswerHeaders)
    polls = import_module("api.routes.agent")
    app.add_middleware(ShortWay, application=app, path=polls.CHECK_IN, endpoint=polls.check_in)
    app.add_middleware(Traffic, metrics=app.state.metrics, paths=paths)
    return app


def _version() -> str:
    try:
        return metadata.version("host-isolator")
    except metadata.PackageNotFoundError:
        return "0"


def _include(app: FastAPI, paths: Paths, name: str, prefix: str, *, in_schema: bool = True) -> None:
    if find_spec(f"api.routes.{name}") is None:
        return
    router: APIRouter = import_module(f"api.routes.{name}").router
    # Said here for every route: with a `default` the framework does not document its own 422.
    spoken = refusals(400, 401, 403, 404, 429, 503) if prefix else refusals(400, 429, 503)
    app.include_router(router, prefix=prefix, include_in_schema=in_schema, responses=spoken)
    paths.add(router, prefix)
