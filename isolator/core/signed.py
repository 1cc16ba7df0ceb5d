"""Seal and open signed documents. Pure: keys and time are arguments.

The payload is JSON and travels as the exact bytes that were signed (base64url inside the envelope), so no
second serialisation can differ from the first. Ed25519: RFC 8032. Every payload names its `kind`, which
keeps a signature from being used for another purpose.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from isolator.model.signed import Envelope, Keys, Kind, Refusal, Refused

MAX_ENVELOPE = 256 * 1024
"""Characters of an envelope's longest field; orders with many exclusions stay far below."""

_MACHINE_ID_LENGTH = 40
_KEY_ID_LENGTH = 16


def machine_id_of(public_key: bytes) -> str:
    """The machine id: first 40 hex digits of the SHA-256 of the agent's raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:_MACHINE_ID_LENGTH]


def key_id_of(public_key: bytes) -> str:
    """The id of a signing key: first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(public_key).hexdigest()[:_KEY_ID_LENGTH]


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The raw public key of a private one."""
    return key.public_key().public_bytes_raw()


def seal(kind: Kind, document: Mapping[str, Any], key: Ed25519PrivateKey) -> Envelope:
    """Sign a document of this kind. ValueError for NaN, TypeError for what JSON cannot hold."""
    payload = json.dumps(
        {**document, "kind": kind.value}, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()
    return Envelope(payload, key_id_of(public_bytes(key)), key.sign(payload))


def open_envelope(envelope: Envelope, kind: Kind, keys: Keys) -> dict[str, Any]:
    """The document of an envelope whose signature a known key made. Refused otherwise."""
    if not keys:
        raise Refused(Refusal.NO_KEYS, "no key is known here, so nothing can be believed")
    public = keys.get(envelope.key_id)
    if public is None:
        raise Refused(Refusal.UNKNOWN_KEY, f"key {envelope.key_id[:_KEY_ID_LENGTH]!a} is not known here")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(envelope.signature, envelope.payload)
    except (InvalidSignature, ValueError):
        raise Refused(Refusal.BAD_SIGNATURE, "the signature does not fit the bytes") from None
    try:
        document = json.loads(envelope.payload)
    except (ValueError, RecursionError):
        raise Refused(Refusal.MALFORMED, "the signed bytes are no JSON") from None
    if not isinstance(document, dict):
        raise Refused(Refusal.MALFORMED, "the signed bytes are no JSON object")
    if document.get("kind") != kind.value:
        raise Refused(Refusal.WRONG_KIND, f"signed as {document.get('kind')!a}, wanted {kind.value}")
    return document


def encode_envelope(envelope: Envelope) -> dict[str, str]:
    """The envelope as JSON values: payload and signature in base64url without padding."""
    return {
        "payload": _encode(envelope.payload),
        "key_id": envelope.key_id,
        "signature": _encode(envelope.signature),
    }


def decode_envelope(value: object) -> Envelope:
    """The envelope that JSON values hold. Refused (malformed) for anything else, however odd."""
    if not isinstance(value, Mapping):
        raise Refused(Refusal.MALFORMED, "an envelope is an object with payload, key_id and signature")
    fields = [value.get(name) for name in ("payload", "key_id", "signature")]
    if not all(isinstance(each, str) and len(each) <= MAX_ENVELOPE for each in fields):
        raise Refused(Refusal.MALFORMED, "an envelope has the texts payload, key_id and signature")
    payload, key_id, signature = map(str, fields)
    return Envelope(_decode(payload), key_id, _decode(signature))


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Refusal.MALFORMED, "an envelope's field is no base64url") from None
