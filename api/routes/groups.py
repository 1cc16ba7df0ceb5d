"""Groups and tags."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import Administrator, Reader, ServicesOf
from api.schemas.own import GroupBody, GroupOut, PlaceBody, TagsBody
from api.services import groups

router = APIRouter(tags=["groups"])


@router.get("/groups")
def list_groups(actor: Reader, services: ServicesOf) -> list[GroupOut]:
    """Groups with the number of their machines."""
    return [
        GroupOut(id=group.id, name=group.name, machines=count)
        for group, count in groups.list_groups(services, actor)
    ]


@router.post("/groups", status_code=201)
def create_group(body: GroupBody, actor: Administrator, services: ServicesOf) -> GroupOut:
    """A new group."""
    group = groups.create_group(services, actor, body.name)
    return GroupOut(id=group.id, name=group.name, machines=0)


@router.put("/machines/{machine_id}/group", status_code=204)
def place_machine(machine_id: str, body: PlaceBody, actor: Administrator, services: ServicesOf) -> None:
    """Put a machine into a group, or out of every group."""
    groups.place_machine(services, actor, machine_id, body.groupId)


@router.put("/machines/{machine_id}/tags", status_code=204)
def set_tags(machine_id: str, body: TagsBody, actor: Administrator, services: ServicesOf) -> None:
    """Replace a machine's tags; the tag that protects from isolation counts at once."""
    groups.set_tags(services, actor, machine_id, body.tags)
