"""What the person at the device and the audit trail are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from isolator.model.flow import Destination
from isolator.model.verdict import Reason


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


@dataclass(frozen=True, slots=True)
class Alert:
    """Refusals under one list entry that look like data in names. Times are RFC 3339 UTC.

    It is for whoever investigates, not for the person at the device, who can do nothing about it.
    """

    reason: Reason
    entry: str
    pattern: str
    count: int
    """Queries refused so far; one that is repeated counts each time."""
    first_at: str
    last_at: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that programs here asked for and did not get, and how often. Times are RFC 3339 UTC.

    `name` is what was named on the wire, safe to print and of bounded length; None when nothing was. It never
    leaves the host: it tells where people of this host wanted to go.
    """

    reason: Reason
    name: str | None
    destination: Destination
    entry: str | None
    """The allow-list entry that the name fits, when it is refused for another cause."""
    count: int
    first_at: str
    last_at: str
