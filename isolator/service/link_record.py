"""What the agent keeps about its controller, as one document beside the journal."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from isolator.core.signed import decode_envelope, encode_envelope
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.signed import Envelope, Refused

SCHEMA = 1
_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the last order did not come about: code and sentence, for the controller's report."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """Own key, pinned root, order keys, and the last order with what became of it."""

    private_key: bytes = field(repr=False)
    """Raw Ed25519 private key; made on this device, and it never leaves it."""
    root_public: bytes | None = None
    """Pinned at enrolment; None before it."""
    keys: Envelope | None = None
    generation: int = 0
    """The highest order that was obeyed, is being obeyed (`pending`) or was refused for good."""
    sequence: int = 0
    """Numbers up to this one may have been used in check-ins."""
    order: Envelope | None = None
    """The last order that was obeyed, or tried."""
    pending: bool = False
    """The order was begun and nobody wrote down how it ended."""
    holds: bool = False
    """The controller's isolation is in force: nothing on this host but its own signed word ends it."""
    fault: Fault | None = None
    used_releases: tuple[str, ...] = ()
    controller_at: datetime | None = None
    """The controller's signed time of the last answer that was written down."""


def encode(record: LinkRecord) -> dict[str, Any]:
    """The record as JSON values."""
    return {
        "schema": SCHEMA,
        "private_key": _text(record.private_key),
        "root_public": None if record.root_public is None else _text(record.root_public),
        "keys": None if record.keys is None else encode_envelope(record.keys),
        "generation": record.generation,
        "sequence": record.sequence,
        "order": None if record.order is None else encode_envelope(record.order),
        "pending": record.pending,
        "holds": record.holds,
        "fault": None if record.fault is None else [record.fault.code, record.fault.sentence],
        "used_releases": list(record.used_releases),
        "controller_at": None if record.controller_at is None else record.controller_at.isoformat(),
    }


def decode(document: Mapping[str, Any] | None) -> LinkRecord | None:
    """The record of a stored document, None for none. IsolatorError when it is not one of ours."""
    if document is None:
        return None
    try:
        return _decode(document)
    except (KeyError, ValueError, TypeError, binascii.Error, Refused) as error:
        raise IsolatorError(
            FailureCode.STATE_UNREADABLE,
            "read_link",
            f"what this device knows about its controller is damaged ({error!r}); nothing is obeyed and "
            "nothing released: restore link.json, or remove it and enrol this device as a new machine",
        ) from error


def _decode(document: Mapping[str, Any]) -> LinkRecord:
    if _whole(document["schema"]) != SCHEMA:
        raise ValueError(f"schema {document['schema']} is not {SCHEMA}")
    root, keys, order, fault = (document[name] for name in ("root_public", "keys", "order", "fault"))
    at = document["controller_at"]
    return LinkRecord(
        private_key=_key(document["private_key"]),
        root_public=None if root is None else _key(root),
        keys=None if keys is None else decode_envelope(keys),
        generation=_whole(document["generation"]),
        sequence=_whole(document["sequence"]),
        order=None if order is None else decode_envelope(order),
        pending=document["pending"] is True,
        holds=document["holds"] is True,
        fault=None if fault is None else Fault(*_texts(fault)),
        used_releases=_texts(document["used_releases"]),
        controller_at=None if at is None else _instant(at),
    )


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != _KEY_LENGTH:
        raise ValueError(f"a key of {len(key)} bytes")
    return key


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"{value!r} is no list of texts")
    return tuple(value)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant without its offset from UTC")
    return at
