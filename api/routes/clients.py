"""API clients: made, listed, revoked."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import Administrator, ServicesOf
from api.schemas.caller import CallerBody, ClientOut, NewClientOut, client_out
from api.services import clients

router = APIRouter(tags=["clients"])


@router.get("/clients")
def list_clients(actor: Administrator, services: ServicesOf) -> list[ClientOut]:
    """All clients by name, the revoked ones too."""
    return [client_out(each) for each in clients.listing(services, actor)]


@router.post("/clients", status_code=201)
def create_client(
    body: CallerBody, response: Response, actor: Administrator, services: ServicesOf
) -> NewClientOut:
    """A new client; its secret is in this answer and nowhere else."""
    response.headers["Cache-Control"] = "no-store"
    new = clients.create(services, actor, body.name, body.as_role(), body.groups)
    shown = client_out(new.client).model_dump()
    return NewClientOut(**shown, tenantId=new.client.tenant_id, secret=new.secret)


@router.post("/clients/{client_id}/revoke")
def revoke_client(client_id: str, actor: Administrator, services: ServicesOf) -> ClientOut:
    """Make its secret and its tokens worthless at once. Twice is no error."""
    return client_out(clients.revoke(services, actor, client_id))
