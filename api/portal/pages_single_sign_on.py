"""Single sign-on in the browser: out to the provider, and back with its answer."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select

from api.deps import ServicesOf, caller_address
from api.portal import single_sign_on
from api.portal.pages_sign_in import sign_in_form, start_session
from api.portal.visitor import PREFIX, Anyone, safe_next
from api.problems import Problem
from api.services import users
from api.services.context import Services
from api.settings import SingleSignOn
from api.store.tables import Group, Tenant

router = APIRouter()

COOKIE = "__Host-isolator-attempt"
LASTS_S = 600
"""How long a person may take at the provider."""


@router.get("/single-sign-on")
def start(visitor: Anyone, services: ServicesOf, next: str = "") -> Response:  # noqa: A002
    """Send the browser to the provider; what it must bring back stays in a cookie of its own."""
    wanted = safe_next(next)
    attempt = single_sign_on.new_attempt(wanted)
    try:
        address = single_sign_on.start_address(_configured(services), _callback(services), attempt)
    except Problem as problem:
        return sign_in_form(visitor, services, wanted, problem=problem)
    answer = RedirectResponse(address, 303)
    value = base64.urlsafe_b64encode(json.dumps(asdict(attempt)).encode()).decode()
    # Lax: the way back is a link followed from the provider's site, and Strict would hold the cookie back.
    answer.set_cookie(COOKIE, value, max_age=LASTS_S, path="/", secure=True, httponly=True, samesite="lax")
    return answer


@router.get("/single-sign-on/callback")
def finish(request: Request, visitor: Anyone, services: ServicesOf) -> Response:
    """Judge the provider's answer, and begin a session."""
    attempt = _attempt(request.cookies.get(COOKIE, ""))
    wanted = safe_next(attempt.next) if attempt else f"{PREFIX}/"
    try:
        if attempt is None:
            raise Problem("Unauthorized", "this sign-in was not started here, or took too long; start again")
        person = single_sign_on.finish(
            _configured(services),
            _callback(services),
            attempt,
            request.query_params,
            services.clock.now().timestamp(),
        )
        user = _account(services, person, caller_address(request))
    except Problem as problem:
        answer: Response = sign_in_form(visitor, services, wanted, problem=problem)
    else:
        answer = RedirectResponse(wanted, 303)
        start_session(services, request, answer, user)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return answer


def _account(services: Services, person: single_sign_on.Person, address: str) -> users.User:
    """The person's account, in the oldest tenant: the configuration names one provider for all."""
    with services.database.read() as session:
        tenant_id = session.scalars(select(Tenant.id).order_by(Tenant.created_at, Tenant.id)).first()
        assert tenant_id is not None
        groups = None
        if person.groups is not None:
            query = select(Group.id).where(Group.tenant_id == tenant_id, Group.name.in_(person.groups))
            groups = list(session.scalars(query))
    user = users.provide_subject(services, tenant_id, person.subject, person.name, person.role, groups)
    return users.authenticate_subject(services, user.id, address)


def _configured(services: Services) -> SingleSignOn:
    if services.settings.single_sign_on is None:
        raise Problem("ResourceNotFound", "single sign-on is not configured")
    return services.settings.single_sign_on


def _callback(services: Services) -> str:
    return f"{services.settings.url}{PREFIX}/single-sign-on/callback"


def _attempt(cookie: str) -> single_sign_on.Attempt | None:
    try:
        values = json.loads(base64.urlsafe_b64decode(cookie))
        return single_sign_on.Attempt(**{key: str(value) for key, value in values.items()})
    except (ValueError, TypeError, AttributeError):
        return None
