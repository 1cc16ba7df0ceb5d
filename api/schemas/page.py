"""A list as OData answers it: context, value, count, and the link that continues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field

from api.schemas.action import ActionOut
from api.schemas.machine import MachineOut

NOTE = "what matches and this client may see, and no more"
"""Stands in short answers: a known client takes one of 100 bytes or fewer for a missing path."""


class _Page(BaseModel):
    """What every list answer has around its rows."""

    context: str = Field(alias="@odata.context")
    count: int | None = Field(default=None, alias="@odata.count", description="with $count=true")
    next_link: str | None = Field(default=None, alias="@odata.nextLink", description="ask this for the rest")


class MachinePage(_Page):
    """Machines."""

    value: list[MachineOut]


class ActionPage(_Page):
    """Machine actions, newest first."""

    value: list[ActionOut]


def page_body(
    base: str,
    resource: str,
    rows: Sequence[BaseModel],
    *,
    select: tuple[str, ...] | None = None,
    count: int | None = None,
    next_link: str | None = None,
) -> dict[str, Any]:
    """The body of a list answer. `select`: the properties to show, None for all."""
    shown = f"({','.join(select)})" if select else ""
    body: dict[str, Any] = {"@odata.context": f"{base}/api/$metadata#{resource}{shown}"}
    if count is not None:
        body["@odata.count"] = count
    if not rows or select:
        body["@isolator.note"] = NOTE
    body["value"] = [each.model_dump(include=set(select) if select else None) for each in rows]
    if next_link is not None:
        body["@odata.nextLink"] = next_link
    return body


def next_link(base: str, path: str, options: Iterable[tuple[str, str]], skiptoken: str) -> str:
    """The same request, continued: absolute, `$skip` done with, `$skiptoken` in place of an older one."""
    gone = ("skip", "skiptoken")
    kept = [(name, value) for name, value in options if name.lower().removeprefix("$") not in gone]
    return f"{base}{quote(path)}?{urlencode([*kept, ('$skiptoken', skiptoken)], safe='$', quote_via=quote)}"
