"""How machines come and go: enrolment tokens, unenrolment, and the mark of a suspected clone."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.core.instant import render_instant
from api.deps import Administrator, ServicesOf
from api.schemas.action import CommentBody
from api.schemas.custody import LeaveBody, NewTokenOut, TokenBody, TokenOut
from api.schemas.machine import MachineOut, machine_out
from api.services import enrolment, listing, membership
from api.store.tables import EnrolmentToken, Machine

router = APIRouter(tags=["enrolment"])


@router.get("/enrolmenttokens")
def list_tokens(actor: Administrator, services: ServicesOf) -> list[TokenOut]:
    """All tokens, the newest first; used-up, expired and revoked ones too."""
    return [_token(each) for each in enrolment.list_tokens(services, actor)]


@router.post("/enrolmenttokens", status_code=201)
def create_token(
    body: TokenBody, response: Response, actor: Administrator, services: ServicesOf
) -> NewTokenOut:
    """A new token; its text is in this answer and nowhere else."""
    response.headers["Cache-Control"] = "no-store"
    new = enrolment.create_token(
        services, actor, uses=body.uses, lasts_s=float(body.lastsSeconds), group_id=body.groupId
    )
    return NewTokenOut(**_token(new.row).model_dump(), token=new.text)


@router.post("/enrolmenttokens/{token_id}/revoke")
def revoke_token(token_id: str, actor: Administrator, services: ServicesOf) -> TokenOut:
    """End a token; machines that came in by it stay. Twice is once."""
    return _token(enrolment.revoke_token(services, actor, token_id.lower()))


@router.post("/machines/{machine_id}/unenrol")
def unenrol(machine_id: str, body: LeaveBody, actor: Administrator, services: ServicesOf) -> MachineOut:
    """Let a machine go. 409 while it is isolated or an action is under way, unless forced."""
    return _machine(services, membership.unenrol(services, actor, machine_id, body.Comment, force=body.Force))


@router.post("/machines/{machine_id}/dismissduplicate")
def dismiss_duplicate(
    machine_id: str, body: CommentBody, actor: Administrator, services: ServicesOf
) -> MachineOut:
    """Say that a suspected clone or borrowed name was looked into; its reports count again."""
    return _machine(services, membership.dismiss_duplicate(services, actor, machine_id, body.Comment))


def _machine(services: ServicesOf, machine: Machine) -> MachineOut:
    group = listing.group_names(services, [machine]).get(machine.group_id)
    return machine_out(machine, group, services.clock.now())


def _token(row: EnrolmentToken) -> TokenOut:
    return TokenOut(
        id=row.id,
        hint=row.hint,
        groupId=row.group_id,
        usesLeft=row.uses_left,
        uses=row.uses,
        createdBy=row.created_by,
        createdDateTimeUtc=render_instant(row.created_at) or "",
        expiresDateTimeUtc=render_instant(row.expires_at) or "",
        revokedDateTimeUtc=render_instant(row.revoked_at),
    )
