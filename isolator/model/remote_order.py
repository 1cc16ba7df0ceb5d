"""What a controller says to an agent, once its signature and its fields have been judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from isolator.model.exclusion import Exclusion
from isolator.model.order import HostState, IsolationScope, OnSilence
from isolator.model.signed import Envelope, Refusal

MAX_GENERATION = 2**31 - 1
"""The highest generation and key set version; the controller's database keeps no higher one."""


@dataclass(frozen=True, slots=True)
class RemoteOrder:
    """The state the controller wants; None means "as agent.yaml has it"."""

    generation: int
    desired: HostState
    """CONNECTED or ISOLATED."""
    issued_at: datetime
    not_after: datetime
    scope: IsolationScope = IsolationScope.FULL
    lists: tuple[str, ...] | None = None
    geo: tuple[str, ...] | None = None
    profile: str | None = None
    exclusions: tuple[Exclusion, ...] | None = None
    duration_s: float | None = None
    on_silence: OnSilence = OnSilence.ROLL_BACK
    comment: str = ""
    requestor: str = ""
    action_id: str | None = None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The order keys that the root vouches for, until when, and the version that may only rise."""

    version: int
    keys: Mapping[str, bytes]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one check-in. `at` is the controller's signed time, fresh because of the nonce."""

    generation: int
    at: datetime
    poll_after_s: float
    key_set: KeySet
    """The keys to believe from now on: those in the answer when they are good and newer."""
    order: Envelope | None = None
    new_keys: Envelope | None = None
    """The envelope of `key_set` when it came with this answer."""
    keys_refused: Refusal | None = None
    """Why keys that came with the answer were left aside."""


@dataclass(frozen=True, slots=True)
class ForcedRelease:
    """Let this one device go, once, without asking the controller."""

    release_id: str
    generation: int
    issued_at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What enrolment gave: the machine's id, the root key to pin and the first order keys."""

    machine_id: str
    root_public: bytes = field(repr=False)
    keys: Envelope
    key_set: KeySet
