"""The states of an action: every pair of state and event, those that cannot be too."""

from __future__ import annotations

import itertools

import pytest

from api.core.action_state import ACTIVE, TRANSITIONS, ActionEvent, ActionStatus, TransitionError, after

S, E = ActionStatus, ActionEvent

EXPECTED = {
    (S.PENDING, E.DELIVERED): S.IN_PROGRESS,
    (S.PENDING, E.APPLIED): S.IN_PROGRESS,
    (S.PENDING, E.VERIFIED): S.SUCCEEDED,
    (S.PENDING, E.FAILED): S.FAILED,
    (S.PENDING, E.TIMED_OUT): S.TIME_OUT,
    (S.PENDING, E.CANCELLED): S.CANCELLED,
    (S.IN_PROGRESS, E.DELIVERED): S.IN_PROGRESS,
    (S.IN_PROGRESS, E.APPLIED): S.IN_PROGRESS,
    (S.IN_PROGRESS, E.VERIFIED): S.SUCCEEDED,
    (S.IN_PROGRESS, E.FAILED): S.FAILED,
    (S.IN_PROGRESS, E.TIMED_OUT): S.TIME_OUT,
}


@pytest.mark.parametrize(("status", "event"), list(itertools.product(S, E)))
def test_every_pair(status: ActionStatus, event: ActionEvent) -> None:
    if (status, event) in EXPECTED:
        assert after(status, event) is EXPECTED[status, event]
        return
    with pytest.raises(TransitionError, match=f"{event.value} cannot follow {status.value}"):
        after(status, event)


def test_what_has_ended_stays_ended() -> None:
    assert {status for status, _ in TRANSITIONS} == ACTIVE == {S.PENDING, S.IN_PROGRESS}


def test_a_delivered_order_is_not_cancelled() -> None:
    """The host may have obeyed it already; only the opposite order undoes that."""
    assert (S.IN_PROGRESS, E.CANCELLED) not in TRANSITIONS


def test_only_verified_is_success() -> None:
    assert {event for (_, event), status in TRANSITIONS.items() if status is S.SUCCEEDED} == {E.VERIFIED}


def test_words_as_microsoft_spells_them() -> None:
    assert [each.value for each in S] == [
        "Pending",
        "InProgress",
        "Succeeded",
        "Failed",
        "TimeOut",
        "Cancelled",
    ]
