"""Endpoint lists: versions, where they are in force, feeds for firewalls."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from api.deps import Reader, ServicesOf
from api.schemas.own import InForceOut, ListOut, ListsOut
from api.services import lists

router = APIRouter(tags=["lists"])


@router.get("/lists")
def show_lists(actor: Reader, services: ServicesOf) -> ListsOut:
    """What is shipped, and which versions the isolated machines report."""
    return ListsOut(
        shipped=[
            ListOut(
                name=each.file.removesuffix(".yaml"),
                id=each.list_id,
                version=each.version,
                entries=each.count,
                cloud=each.cloud,
            )
            for each in lists.shipped()
        ],
        inForce=[
            InForceOut(id=each.list_id, version=each.version, machines=each.machines)
            for each in lists.in_force(services, actor)
        ],
    )


@router.get("/lists/{name}/export", response_class=PlainTextResponse)
def export(
    name: str,
    actor: Reader,
    form: Annotated[str, Query(alias="format")] = "edl-domains",
    geo: str = "",
    profile: str = "all",
) -> PlainTextResponse:
    """A list as an external dynamic list: edl-domains, edl-urls or edl-addresses."""
    return PlainTextResponse(lists.feed(name, form, geo=geo, profile=profile))
