"""What route handlers ask for: the services, and an actor who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.auth import actor_of
from api.core.roles import Actor, Permission
from api.problems import Problem
from api.services.context import Services

_BEARER = HTTPBearer(
    auto_error=False, description="The access_token of POST /{tenant}/oauth2/v2.0/token", scheme_name="token"
)
"""Only for the OpenAPI document; the header is judged by `actor_of`."""


def services_of(request: Request) -> Services:
    """The controller this application was made for."""
    services: Services = request.app.state.services
    return services


def caller_address(request: Request) -> str:
    """Where the call comes from; the server has already applied the configured proxies' headers."""
    return request.client.host if request.client else ""


def allowed(permission: Permission) -> Callable[..., Actor]:
    """A dependency: the actor of a valid token whose role grants the permission.

    401 without a valid token, 403 without the permission, 429 beyond the client's limits.
    """

    def permitted(
        request: Request,
        services: Annotated[Services, Depends(services_of)],
        _documented: Annotated[object, Depends(_BEARER)],
    ) -> Actor:
        actor = actor_of(services, request.headers.get("authorization", ""), caller_address(request))
        request.state.caller = actor.name
        if not actor.may(permission):
            raise Problem("Forbidden", f"the role {actor.role.value} may not {permission.value} here")
        return actor

    permitted.permission = permission  # type: ignore[attr-defined]
    return permitted


ServicesOf = Annotated[Services, Depends(services_of)]
Reader = Annotated[Actor, Depends(allowed(Permission.READ))]
Operator = Annotated[Actor, Depends(allowed(Permission.ISOLATE))]
Administrator = Annotated[Actor, Depends(allowed(Permission.ADMINISTER))]
Auditor = Annotated[Actor, Depends(allowed(Permission.AUDIT))]
