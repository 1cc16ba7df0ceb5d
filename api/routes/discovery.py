"""What identity libraries ask before they ask for a token (OpenID Connect Discovery 1.0; MSAL's questions).

Addresses in the answers carry the name the caller used, because callers behind a forwarder know the
controller under Microsoft's names only; nothing else depends on it, and no answer may be stored.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.auth import ALGORITHM, issuer, public_keys
from api.deps import ServicesOf
from api.routes.oauth_errors import NO_STORE, OAuthRefusal, oauth_answer, unknown_tenant
from api.services import tenants
from api.services.context import Services

router = APIRouter(tags=["token"])

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


@router.get("/{tenant}/v2.0/.well-known/openid-configuration", include_in_schema=False)
@router.get("/{tenant}/.well-known/openid-configuration", include_in_schema=False)
def configuration(tenant: str, request: Request, services: ServicesOf) -> JSONResponse:
    """Where a tenant's endpoints are."""
    found = tenants.find(services, tenant)
    if found is None:
        return oauth_answer(request, services, unknown_tenant(tenant))
    base = f"{_address(request, services)}/{found.id}"
    version = "/v2.0" if "/v2.0/" in request.url.path else ""
    document: dict[str, Any] = {
        "issuer": issuer(services, found.id),
        # There is no such page: nobody signs in here with a browser. MSAL insists on the address.
        "authorization_endpoint": f"{base}/oauth2{version}/authorize",
        "token_endpoint": f"{base}/oauth2{version}/token",
        "jwks_uri": f"{base}/discovery{version}/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }
    return JSONResponse(document, headers=NO_STORE)


@router.get("/common/discovery/instance", include_in_schema=False)
def instance(request: Request, services: ServicesOf, authorization_endpoint: str = "") -> JSONResponse:
    """Whether an authority is known here, and where its configuration is."""
    try:
        asked = urlsplit(authorization_endpoint)
        host, tenant = asked.hostname or "", asked.path.strip("/").split("/")[0]
    except ValueError:
        host, tenant = "", ""
    # MSAL also asks about `common`, for the other names of a host, when a token was refused.
    found = tenants.find(services, tenant)
    if (found is None and tenant != "common") or not host:
        refusal = OAuthRefusal("invalid_instance", "the authority is not known here", 50049)
        return oauth_answer(request, services, refusal)
    own = _address(request, services)
    name, wanted = own.removeprefix("https://"), found.id if found else tenant
    document = {
        "tenant_discovery_endpoint": f"{own}/{wanted}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": name, "preferred_cache": name, "aliases": [name]}],
    }
    return JSONResponse(document, headers=NO_STORE)


@router.get("/{tenant}/discovery/v2.0/keys", include_in_schema=False)
@router.get("/{tenant}/discovery/keys", include_in_schema=False)
def keys(tenant: str, request: Request, services: ServicesOf) -> JSONResponse:
    """The public key that checks access tokens."""
    if tenant != "common" and tenants.find(services, tenant) is None:
        return oauth_answer(request, services, unknown_tenant(tenant))
    return JSONResponse(public_keys(services))


def _address(request: Request, services: Services) -> str:
    host = request.headers.get("host", "")
    return f"https://{host}" if _HOST.fullmatch(host) else services.settings.url
