"""Answers of lists: the address that links start with, and the documented query options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.deps import ServicesOf
from api.schemas.page import next_link, page_body
from api.store.odata_page import Page

_MICROSOFT = (".securitycenter.microsoft.com", ".security.microsoft.com")
"""Hosts that clients have built in; they reach us through a forwarder and must stay on the host they know."""


_HOST = re.compile(r"(?:[a-z0-9][a-z0-9.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


def base_of(request: Request, services: ServicesOf) -> str:
    """What links of an answer start with: our public address, without one the caller's; for clients of
    Microsoft's hosts the one they know.
    """
    host = request.headers.get("host", "").lower()
    foreign = host.partition(":")[0].endswith(_MICROSOFT)
    if (foreign or not services.settings.public_url) and _HOST.fullmatch(host):
        return f"https://{host}"
    return services.settings.url


def answer_page(
    request: Request, services: ServicesOf, resource: str, page: Page, rows: Sequence[BaseModel]
) -> JSONResponse:
    """The page of a list request as its answer; `rows` are the page's rows in the API's words."""
    base = base_of(request, services)
    options = request.query_params.multi_items()
    link = next_link(base, request.url.path, options, page.skiptoken) if page.skiptoken else None
    return JSONResponse(page_body(base, resource, rows, select=page.select, count=page.count, next_link=link))


def _option(name: str, kind: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": kind}, "description": meaning}


LIST_OPTIONS: dict[str, Any] = {
    "parameters": [
        _option("$filter", "string", "OData: eq ne gt ge lt le, in, and/or/not, startswith, any"),
        _option("$orderby", "string", "properties, each with asc or desc"),
        _option("$select", "string", "properties to show"),
        _option("$top", "integer", "at most so many, up to 10,000"),
        _option("$skip", "integer", "leave out so many"),
        _option("$skiptoken", "string", "from @odata.nextLink"),
        _option("$count", "boolean", "say in @odata.count how many there are on all pages"),
        _option("pageSize", "integer", "rows of one answer"),
    ]
}
"""`openapi_extra` of a list."""
