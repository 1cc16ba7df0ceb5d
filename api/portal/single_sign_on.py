"""Single sign-on by OpenID Connect: authorization code flow with PKCE, state and nonce.

Sources: OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3.7; RFC 7636 (PKCE); RFC 9207 (issuer in the
answer); RFC 9700 (best current practice). Nothing of the provider's answer is believed before its signature,
issuer, audience, time and nonce are checked.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from api.core.roles import Role
from api.problems import Problem
from api.settings import SingleSignOn

_log = logging.getLogger("api.portal.single_sign_on")

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
"""Signatures by public keys only: with a shared-secret algorithm the provider's public key could sign."""

SCOPE = "openid profile email"
TIMEOUT_S = 10.0
LEEWAY_S = 60
"""How far the provider's clock may be off."""

MAX_DOCUMENT = 512 * 1024
MAX_SUBJECT = 255
"""Characters of `issuer|sub`. A longer one is refused, never cut: two people could be one then."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the browser must bring back, from its own cookie, for an answer to be its own."""

    state: str
    nonce: str
    verifier: str
    next: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it is."""

    subject: str
    """`issuer|sub`: names can be given to somebody else, this cannot (OpenID Connect Core, 5.7)."""
    name: str
    role: Role
    groups: tuple[str, ...] | None
    """Group names the person is limited to; None when the configuration names no claim for them."""


def new_attempt(wanted: str) -> Attempt:
    """Fresh random values for one sign-in."""
    return Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), wanted)


def start_address(settings: SingleSignOn, callback: str, attempt: Attempt) -> str:
    """Where the browser goes to sign in. Problem ServiceUnavailable when the provider does not answer."""
    metadata = _metadata(settings)
    address = prepare_grant_uri(
        metadata["authorization_endpoint"],
        settings.client_id,
        "code",
        redirect_uri=callback,
        scope=SCOPE,
        state=attempt.state,
        nonce=attempt.nonce,
        code_challenge=create_s256_code_challenge(attempt.verifier),
        code_challenge_method="S256",
    )
    return str(address)


def finish(
    settings: SingleSignOn, callback: str, attempt: Attempt, answer: Mapping[str, str], now_s: float
) -> Person:
    """The person of the provider's answer. Problem Unauthorized when anything about it is not right."""
    if not secrets.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
        raise _refused("the answer belongs to another sign-in; start again")
    if answer.get("error"):
        raise _refused("the provider refused the sign-in")
    if answer.get("iss", settings.issuer).rstrip("/") != settings.issuer.rstrip("/"):
        raise _refused("the answer comes from another provider")
    metadata = _metadata(settings)
    token = _identity_token(
        settings, callback, attempt, str(metadata["token_endpoint"]), answer.get("code", "")
    )
    claims = _claims(settings, metadata, token, attempt.nonce, now_s)
    return _person(settings, claims)


def _claims(
    settings: SingleSignOn, metadata: Mapping[str, Any], token: str, nonce: str, now_s: float
) -> dict[str, Any]:
    try:
        keys = KeySet.import_key_set(_document(str(metadata["jwks_uri"])))  # type: ignore[arg-type]
        decoded = jwt.decode(token, keys, algorithms=ALGORITHMS)
        registry = jwt.JWTClaimsRegistry(
            now=int(now_s),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": metadata["issuer"]},
            sub={"essential": True},
            aud={"essential": True, "value": settings.client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        registry.validate(decoded.claims)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        _log.warning("an identity token was refused: %s", type(error).__name__)
        raise _refused("the provider's identity token is not good") from error
    claims = decoded.claims
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != settings.client_id:
        raise _refused("the provider's identity token is for another client")
    return claims


def _person(settings: SingleSignOn, claims: Mapping[str, Any]) -> Person:
    held = _texts(claims.get(settings.role_claim))
    # The order of the configuration decides between several.
    role = next((role for value, role in settings.roles.items() if value in held), None)
    if role is None:
        raise Problem("Forbidden", "your account at the provider has no role here; ask an administrator")
    name = next(
        (str(claims[each]) for each in ("preferred_username", "email", "name") if claims.get(each)),
        str(claims["sub"]),
    )
    groups = tuple(_texts(claims.get(settings.group_claim))) if settings.group_claim else None
    subject = f"{settings.issuer}|{claims['sub']}"
    if len(subject) > MAX_SUBJECT:
        raise _refused("the provider's identifier of your account is too long")
    return Person(subject, name, Role(role), groups)


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else ()


def _identity_token(settings: SingleSignOn, callback: str, attempt: Attempt, endpoint: str, code: str) -> str:
    """What the provider gives for the code, with our secret in the header (OpenID Connect Core, 9)."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": callback,
        "code_verifier": attempt.verifier,
    }
    # RFC 6749, 2.3.1: both parts are form-encoded before they become a user name and a password.
    secret = httpx.BasicAuth(quote(settings.client_id, safe=""), quote(_secret(settings), safe=""))
    try:
        answer = httpx.post(endpoint, data=form, auth=secret, timeout=TIMEOUT_S, follow_redirects=False)
        answer.raise_for_status()
        return str(answer.json()["id_token"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        _log.warning("the provider gave no token: %s", type(error).__name__)
        raise _refused("the provider gave no token") from error


def _secret(settings: SingleSignOn) -> str:
    try:
        return settings.client_secret_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        _log.error("the client secret cannot be read: %s", type(error).__name__)
        raise _unreachable() from error


def _metadata(settings: SingleSignOn) -> Mapping[str, Any]:
    """The provider's addresses (OpenID Connect Discovery 1.0); it must call itself what we call it."""
    document = _document(f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration")
    named = str(document.get("issuer", ""))
    addresses = [document.get(each) for each in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
    if named.rstrip("/") != settings.issuer.rstrip("/") or not all(map(_is_safe, addresses)):
        _log.error("the provider's metadata name another issuer, or an address without TLS")
        raise _unreachable()
    return document


def _document(address: str) -> dict[str, Any]:
    if not _is_safe(address):
        _log.error("the provider's address has no TLS")
        raise _unreachable()
    try:
        answer = httpx.get(address, timeout=TIMEOUT_S, follow_redirects=False)
        answer.raise_for_status()
        document = answer.json() if len(answer.content) <= MAX_DOCUMENT else None
    except (httpx.HTTPError, ValueError) as error:
        _log.warning("the provider does not answer: %s", type(error).__name__)
        raise _unreachable() from error
    if not isinstance(document, dict):
        raise _unreachable()
    return document


def _is_safe(address: object) -> bool:
    """HTTPS, or plain HTTP on this very host (a provider beside us, or a test's)."""
    try:
        parts = urlsplit(str(address))
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1"))


def _refused(sentence: str) -> Problem:
    return Problem("Unauthorized", sentence)


def _unreachable() -> Problem:
    return Problem("ServiceUnavailable", "the sign-on provider cannot be used now; local accounts still work")
