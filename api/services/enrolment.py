"""How devices become known: enrolment tokens and enrolment.

An agent makes its own key; the token only says that it may come in. What a machine should be (desired state,
generation) belongs to its key and survives every enrolment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.core.check_in import parse_facts, parse_name
from api.core.instant import parse_instant, render_instant
from api.core.roles import Actor, Permission
from api.problems import Problem, not_found
from api.services import audit, events
from api.services.addresses import note_addresses
from api.services.context import Services
from api.services.membership import agent_of, apply_facts, believed, mark_same_name
from api.store.tables import EnrolmentToken, Group, Machine
from isolator.core.signed import decode_envelope, encode_envelope, key_id_of, machine_id_of, open_envelope
from isolator.model.signed import Envelope, Kind, Refused

TOKEN_PREFIX = "iso_"  # noqa: S105 - the mark by which a leaked token is recognised, not a secret
HINT_LENGTH = 8
MAX_USES = 100_000
MAX_LASTS_S = 366 * 24 * 3600.0
SKEW = timedelta(hours=1)
"""How far an enrolling device's clock may be off; orders carry end dates, so it has to be about right."""

_REFUSED_TOKEN = "the enrolment token is unknown, used up, expired or revoked"  # noqa: S105


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as made: the only moment its text exists."""

    row: EnrolmentToken
    text: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What came of an enrolment."""

    machine_id: str
    tenant_id: str
    again: bool
    same_name_as: str | None


@dataclass(frozen=True, slots=True)
class _Application:
    """A device's request, its own signature verified."""

    machine_id: str
    public_key: bytes
    computer_name: str
    facts: dict[str, Any]


def create_token(
    services: Services,
    actor: Actor,
    *,
    uses: int = 1,
    lasts_s: float = 24 * 3600.0,
    group_id: int | None = None,
) -> NewToken:
    """A token for `uses` enrolments within `lasts_s` seconds; machines come into the group. Audited."""
    _administer(actor)
    if not 1 <= uses <= MAX_USES:
        raise Problem("InvalidInput", f"uses: 1 to {MAX_USES}")
    if not 0 < lasts_s <= MAX_LASTS_S:
        raise Problem("InvalidInput", "a token lasts for more than nothing and at most 366 days")
    if group_id is None and actor.groups is not None:
        raise Problem("Forbidden", "you are limited to groups; name the one that machines come into")
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    now = services.clock.now()
    with services.database.write() as session:
        if group_id is not None:
            _group(session, actor, group_id)
        row = EnrolmentToken(
            id=str(uuid.uuid4()),
            tenant_id=actor.tenant_id,
            token_hash=_hash(text),
            hint=text[:HINT_LENGTH],
            group_id=group_id,
            uses_left=uses,
            created_at=now,
            created_by=actor.name,
            expires_at=now + timedelta(seconds=lasts_s),
        )
        session.add(row)
        audit.record(
            session,
            services,
            actor,
            "enrolment_token.create",
            row.id,
            {"uses": uses, "group_id": group_id, "expires_at": render_instant(row.expires_at)},
        )
    return NewToken(row, text)


def list_tokens(services: Services, actor: Actor) -> Sequence[EnrolmentToken]:
    """The tenant's tokens, newest first; used-up, expired and revoked ones too. Their texts are not known."""
    _administer(actor)
    with services.database.read() as session:
        found = session.scalars(
            select(EnrolmentToken)
            .where(EnrolmentToken.tenant_id == actor.tenant_id)
            .order_by(EnrolmentToken.created_at.desc())
        )
        return [each for each in found if actor.reaches(each.group_id)]


def revoke_token(services: Services, actor: Actor, token_id: str) -> EnrolmentToken:
    """End a token; machines that came in by it stay. Twice is once."""
    _administer(actor)
    with services.database.write() as session:
        row = session.get(EnrolmentToken, token_id, with_for_update=True)
        if row is None or row.tenant_id != actor.tenant_id or not actor.reaches(row.group_id):
            raise not_found("Enrolment token", token_id)
        if row.revoked_at is None:
            row.revoked_at = services.clock.now()
            audit.record(session, services, actor, "enrolment_token.revoke", row.id, {"uses": row.uses})
    return row


def enrol(services: Services, body: object, address: str, *, own_host: bool = False) -> dict[str, Any]:
    """Take a device in; gives the answer's body. Problem when token or signature are not good.

    The same key again, with a good token of the same tenant, changes name and facts and nothing else.
    `own_host`: the call comes from the controller's own host, so its claim to be that may be believed.
    """
    token, envelope = _read_body(body)
    # A look before anything is locked or verified: a wrong token costs one indexed read.
    with services.database.read() as session:
        good = session.scalars(_usable(services, _hash(token))).one_or_none()
    if good is None:
        raise Problem("Unauthorized", _REFUSED_TOKEN)
    application = _verified(services, envelope, own_host=own_host)
    try:
        enrolled = _take_in(services, token, application, address)
    except IntegrityError:  # the same new key twice at the same moment: now it is there
        enrolled = _take_in(services, token, application, address)
    return {
        "machine_id": enrolled.machine_id,
        "tenant_id": enrolled.tenant_id,
        "root": base64.urlsafe_b64encode(services.keys.root_public).rstrip(b"=").decode(),
        "keys": encode_envelope(services.keys.keyset),
    }


