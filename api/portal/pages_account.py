"""A person's own account: password, browsers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from api.deps import ServicesOf, caller_address
from api.portal.pages_sign_in import start_session
from api.portal.rendering import page
from api.portal.visitor import PREFIX, ActingPerson, Person, PostedForm, Visitor, safe_next
from api.problems import Problem
from api.services import users
from api.services.context import Services
from api.services.passwords import SHORTEST
from api.store.tables import Session as SessionRow
from api.store.tables import User

router = APIRouter()


@router.get("/account")
def account(visitor: Person, services: ServicesOf) -> HTMLResponse:
    """Name, role, and where one is signed in."""
    assert visitor.user is not None
    with services.database.read() as session:
        rows = session.scalars(
            select(SessionRow)
            .where(SessionRow.user_id == visitor.user.id, SessionRow.expires_at > services.clock.now())
            .order_by(SessionRow.seen_at.desc())
        ).all()
    return page("account.html", visitor, services.clock.now(), sessions=rows)


@router.get("/password")
def password_page(visitor: Person, services: ServicesOf, next: str = "") -> HTMLResponse:  # noqa: A002
    """The form for a new password; at the first sign-in every page leads here."""
    return _form(visitor, services, safe_next(next))


@router.post("/password")
def password(request: Request, visitor: ActingPerson, form: PostedForm, services: ServicesOf) -> Response:
    """Change it; every browser is signed out but this one, which gets a new session."""
    assert visitor.user is not None
    wanted = safe_next(form.text("next"))
    new = form.raw("new")
    try:
        if new != form.raw("again"):
            raise Problem("InvalidInput", "the two new passwords are not the same")
        users.change_password(services, visitor.user, form.raw("old"), new, caller_address(request))
    except Problem as problem:
        return _form(visitor, services, wanted, problem)
    with services.database.read() as session:
        user = session.get_one(User, visitor.user.id)
    answer = RedirectResponse(wanted, 303)
    start_session(services, request, answer, user)
    return answer


def _form(visitor: Visitor, services: Services, wanted: str, problem: Problem | None = None) -> HTMLResponse:
    return page(
        "password.html",
        visitor,
        services.clock.now(),
        status=problem.status if problem else 200,
        next=wanted if wanted != f"{PREFIX}/password" else f"{PREFIX}/",
        problem=problem,
        shortest=SHORTEST,
    )
