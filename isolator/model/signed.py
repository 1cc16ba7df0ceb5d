"""Signed documents between controller and agents: the envelope, what they may say, and why one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a signed document is; a signature for one kind is never good for another."""

    ORDER = "order"
    """Controller to agent: the state the host shall be in."""
    ANSWER = "answer"
    """Controller to agent: the answer to one check-in; bound to its nonce, so no old one can be played."""
    KEYS = "keys"
    """Root to agent: which order keys are good."""
    FORCED_RELEASE = "forced_release"
    """Controller to agent, by file: let this device go, once."""
    ENROL = "enrol"
    """Agent to controller: my public key, signed by itself."""
    CHECK_IN = "check_in"
    """Agent to controller: what I observe."""


class Refusal(Enum):
    """Why a signed document is not obeyed; stable codes."""

    MALFORMED = "malformed"
    NO_KEYS = "no_keys"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    WRONG_KIND = "wrong_kind"
    WRONG_MACHINE = "wrong_machine"
    OLD_GENERATION = "old_generation"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    WRONG_NONCE = "wrong_nonce"
    OLD_KEYS = "old_keys"
    USED = "used"


class Refused(Exception):  # noqa: N818 - a verdict on a document, not a defect
    """A signed document that must not be obeyed: code and sentence."""

    def __init__(self, refusal: Refusal, sentence: str) -> None:
        super().__init__(sentence)
        self.refusal = refusal
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Envelope:
    """The exact bytes that were signed, the key's id and the Ed25519 signature (64 bytes)."""

    payload: bytes
    key_id: str
    signature: bytes


Keys = Mapping[str, bytes]
"""Key id -> raw Ed25519 public key (32 bytes)."""

Payload = Mapping[str, Any]
