"""The audit log: written in the same transaction as what it tells, read and verified by auditors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.core.audit_chain import GENESIS, ChainVerdict, Link, link_hash, verify_chain
from api.core.canonical import canonical_bytes
from api.core.instant import render_instant
from api.core.roles import Actor
from api.services import events
from api.services.context import Services
from api.store.tables import AuditHead, AuditRow
from isolator.core.signed import key_id_of, public_bytes


def record(
    session: Session,
    services: Services,
    actor: Actor,
    action: str,
    target: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add one row to the actor's tenant's chain. The caller's transaction commits both or neither.

    `action` is a stable word such as `machine.isolate`; `detail` holds no secret.
    """
    content = {
        "at": render_instant(services.clock.now()),
        "actor": {"name": actor.name, "kind": actor.kind, "role": actor.role.value, "id": actor.id},
        "action": action,
        "target": target,
        "detail": dict(detail or {}),
    }
    # The head's row is locked first: writers of one tenant queue here, and no number is given twice.
    head = session.scalars(
        select(AuditHead).where(AuditHead.tenant_id == actor.tenant_id).with_for_update()
    ).one_or_none()
    if head is None:
        head = AuditHead(tenant_id=actor.tenant_id, seq=0, hash=GENESIS, signature=b"", key_id="")
        session.add(head)
    seq, previous = head.seq + 1, head.hash
    digest = link_hash(seq, previous, content)
    session.add(
        AuditRow(
            tenant_id=actor.tenant_id,
            seq=seq,
            content=canonical_bytes(content).decode(),
            previous=previous,
            hash=digest,
        )
    )
    head.seq, head.hash = seq, digest
    head.signature = services.keys.order.sign(head_bytes(actor.tenant_id, seq, digest))
    head.key_id = key_id_of(public_bytes(services.keys.order))
    events.emit(
        session,
        services,
        actor.tenant_id,
        "audit",
        {
            **content,
            "seq": seq,
            "hash": digest,
            "head_signature": head.signature.hex(),
            "key_id": head.key_id,
        },
    )


def head_bytes(tenant_id: str, seq: int, digest: str) -> bytes:
    """What the head's signature is over."""
    return f"isolator audit head\n{tenant_id}\n{seq}\n{digest}\n".encode()


def rows(session: Session, tenant_id: str, *, after: int = 0, limit: int | None = None) -> Iterator[Link]:
    """A tenant's chain in order of number, read in portions."""
    query = (
        select(AuditRow).where(AuditRow.tenant_id == tenant_id, AuditRow.seq > after).order_by(AuditRow.seq)
    )
    if limit is not None:
        query = query.limit(limit)
    for row in session.scalars(query.execution_options(yield_per=1000)):
        try:
            content = json.loads(row.content)
        except ValueError:
            content = {"unreadable": row.content}
        yield Link(row.seq, content, row.previous, row.hash)


def verify(session: Session, services: Services, tenant_id: str) -> ChainVerdict:
    """Walk a tenant's whole chain, its head and the head's signature; names the first broken row."""
    head = session.get(AuditHead, tenant_id)
    ends = (0, GENESIS) if head is None else (head.seq, head.hash)
    verdict = verify_chain(rows(session, tenant_id), head=ends)
    if head is None or not verdict.whole:
        return verdict
    public = services.keys.order_keys.get(head.key_id)
    signed = public is not None and _is_signed(public, head)
    if signed:
        return verdict
    return ChainVerdict(verdict.rows, verdict.head, head.seq, "the head's signature is not the controller's")


def _is_signed(public: bytes, head: AuditHead) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(
            head.signature, head_bytes(head.tenant_id, head.seq, head.hash)
        )
    except (InvalidSignature, ValueError):
        return False
    return True
