"""Isolate, unisolate, cancel: Microsoft's calls."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.deps import Administrator, Operator, ServicesOf
from api.problems import Problem
from api.schemas.action import ActionOut, CommentBody, IsolateBody, action_out
from api.schemas.custody import EnvelopeOut, ForcedReleaseBody
from api.services import isolation
from api.services.forced_release import forced_release
from api.services.isolation import OrderRequest
from api.store.tables import Machine
from isolator.core.signed import encode_envelope

router = APIRouter(tags=["orders"])


@router.post("/machines/{machine_id}/isolate", status_code=201)
def isolate(machine_id: str, body: IsolateBody, actor: Operator, services: ServicesOf) -> ActionOut:
    """Cut a machine off. 201 means *ordered*; watch the action for *applied* and *verified*."""
    if body.IsolationType == "UnManagedDevice":
        raise Problem(
            "InvalidInput", "UnManagedDevice: devices without an agent cannot be isolated from here"
        )
    request = OrderRequest(
        machine=machine_id,
        comment=body.Comment,
        scope=body.IsolationType.lower(),
        title=body.Title,
        external_id=body.ExternalId,
        request_source=body.RequestSource or "PublicApi",
        overrides=frozenset(body.Overrides),
    )
    return _place(services, actor, request)


@router.post("/machines/{machine_id}/unisolate", status_code=201)
def unisolate(machine_id: str, body: CommentBody, actor: Operator, services: ServicesOf) -> ActionOut:
    """Let a machine go again. 201 means *ordered*."""
    request = OrderRequest(
        machine=machine_id,
        comment=body.Comment,
        isolate=False,
        title=body.Title,
        external_id=body.ExternalId,
        request_source=body.RequestSource or "PublicApi",
    )
    return _place(services, actor, request)


@router.post("/machineactions/{action_id}/cancel")
def cancel(action_id: str, body: CommentBody, actor: Operator, services: ServicesOf) -> ActionOut:
    """Withdraw an order that no agent has taken yet."""
    action = isolation.cancel(services, actor, action_id, body.Comment)
    return action_out(action, _name(services, action.machine_id))


@router.post("/machines/{machine_id}/forcedrelease", status_code=201)
def force_release(
    machine_id: str, body: ForcedReleaseBody, response: Response, actor: Administrator, services: ServicesOf
) -> EnvelopeOut:
    """A signed file that lets one device go when it cannot reach the controller; single use."""
    response.headers["Cache-Control"] = "no-store"
    _, envelope = forced_release(services, actor, machine_id, body.Comment, float(body.LastsSeconds))
    return EnvelopeOut(**encode_envelope(envelope))


def _place(services: ServicesOf, actor: Operator, request: OrderRequest) -> ActionOut:
    action = isolation.place(services, actor, request)
    return action_out(action, _name(services, action.machine_id))


def _name(services: ServicesOf, machine_id: str) -> str:
    with services.database.read() as session:
        return session.get_one(Machine, machine_id).computer_name
