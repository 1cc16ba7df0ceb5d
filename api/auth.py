"""Access tokens: JSON Web Tokens (RFC 7519) signed with ES256 by the controller's own key.

A token says who its holder is and until when; what the holder may do is looked up at every call, so that
revoking a client or changing its role works at once and not at the token's end.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from api.core.roles import CLAIMS, Actor, Role
from api.problems import Problem
from api.services import clients
from api.services.context import Services
from api.store.tables import ApiClient

log = logging.getLogger(__name__)

ALGORITHM = "ES256"
"""The only algorithm; what a token's header asks for is compared with it, never followed."""

EXPIRES_IN_S = 3599
"""How long a token is good, in the number existing clients are used to."""

MAX_TOKEN = 4096
"""Characters; ours have about 900."""


def issue_token(services: Services, client: ApiClient) -> str:
    """An access token for a client that has just shown its secret."""
    now = int(services.clock.now().timestamp())
    claims: dict[str, Any] = {
        "iss": issuer(services, client.tenant_id),
        "aud": services.settings.url,
        "sub": client.id,
        "tid": client.tenant_id,
        "appid": client.id,
        "app_displayname": client.name,
        "roles": list(CLAIMS[Role(client.role)]),
        "iat": now,
        "nbf": now,
        "exp": now + EXPIRES_IN_S,
        "jti": str(uuid.uuid4()),
        "ver": "1.0",
    }
    key = ECKey(services.keys.token, services.keys.token)
    header = {"alg": ALGORITHM, "typ": "JWT", "kid": key.thumbprint()}
    return jwt.encode(header, claims, key, algorithms=[ALGORITHM])


def issuer(services: Services, tenant_id: str) -> str:
    """Who a tenant's tokens say they are from."""
    return f"{services.settings.url}/{tenant_id}/v2.0"


def public_keys(services: Services) -> dict[str, Any]:
    """The JSON Web Key Set (RFC 7517) that checks the tokens."""
    key = _public(services)
    return {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}]}


def actor_of(services: Services, authorization: str, address: str) -> Actor:
    """The holder of the token in an Authorization header, as in the database now.

    Problem: Unauthorized (401, with WWW-Authenticate) for no token, a wrong one, one that is over, or a
    revoked client; TooManyRequests beyond the client's limits. What was wrong is only in the log.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("a bearer token is required", "")
    claims = _verified(services, token.strip(), address)
    client = clients.find_live(services, str(claims["tid"]), str(claims["sub"]))
    if client is None:
        raise _refused("the client is unknown or revoked", address)
    services.limits.call(services.settings, client.id)
    clients.note_use(services, client)
    return clients.actor_for(client)


def _verified(services: Services, token: str, address: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN or not token.isascii():
        raise _refused("no token of ours", address)
    try:
        claims = jwt.decode(token, _public(services), algorithms=[ALGORITHM]).claims
        registry = jwt.JWTClaimsRegistry(
            now=int(services.clock.now().timestamp()),
            aud={"essential": True, "value": services.settings.url},
            exp={"essential": True},
            sub={"essential": True},
            tid={"essential": True},
        )
        registry.validate(claims)
        expected = issuer(services, str(claims["tid"]))
    except (JoseError, ValueError, TypeError) as error:
        raise _refused(type(error).__name__, address) from None
    if claims.get("iss") != expected:
        raise _refused("another issuer", address)
    return dict(claims)


def _public(services: Services) -> ECKey:
    public = services.keys.token.public_key()
    return ECKey(public, public)


def _refused(reason: str, address: str) -> Problem:
    problem = _unauthorized("the token is not valid, or no longer", ', error="invalid_token"')
    log.warning("token refused: %s; from %s; target %s", reason, address, problem.target)
    return problem


def _unauthorized(message: str, detail: str) -> Problem:
    return Problem(
        "Unauthorized", message, headers={"WWW-Authenticate": f'Bearer realm="host isolation"{detail}'}
    )
