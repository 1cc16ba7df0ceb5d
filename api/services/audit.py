"""The audit log: written in the same transaction as what it tells, read and verified by auditors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, SessionTransaction

from api.core.audit_chain import GENESIS, ChainVerdict, Link, link_hash, verify_chain
from api.core.canonical import canonical_bytes
from api.core.instant import parse_instant, render_instant
from api.core.roles import Actor
from api.services import events
from api.services.context import Services
from api.store.tables import AuditHead, AuditRow, Tenant
from isolator.core.signed import key_id_of, public_bytes

PORTION = 1000
"""Rows of the chain read at once."""


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
    head = hold(session, actor.tenant_id)
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


def hold(session: Session, tenant_id: str) -> AuditHead:
    """The head of a tenant's chain, locked until the transaction ends.

    Writers of one tenant queue here, so no number is given twice; whoever must count what others are just
    doing queues here too. Rows of machines are locked before it, never after: else two could wait for each
    other. Asked for once in a transaction, however many rows it writes: they chain in memory until the flush.
    """
    held: dict[str, tuple[SessionTransaction, AuditHead]] = session.info.setdefault("audit_heads", {})
    inner, outer = session.get_nested_transaction(), session.get_transaction()
    # A lock taken after a savepoint goes when that is rolled back, so it is good only inside of it.
    if tenant_id in held and held[tenant_id][0] in (inner, outer):
        return held[tenant_id][1]
    head = _locked(session, tenant_id)
    owner = session.get_nested_transaction() or session.get_transaction()
    if owner is not None:
        held[tenant_id] = (owner, head)
    return head


def _locked(session: Session, tenant_id: str) -> AuditHead:
    query = select(AuditHead).where(AuditHead.tenant_id == tenant_id).with_for_update()
    head = session.scalars(query).one_or_none()
    if head is not None:
        return head
    # The first rows of a tenant may come from two writers at once: one of them makes the head, both wait.
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    first = {"tenant_id": tenant_id, "seq": 0, "hash": GENESIS, "signature": b"", "key_id": ""}
    session.execute(insert(AuditHead).values(**first).on_conflict_do_nothing())
    return session.scalars(query).one()


def head_bytes(tenant_id: str, seq: int, digest: str) -> bytes:
    """What the head's signature is over."""
    return f"isolator audit head\n{tenant_id}\n{seq}\n{digest}\n".encode()


def rows(
    session: Session, tenant_id: str, *, after: int = 0, up_to: int | None = None, limit: int | None = None
) -> Iterator[Link]:
    """A tenant's chain in order of number, read in portions."""
    columns = select(AuditRow.seq, AuditRow.content, AuditRow.previous, AuditRow.hash)
    query = columns.where(AuditRow.tenant_id == tenant_id).order_by(AuditRow.seq)
    if up_to is not None:
        query = query.where(AuditRow.seq <= up_to)
    # Portion by portion, not by a cursor: whoever walks a broken chain stops in the middle.
    while limit is None or limit > 0:
        size = PORTION if limit is None else min(PORTION, limit)
        found = session.execute(query.where(AuditRow.seq > after).limit(size)).all()
        for seq, content, previous, digest in found:
            yield Link(seq, _content(content), previous, digest)
        if len(found) < size:
            return
        after = found[-1].seq
        limit = None if limit is None else limit - size


def verify(session: Session, services: Services, tenant_id: str) -> ChainVerdict:
    """Walk a tenant's whole chain, its head and the head's signature; names the first broken row.

    Head and last number are read in one statement: rows that are added meanwhile are not judged.
    """
    last = select(func.max(AuditRow.seq)).where(AuditRow.tenant_id == tenant_id).scalar_subquery()
    found = session.execute(
        select(AuditHead.seq, AuditHead.hash, AuditHead.signature, AuditHead.key_id, last)
        .select_from(Tenant)
        .outerjoin(AuditHead, AuditHead.tenant_id == Tenant.id)
        .where(Tenant.id == tenant_id)
    ).one_or_none()
    if found is None:
        return ChainVerdict(0, GENESIS)
    seq, digest, signature, key_id, end = found
    seq, digest, end = seq or 0, digest or GENESIS, end or 0
    verdict = verify_chain(rows(session, tenant_id, up_to=max(seq, end)), head=(seq, digest))
    if seq == 0 or not verdict.whole:
        return verdict
    public = services.keys.order_keys.get(key_id) or _retired(session, services, tenant_id, key_id, seq)
    if public is not None and _is_signed(public, signature, head_bytes(tenant_id, seq, digest)):
        return verdict
    return ChainVerdict(verdict.rows, verdict.head, seq, "the head's signature is not the controller's")


def _content(text: str) -> dict[str, Any]:
    """A row's content; what is not written as it was hashed can have been hashed by nobody."""
    try:
        content = json.loads(text)
        if isinstance(content, dict) and canonical_bytes(content).decode() == text:
            return content
    except (ValueError, RecursionError):
        pass
    return {"unreadable": text}


def _retired(session: Session, services: Services, tenant_id: str, key_id: str, seq: int) -> bytes | None:
    """A key that is no longer good, when the row it signed last was written while it was."""
    retired = services.keys.retired.get(key_id)
    row = session.get(AuditRow, (tenant_id, seq))
    if retired is None or row is None:
        return None
    try:
        at = parse_instant(str(json.loads(row.content)["at"]))
    except (ValueError, TypeError, KeyError):
        return None
    return retired.public if at <= retired.at else None


def _is_signed(public: bytes, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True
