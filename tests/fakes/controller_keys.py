"""A controller's signing hand: root key, order keys, and the documents they sign."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from isolator.core.signed import encode_envelope, key_id_of, public_bytes, seal
from isolator.model.signed import Envelope, Kind

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
MACHINE = "ab" * 20


def private_key(number: int) -> Ed25519PrivateKey:
    """The same key for the same number, so that a failing example can be played again."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def instant(at: datetime) -> str:
    """RFC 3339 as the controller writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def base64url(octets: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class ControllerKeys:
    """Root and order key, and what they sign. `changes` replace fields of a document before it is signed."""

    def __init__(self, root: int = 1, order: int = 2) -> None:
        self.root = private_key(root)
        self.order = private_key(order)

    @property
    def root_public(self) -> bytes:
        """To pin."""
        return public_bytes(self.root)

    @property
    def known(self) -> dict[str, bytes]:
        """The order key as an agent holds it."""
        public = public_bytes(self.order)
        return {key_id_of(public): public}

    def signed_order(self, machine_id: object = MACHINE, at: datetime = NOW, **changes: object) -> Envelope:
        """An order to isolate, generation 5."""
        document: dict[str, Any] = {
            "machine_id": machine_id,
            "generation": 5,
            "desired": "isolated",
            "scope": "full",
            "lists": None,
            "geo": None,
            "profile": None,
            "exclusions": [],
            "duration_s": 604_800,
            "on_silence": "roll_back",
            "comment": "INC-1",
            "requestor": "soc@example.com",
            "action_id": "2e9da30d-27f6-4208-81f2-9cd3d67893ba",
            "issued_at": instant(at),
            "not_after": instant(at + timedelta(hours=72)),
        }
        return seal(Kind.ORDER, {**document, **changes}, self.order)

    def signed_answer(
        self,
        nonce: str,
        /,
        order: Envelope | None = None,
        keys: Envelope | None = None,
        machine_id: object = MACHINE,
        **changes: object,
    ) -> Envelope:
        """The answer to the check-in with that nonce."""
        document: dict[str, Any] = {
            "machine_id": machine_id,
            "nonce": nonce,
            "generation": 5,
            "at": instant(NOW),
            "order": None if order is None else encode_envelope(order),
            "keys": None if keys is None else encode_envelope(keys),
            "poll_after_s": 0,
        }
        return seal(Kind.ANSWER, {**document, **changes}, self.order)

    def signed_keys(
        self, version: int = 1, orders: Sequence[Ed25519PrivateKey] | None = None, **changes: object
    ) -> Envelope:
        """The root's word for the order key, or for others."""
        keys: list[Mapping[str, str]] = [
            {"public": base64url(public_bytes(each))} for each in ([self.order] if orders is None else orders)
        ]
        document: dict[str, Any] = {
            "version": version,
            "keys": keys,
            "expires_at": instant(NOW + timedelta(days=1000)),
        }
        return seal(Kind.KEYS, {**document, **changes}, self.root)

    def signed_release(self, machine_id: str = MACHINE, at: datetime = NOW, **changes: object) -> Envelope:
        """A forced release, generation 6."""
        document: dict[str, Any] = {
            "machine_id": machine_id,
            "release_id": "7c9e6679",
            "generation": 6,
            "issued_at": instant(at),
            "not_after": instant(at + timedelta(hours=72)),
        }
        return seal(Kind.FORCED_RELEASE, {**document, **changes}, self.order)