def _take_in(services: Services, token: str, application: _Application, address: str) -> Enrolled:
    now = services.clock.now()
    with services.database.write() as session:
        found = session.scalars(_usable(services, _hash(token)).with_for_update()).one_or_none()
        # Counted by the database: of two who race for the last use, the condition holds for one.
        counted = (
            found is not None
            and session.execute(
                update(EnrolmentToken)
                .where(EnrolmentToken.id == found.id, EnrolmentToken.uses_left > 0)
                .values(uses_left=EnrolmentToken.uses_left - 1, uses=EnrolmentToken.uses + 1)
                .returning(EnrolmentToken.id)
            ).one_or_none()
        )
        if found is None or not counted:
            raise Problem("Unauthorized", _REFUSED_TOKEN)
        machine = session.get(Machine, application.machine_id, with_for_update=True)
        if machine is not None and machine.tenant_id != found.tenant_id:
            raise Problem("Conflict", "this device's key is enrolled elsewhere; make a new key")
        again = machine is not None
        if machine is None:
            machine = _new_machine(application, found, now)
            session.add(machine)
        elif machine.unenrolled_at is not None:
            machine.unenrolled_at = None
        machine.computer_name = application.computer_name
        apply_facts(machine, application.facts)
        machine.enrolled_at = machine.last_seen = now
        machine.external_ip = address[:45] or None
        session.flush()
        note_addresses(session, machine, now)
        detail = {"computer_name": machine.computer_name, "token": found.id, "address": address}
        detail |= {"again": again, "desired": machine.desired, "generation": machine.generation}
        audit.record(session, services, agent_of(machine), "machine.enrol", machine.id, detail)
        events.emit(
            session, services, machine.tenant_id, "machine.enrolled", {"machine_id": machine.id, **detail}
        )
        mark_same_name(session, services, machine)
        return Enrolled(machine.id, machine.tenant_id, again, machine.same_name_as)


def _new_machine(application: _Application, token: EnrolmentToken, now: datetime) -> Machine:
    return Machine(
        id=application.machine_id,
        tenant_id=token.tenant_id,
        public_key=application.public_key,
        computer_name=application.computer_name,
        group_id=token.group_id,
        first_seen=now,
        last_seen=now,
        enrolled_at=now,
        generation=0,
        sequence=0,
        desired="connected",
        observed_state="unknown",
    )


def _usable(services: Services, token_hash: str) -> Any:
    return select(EnrolmentToken).where(
        EnrolmentToken.token_hash == token_hash,
        EnrolmentToken.uses_left > 0,
        EnrolmentToken.expires_at > services.clock.now(),
        EnrolmentToken.revoked_at.is_(None),
    )


def _read_body(body: object) -> tuple[str, Envelope]:
    if not isinstance(body, Mapping) or not isinstance(body.get("token"), str):
        raise Problem("InvalidRequestBody", "the body is an object with token and envelope")
    try:
        return body["token"], decode_envelope(body.get("envelope"))
    except Refused as refused:
        raise Problem("InvalidRequestBody", refused.sentence, reason=refused.refusal.value) from None


def _verified(services: Services, envelope: Envelope, *, own_host: bool) -> _Application:
    """The request, signed by the very key it names. Problem otherwise."""
    try:
        public_key = _public_key(envelope.payload)
        document = open_envelope(envelope, Kind.ENROL, {key_id_of(public_key): public_key})
        sent_at = parse_instant(str(document.get("sent_at")))
        name = parse_name(document.get("computer_name"))
        facts = believed(parse_facts(document.get("facts") or {}), own_host=own_host)
        "".join((name, json.dumps(facts, ensure_ascii=False, allow_nan=False))).encode()
    except Refused as refused:
        sentence = f"the device's signature is not good: {refused.sentence}"
        raise Problem("Unauthorized", sentence, reason=refused.refusal.value) from None
    except (ValueError, RecursionError) as error:
        raise Problem("InvalidInput", f"the enrolment cannot be used: {error}") from None
    now = services.clock.now()
    if abs(now - sent_at) > SKEW:
        here = render_instant(now)
        raise Problem(
            "BadRequest",
            f"the device's clock says {render_instant(sent_at)}, here it is {here}; set it first",
        )
    return _Application(machine_id_of(public_key), public_key, name, facts)


def _public_key(payload: bytes) -> bytes:
    """The key that a request, not verified yet, says it is signed with."""
    document = json.loads(payload)
    text = document.get("public_key") if isinstance(document, dict) else None
    try:
        public_key = base64.urlsafe_b64decode(str(text) + "=" * (-len(str(text)) % 4))
    except (binascii.Error, ValueError):
        public_key = b""
    if len(public_key) != 32:
        raise ValueError("public_key must be 32 bytes in base64url")
    return public_key


def _group(session: Session, actor: Actor, group_id: int) -> None:
    group = session.get(Group, group_id)
    if group is None or group.tenant_id != actor.tenant_id or not actor.reaches(group_id):
        raise not_found("Group", str(group_id))


def _administer(actor: Actor) -> None:
    if not actor.may(Permission.ADMINISTER):
        raise Problem("Forbidden", f"the role {actor.role.value} may not {Permission.ADMINISTER.value}")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
