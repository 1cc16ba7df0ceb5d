"""The states of a machine action and what moves them: one table, a missing pair is an error."""

from __future__ import annotations

from enum import Enum


class ActionStatus(Enum):
    """As Microsoft's API spells them."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TIME_OUT = "TimeOut"
    CANCELLED = "Cancelled"


class ActionEvent(Enum):
    """What happens to an action after it was ordered; also the words of its timeline."""

    DELIVERED = "delivered"
    """The agent acknowledged that it has the signed order."""
    APPLIED = "applied"
    """The agent says the host is in the ordered state; nothing was checked yet."""
    VERIFIED = "verified"
    """The agent read the kernel back, and its probe agrees, for this very generation."""
    FAILED = "failed"
    """The agent tried, and rolled back or refused."""
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


ACTIVE = frozenset({ActionStatus.PENDING, ActionStatus.IN_PROGRESS})

_S, _E = ActionStatus, ActionEvent

TRANSITIONS: dict[tuple[ActionStatus, ActionEvent], ActionStatus] = {
    (_S.PENDING, _E.DELIVERED): _S.IN_PROGRESS,
    (_S.PENDING, _E.APPLIED): _S.IN_PROGRESS,
    (_S.PENDING, _E.VERIFIED): _S.SUCCEEDED,
    (_S.PENDING, _E.FAILED): _S.FAILED,
    (_S.PENDING, _E.TIMED_OUT): _S.TIME_OUT,
    (_S.PENDING, _E.CANCELLED): _S.CANCELLED,
    (_S.IN_PROGRESS, _E.DELIVERED): _S.IN_PROGRESS,
    (_S.IN_PROGRESS, _E.APPLIED): _S.IN_PROGRESS,
    (_S.IN_PROGRESS, _E.VERIFIED): _S.SUCCEEDED,
    (_S.IN_PROGRESS, _E.FAILED): _S.FAILED,
    (_S.IN_PROGRESS, _E.TIMED_OUT): _S.TIME_OUT,
}


class TransitionError(Exception):
    """The event cannot happen in this state; the caller decides whether that is a late report or a defect."""


def after(status: ActionStatus, event: ActionEvent) -> ActionStatus:
    """The state after the event. TransitionError for a pair the table does not have."""
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise TransitionError(f"{event.value} cannot follow {status.value}") from None
