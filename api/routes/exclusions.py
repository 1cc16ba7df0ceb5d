"""Exclusions of Selective isolation."""

from __future__ import annotations

from fastapi import APIRouter

from api.core.instant import render_instant
from api.deps import Administrator, Reader, ServicesOf
from api.schemas.own import ExclusionBody, ExclusionOut
from api.services import exclusions
from api.store.tables import Exclusion

router = APIRouter(tags=["exclusions"])


@router.get("/exclusions")
def list_exclusions(actor: Reader, services: ServicesOf) -> list[ExclusionOut]:
    """All exclusions by name."""
    return [_out(each) for each in exclusions.list_exclusions(services, actor)]


@router.post("/exclusions", status_code=201)
def create_exclusion(body: ExclusionBody, actor: Administrator, services: ServicesOf) -> ExclusionOut:
    """A new exclusion, for orders made from now on."""
    spec = body.model_dump(exclude={"name", "groupId"})
    return _out(exclusions.create_exclusion(services, actor, body.name, spec, body.groupId))


@router.delete("/exclusions/{exclusion_id}", status_code=204)
def delete_exclusion(exclusion_id: str, actor: Administrator, services: ServicesOf) -> None:
    """Take an exclusion away; what is isolated with it keeps it until released."""
    exclusions.delete_exclusion(services, actor, exclusion_id)


def _out(exclusion: Exclusion) -> ExclusionOut:
    return ExclusionOut(
        id=exclusion.id,
        name=exclusion.name,
        **exclusion.spec,
        groupId=exclusion.group_id,
        createdBy=exclusion.created_by,
        createdDateTimeUtc=render_instant(exclusion.created_at) or "",
    )
