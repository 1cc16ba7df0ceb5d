"""Signing in and out, and the choices a person can make before that."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from api.deps import ServicesOf, caller_address
from api.portal import sessions
from api.portal.rendering import page
from api.portal.visitor import (
    LANGUAGE_COOKIE,
    PREFIX,
    THEME_COOKIE,
    THEMES,
    ActingPerson,
    Anyone,
    Origin,
    PostedForm,
    safe_next,
)
from api.portal.words import LANGUAGES
from api.problems import Problem
from api.services import users
from api.services.context import Services

router = APIRouter()

YEAR_S = 365 * 24 * 3600


@router.get("/sign-in")
def sign_in_page(visitor: Anyone, services: ServicesOf, next: str = "") -> HTMLResponse:  # noqa: A002
    """The form; a person who is signed in already may sign in as somebody else."""
    return sign_in_form(visitor, services, safe_next(next))


@router.post("/sign-in", dependencies=[Origin])
def sign_in(request: Request, form: PostedForm, visitor: Anyone, services: ServicesOf) -> Response:
    """Check name and password; a fresh session, whatever cookie there was, and on to the wanted page."""
    wanted = safe_next(form.text("next"))
    try:
        user = users.authenticate(services, form.text("name"), form.raw("password"), caller_address(request))
    except Problem as problem:
        return sign_in_form(visitor, services, wanted, problem=problem, name=form.text("name"))
    answer = RedirectResponse(wanted, 303)
    start_session(services, request, answer, user)
    return answer


def start_session(services: Services, request: Request, answer: Response, user: users.User) -> None:
    """Give the answer the cookie of a new session."""
    token = sessions.begin(services, user, instead_of=request.cookies.get(sessions.COOKIE, ""))
    answer.set_cookie(
        sessions.COOKIE,
        token,
        max_age=int(services.settings.session_lasts_s),
        path="/",
        secure=True,
        httponly=True,
        samesite="lax",
    )


@router.post("/sign-out")
def sign_out(visitor: ActingPerson, services: ServicesOf) -> Response:
    """End this browser's session."""
    sessions.end(services, visitor.cookie)
    return _out()


@router.post("/sign-out-everywhere")
def sign_out_everywhere(visitor: ActingPerson, services: ServicesOf) -> Response:
    """End every session of the person, this one too."""
    assert visitor.user is not None
    sessions.end_all(services, visitor.user)
    return _out()


@router.post("/preferences", dependencies=[Origin])
def preferences(form: PostedForm, request: Request, services: ServicesOf) -> Response:
    """Keep theme and language: in cookies, the language also in the account."""
    answer = RedirectResponse(safe_next(form.text("next")), 303)
    theme, language = form.raw("theme"), form.text("language")
    if theme in (*THEMES, "system"):
        _keep(answer, THEME_COOKIE, "" if theme == "system" else theme)
    if language in LANGUAGES:
        _keep(answer, LANGUAGE_COOKIE, language)
        found = sessions.find(services, request.cookies.get(sessions.COOKIE, ""))
        if found is not None:
            users.set_language(services, found.user.id, language)
    return answer


def _keep(answer: Response, name: str, value: str) -> None:
    answer.set_cookie(
        name, value, max_age=YEAR_S if value else 0, path="/", secure=True, httponly=True, samesite="lax"
    )


def sign_in_form(
    visitor: Anyone, services: Services, wanted: str, *, problem: Problem | None = None, name: str = ""
) -> HTMLResponse:
    """The page of the form, with what was refused."""
    return page(
        "sign_in.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        headers=problem.headers if problem else None,
        next=wanted,
        problem=problem,
        name=name,
        single_sign_on=services.settings.single_sign_on,
    )


def _out() -> Response:
    answer = RedirectResponse(f"{PREFIX}/sign-in", 303)
    answer.delete_cookie(sessions.COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer
