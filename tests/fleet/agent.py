"""One simulated agent: its key, its counters, what it believes and obeys. Pure; others carry its messages."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from isolator.core.signed import (
    decode_envelope,
    encode_envelope,
    key_id_of,
    machine_id_of,
    open_envelope,
    public_bytes,
    seal,
)
from isolator.model.signed import Kind


class Disbelief(Exception):
    """The controller said something that a real agent would refuse."""


@dataclass(slots=True)
class Agent:
    """An agent's memory. `effects`: how often each action was carried out; more than once is wrong."""

    name: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    sequence: int = 0
    generation: int = 0
    state: str = "connected"
    scope: str | None = None
    incarnation: str = field(default_factory=lambda: secrets.token_hex(16))
    nonce: str = ""
    root: bytes = b""
    order_keys: dict[str, bytes] = field(default_factory=dict)
    keys_version: int | None = None
    effects: dict[str, int] = field(default_factory=dict)
    machine_id: str = ""

    def __post_init__(self) -> None:
        self.machine_id = machine_id_of(public_bytes(self.key))

    def enrol(self, token: str, **changes: Any) -> dict[str, Any]:
        """The body of an enrolment."""
        document = {
            "public_key": _base64(public_bytes(self.key)),
            "computer_name": self.name,
            "facts": {"os_platform": "Linux", "agent_version": "0.1", "architecture": "x86_64"},
            "nonce": secrets.token_urlsafe(16),
            "sent_at": now(),
            **changes,
        }
        return {"token": token, "envelope": encode_envelope(seal(Kind.ENROL, document, self.key))}

    def enrolled(self, answer: dict[str, Any]) -> None:
        """Pin what the enrolment answered."""
        self.pin(_unbase64(answer["root"]), answer["keys"])

    def pin(self, root: bytes, keys: object) -> None:
        """Believe this root key from now on, and the order keys it vouches for."""
        self.root = root
        self._take_keys(keys)

    def check_in(self, *, wait_s: float = 0.0, delivered: int | None = None, **changes: Any) -> bytes:
        """The next check-in as bytes. `changes` replace parts of the document."""
        self.sequence += 1
        self.nonce = secrets.token_urlsafe(12)
        document = {
            "machine_id": self.machine_id,
            "sequence": self.sequence,
            "incarnation": self.incarnation,
            "nonce": self.nonce,
            "sent_at": now(),
            "generation": self.generation,
            "wait_s": wait_s,
            "delivered": delivered,
            "observed": self.report(),
            "facts": None,
            "keys_version": self.keys_version,
            **changes,
        }
        return json.dumps(encode_envelope(seal(Kind.CHECK_IN, document, self.key))).encode()

    def report(self, **changes: Any) -> dict[str, Any]:
        """What it observes: exactly what it was told, verified."""
        isolated = self.state == "isolated"
        return {
            "state": self.state,
            "isolation_type": self.scope if isolated else None,
            "generation": self.generation,
            "verified": True,
            "verified_at": now(),
            "ruleset_sha256": "0" * 64 if isolated else None,
            "enforcement": {"backend": "simulated", "layers": []},
            "error": None,
            "counters": {"dropped_total": self.sequence if isolated else 0},
            **changes,
        }

    def believe(self, body: bytes) -> dict[str, Any]:
        """The answer to the last check-in, when it is signed, for this machine and for this question."""
        envelope = decode_envelope(json.loads(body))
        keys = json.loads(envelope.payload).get("keys")
        if keys is not None:
            self._take_keys(keys)
        answer = open_envelope(envelope, Kind.ANSWER, self.order_keys)
        if answer["machine_id"] != self.machine_id or answer["nonce"] != self.nonce:
            raise Disbelief("an answer to another question")
        return answer

    def order_of(self, answer: dict[str, Any]) -> dict[str, Any] | None:
        """The order inside an answer, when it is signed, for this machine, and new."""
        if answer["order"] is None:
            return None
        order = open_envelope(decode_envelope(answer["order"]), Kind.ORDER, self.order_keys)
        if order["machine_id"] != self.machine_id:
            raise Disbelief("another machine's order")
        return order if order["generation"] > self.generation else None

    def obey(self, order: dict[str, Any]) -> None:
        """Become what the order says. The journal of a real agent makes this once per generation."""
        self.generation = order["generation"]
        self.state = order["desired"]
        self.scope = order["scope"] if self.state == "isolated" else None
        action = order["action_id"]
        if action is not None:
            self.effects[action] = self.effects.get(action, 0) + 1

    def restart(self) -> None:
        """A new process of the same agent: what a real one keeps on disk is kept, the rest is fresh."""
        self.incarnation = secrets.token_hex(16)
        self.sequence += 100

    def _take_keys(self, value: object) -> None:
        document = open_envelope(decode_envelope(value), Kind.KEYS, {key_id_of(self.root): self.root})
        if document["version"] < (self.keys_version or 0):
            raise Disbelief("an old set of keys")
        publics = [_unbase64(each["public"]) for each in document["keys"]]
        self.order_keys = {key_id_of(each): each for each in publics}
        self.keys_version = document["version"]


def now() -> str:
    """The present instant as agents write it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
