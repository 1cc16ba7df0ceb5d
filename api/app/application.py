"""The web application of one controller."""

from __future__ import annotations

from importlib import metadata
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
from api.portal import site
from api.routes import (
    actions,
    agent,
    alerts,
    audit,
    bulk,
    clients,
    discovery,
    enrolment,
    exclusions,
    groups,
    health,
    lists,
    machines,
    orders,
    preflights,
    token,
    users,
)
from api.schemas.error import refusals
from api.services.context import Services
from api.services.metrics import Metrics

TITLE = "Host isolation controller"

_MDE = (orders.router, machines.router, actions.router, alerts.router)
"""Routers whose paths are Microsoft's; they answer under /api and under /api/v1.0."""
_OWN = tuple(
    each.router for each in (bulk, exclusions, lists, preflights, groups, enrolment, clients, users, audit)
)
"""Our own routers, under /api."""
_ROOT = (token.router, discovery.router, agent.router, health.router)
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
    for router in _ROOT:
        _include(app, paths, router, "")
    for router in _MDE:
        _include(app, paths, router, "/api")
        _include(app, paths, router, "/api/v1.0", in_schema=False)
    for router in _OWN:
        _include(app, paths, router, "/api")
    site.install(app, services)
    install_reference(app)
    install_failures(app, paths)
    # The last one added sees a request first.
    app.add_middleware(RouteNote)
    app.add_middleware(Spelling, paths=paths)
    app.add_middleware(BodyLimit, limit=services.settings.max_body_bytes)
    app.add_middleware(LastResort)
    app.add_middleware(AnswerHeaders)
    app.add_middleware(ShortWay, application=app, path=agent.CHECK_IN, endpoint=agent.check_in)
    app.add_middleware(Traffic, metrics=app.state.metrics, paths=paths)
    return app


def _version() -> str:
    try:
        return metadata.version("host-isolator")
    except metadata.PackageNotFoundError:
        return "0"


def _include(app: FastAPI, paths: Paths, router: APIRouter, prefix: str, *, in_schema: bool = True) -> None:
    # Said here for every route: with a `default` the framework does not document its own 422.
    spoken = refusals(400, 401, 403, 404, 429, 503) if prefix else refusals(400, 429, 503)
    app.include_router(router, prefix=prefix, include_in_schema=in_schema, responses=spoken)
    paths.add(router, prefix)
