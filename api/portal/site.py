"""The portal as one application, to be mounted at /portal."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy import exc as errors
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from api.portal import (
    pages_account,
    pages_actions,
    pages_audit,
    pages_clients,
    pages_enrolment,
    pages_exclusions,
    pages_forced_release,
    pages_groups,
    pages_machines,
    pages_orders,
    pages_preflights,
    pages_sign_in,
    pages_single_sign_on,
    pages_users,
    sessions,
)
from api.portal.rendering import STATIC, page
from api.portal.security_headers import SecurityHeaders
from api.portal.visitor import PREFIX, Turned, Visitor, signed_in, stranger
from api.problems import Problem
from api.services.context import Services

_log = logging.getLogger("api.portal")

_PAGES = (
    pages_sign_in.router,
    pages_single_sign_on.router,
    pages_account.router,
    pages_machines.router,
    pages_orders.router,
    pages_forced_release.router,
    pages_actions.router,
    pages_preflights.router,
    pages_audit.router,
    pages_enrolment.router,
    pages_clients.router,
    pages_exclusions.router,
    pages_users.router,
    pages_groups.router,
)


_BY_STATUS = {
    404: ("ResourceNotFound", "There is no such page"),
    405: ("MethodNotAllowed", "This page does not take that"),
    408: ("RequestTimeout", "The request did not arrive in time"),
    413: ("RequestTooLarge", "The request is too large"),
}

_AWAY = (errors.OperationalError, errors.InterfaceError, errors.InternalError, errors.TimeoutError)
"""The database is away, locked or full."""

_WAIT = {"Retry-After": "5"}


def install(app: FastAPI, services: Services) -> None:
    """Mount the portal, and send people who open the bare address there."""

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse(f"{PREFIX}/", 307)

    # Outside of everything, so that the page of an unforeseen failure has the headers too.
    app.mount(PREFIX, SecurityHeaders(create_portal(services)))


def create_portal(services: Services) -> FastAPI:
    """Every page, the static files and the error pages; `install` adds the headers."""
    portal = FastAPI(title="Portal", docs_url=None, redoc_url=None, openapi_url=None)
    portal.state.services = services
    for router in _PAGES:
        portal.include_router(router)
    portal.mount("/static", StaticFiles(directory=STATIC))
    portal.add_exception_handler(Turned, _turn)
    portal.add_exception_handler(Problem, _explain)
    portal.add_exception_handler(HTTPException, _explain)
    portal.add_exception_handler(RequestValidationError, _explain)
    for kind in (SQLAlchemyError, UnicodeEncodeError, OverflowError):
        portal.add_exception_handler(kind, _apologise)
    portal.add_exception_handler(Exception, _apologise)
    return portal


def _turn(request: Request, error: Exception) -> Response:
    """Elsewhere: htmx is told by its own header, since it would put a redirect's page into a fragment."""
    assert isinstance(error, Turned)
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"hx-redirect": error.location})
    return RedirectResponse(error.location, 303)


def _explain(request: Request, error: Exception) -> HTMLResponse:
    """An error page in the person's language, with the reference that is also in the log."""
    problem = _as_problem(error)
    _log.info("%a refused: %s; target %s", request.url.path, problem.code, problem.target)
    visitor = _visitor_of(request)
    services: Services = request.app.state.services
    return page(
        "error.html",
        visitor,
        services.clock.now(),
        status=problem.status,
        headers=problem.headers,
        problem=problem,
    )


def _apologise(request: Request, error: Exception) -> HTMLResponse:
    """Something nobody expected: its text is for the log only."""
    if isinstance(error, errors.DataError | UnicodeEncodeError | OverflowError):
        problem = Problem("InvalidInput", "The address has a part that cannot be stored")
    elif isinstance(error, _AWAY):
        problem = Problem("ServiceUnavailable", "The database cannot be used just now", headers=_WAIT)
    else:
        problem = Problem("InternalServerError", "Something went wrong in the controller")
    _log.error("%a failed; target %s", request.url.path, problem.target, exc_info=error)
    return _explain(request, problem)


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        code, sentence = _BY_STATUS.get(error.status_code, ("BadRequest", "The request cannot be read"))
        return Problem(code, sentence, headers=error.headers)
    return Problem("InvalidInput", "The address has a part that cannot be read")


def _visitor_of(request: Request) -> Visitor:
    """The reader of an error page; a stranger when the session itself is what failed."""
    services: Services = request.app.state.services
    if sessions.COOKIE not in request.cookies:
        return stranger(request)
    try:
        return signed_in(request, services)
    except (Turned, Problem, SQLAlchemyError):
        return stranger(request)
