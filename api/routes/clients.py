"""API clients: made, listed, revoked."""

from __future__ import annotations

from fastapi import APIRouter

from api.core.instant import render_instant
from api.core.roles import Role
from api.deps import Administrator, ServicesOf
from api.schemas.access import ClientOut, HolderBody, NewClientOut
from api.services import clients
from api.store.tables import ApiClient

router = APIRouter(tags=["clients"])


@router.get("/clients")
def list_clients(actor: Administrator, services: ServicesOf) -> list[ClientOut]:
    """All clients by name, the revoked ones too."""
    return [_out(each) for each in clients.listing(services, actor)]


@router.post("/clients", status_code=201)
def create_client(body: HolderBody, actor: Administrator, services: ServicesOf) -> NewClientOut:
    """A new client; its secret is in this answer and nowhere else."""
    new = clients.create(services, actor, body.name, Role(body.role), body.groups)
    return NewClientOut(**_out(new.client).model_dump(), secret=new.secret)


@router.delete("/clients/{client_id}", status_code=204)
def revoke_client(client_id: str, actor: Administrator, services: ServicesOf) -> None:
    """Make its secret and its tokens worthless at once. Twice is no error."""
    clients.revoke(services, actor, client_id)


def _out(client: ApiClient) -> ClientOut:
    return ClientOut(
        id=client.id,
        name=client.name,
        role=client.role,  # type: ignore[arg-type]  # the table holds just these
        groups=client.groups,
        createdBy=client.created_by,
        createdDateTimeUtc=render_instant(client.created_at) or "",
        lastUsedDateTimeUtc=render_instant(client.last_used_at),
        revokedDateTimeUtc=render_instant(client.revoked_at),
    )
