"""The token endpoint: client credentials (RFC 6749, 4.4) as Microsoft's identity platform answers it.

v1 names the wanted API `resource` and writes numbers as strings; v2 says `scope`. Some clients send the form
as the body of a GET. Errors are flat (RFC 6749, 5.2), unlike everywhere else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from api.auth import EXPIRES_IN_S, issue_token
from api.deps import ServicesOf, caller_address
from api.problems import Problem
from api.routes.oauth_errors import NO_STORE, OAuthRefusal, oauth_answer, unknown_tenant
from api.services import clients, tenants
from api.services.context import Services

router = APIRouter(tags=["token"])

MAX_FORM = 16 * 1024
"""Bytes; real ones have a few hundred."""

_FIELDS = {
    "grant_type": {"type": "string", "enum": ["client_credentials"]},
    "client_id": {"type": "string"},
    "client_secret": {"type": "string"},
}
_ANSWER = {
    "type": "object",
    "required": ["token_type", "expires_in", "ext_expires_in", "access_token"],
    "properties": {
        "token_type": {"const": "Bearer"},
        "expires_in": {"type": ["integer", "string"]},
        "ext_expires_in": {"type": ["integer", "string"]},
        "access_token": {"type": "string"},
    },
}
_REFUSAL = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}


def _described(audience: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {**_FIELDS, audience: {"type": "string"}}}
    return {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": schema}}}}


def _as_json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: _as_json(_ANSWER, "A token"),
    400: _as_json(_REFUSAL, "The request is wrong"),
    401: _as_json(_REFUSAL, "Client id or secret is wrong"),
    429: _as_json(_REFUSAL, "Too many calls or wrong secrets"),
}


@router.get("/{tenant}/oauth2/v2.0/token", include_in_schema=False)
@router.post("/{tenant}/oauth2/v2.0/token", openapi_extra=_described("scope"), responses=_RESPONSES)
async def token(tenant: str, request: Request, services: ServicesOf) -> JSONResponse:
    """A token for an API client: good for an hour, or until the client is revoked."""
    return await _token(tenant, request, services, first_version=False)


@router.get("/{tenant}/oauth2/token", include_in_schema=False)
@router.post("/{tenant}/oauth2/token", openapi_extra=_described("resource"), responses=_RESPONSES)
async def token_v1(tenant: str, request: Request, services: ServicesOf) -> JSONResponse:
    """The same for clients of the first version."""
    return await _token(tenant, request, services, first_version=True)


async def _token(tenant: str, request: Request, services: Services, *, first_version: bool) -> JSONResponse:
    try:
        form = await _form(request)
        identity, secret = _credentials(form, request.headers.get("authorization", ""))
        body = await run_in_threadpool(
            _granted, services, tenant, form, identity, secret, caller_address(request)
        )
    except OAuthRefusal as refusal:
        return oauth_answer(request, services, refusal)
    except Problem as problem:
        if problem.code != "TooManyRequests":
            raise
        return oauth_answer(
            request, services, OAuthRefusal("temporarily_unavailable", problem.message, 50196, status=429),
            headers=problem.headers,
        )  # fmt: skip
    if first_version:
        body = _as_first_version(services, form, body)
    return JSONResponse(body, headers=NO_STORE)


def _granted(
    services: Services, tenant: str, form: Mapping[str, str], identity: str, secret: str, address: str
) -> dict[str, Any]:
    found = tenants.find(services, tenant)
    if found is None:
        raise unknown_tenant(tenant)
    if form.get("grant_type") != "client_credentials":
        raise OAuthRefusal("unsupported_grant_type", "grant_type must be client_credentials", 70003)
    client = clients.authenticate(services, found.id, identity, secret, address)
    if client is None:
        raise OAuthRefusal("invalid_client", "client id or secret is wrong", 7000215, status=401)
    return {
        "token_type": "Bearer",
        "expires_in": EXPIRES_IN_S,
        "ext_expires_in": EXPIRES_IN_S,
        "access_token": issue_token(services, client),
    }


def _as_first_version(services: Services, form: Mapping[str, str], body: dict[str, Any]) -> dict[str, Any]:
    now = int(services.clock.now().timestamp())
    return {
        **body,
        "expires_in": str(EXPIRES_IN_S),
        "ext_expires_in": str(EXPIRES_IN_S),
        "expires_on": str(now + EXPIRES_IN_S),
        "not_before": str(now),
        "resource": form.get("resource", services.settings.url),
    }


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "application/x-www-form-urlencoded"):
        raise OAuthRefusal("invalid_request", "the body must be application/x-www-form-urlencoded", 900144)
    body = await request.body()
    try:
        if len(body) > MAX_FORM:
            raise ValueError
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:  # what is no ASCII, no UTF-8 when decoded, or too much
        raise OAuthRefusal("invalid_request", "the body is no form", 900144) from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthRefusal("invalid_request", "a parameter is there twice", 900144)
    return form


def _credentials(form: Mapping[str, str], authorization: str) -> tuple[str, str]:
    """Client id and secret, from the form or the Basic header (RFC 6749, 2.3.1: form-encoded inside)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(encoded.strip(), validate=True).decode()
            identity, colon, secret = text.partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon or "client_secret" in form:
            raise OAuthRefusal(
                "invalid_request", "the Authorization header is no Basic one, or not alone", 900144
            )
        return unquote_plus(identity), unquote_plus(secret)
    for name in ("client_id", "client_secret"):
        if not form.get(name):
            raise OAuthRefusal("invalid_request", f"the parameter {name} is missing", 900144)
    return form["client_id"], form["client_secret"]
