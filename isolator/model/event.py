"""What the person at the device and the audit trail are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EventKind(Enum):
    """Stable names, used as `event` in the JSON that `notify.command` reads."""

    ISOLATED = "isolated"
    RELEASED = "released"
    ISOLATION_FAILED = "isolation_failed"
    RELEASE_FAILED = "release_failed"
    EXPIRED = "expired"
    POLICY_UPDATED = "policy_updated"


@dataclass(frozen=True, slots=True)
class HostEvent:
    """One thing that happened to the host. `at` is RFC 3339 UTC; `contact` tells whom to call.

    `reason` is the operator's comment, unchecked text; `failure` says in one sentence what failed.
    `expires_at` is RFC 3339 UTC, None when the isolation does not end by itself.
    """

    kind: EventKind
    at: str
    reason: str = ""
    scope: str = ""
    contact: str = ""
    expires_at: str | None = None
    failure: str = ""
