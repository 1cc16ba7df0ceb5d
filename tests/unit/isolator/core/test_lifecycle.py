"""The table of host states."""

from __future__ import annotations

import pytest

from isolator.core.lifecycle import Effect, Event, ImpossibleEventError, step
from isolator.model.order import HostState

C, G, D, R = HostState.CONNECTED, HostState.ISOLATING, HostState.ISOLATED, HostState.RELEASING


@pytest.mark.parametrize(
    ("state", "event", "follows"),
    [
        (C, Event.ISOLATE, G),
        (C, Event.RELEASE, C),
        (G, Event.CONFIRMED, D),
        (G, Event.FAILED, C),
        (D, Event.ISOLATE, D),
        (D, Event.RELEASE, R),
        (D, Event.EXPIRED, R),
        (R, Event.REMOVED, C),
        (R, Event.FAILED, D),
    ],
)
def test_what_follows(state: HostState, event: Event, follows: HostState) -> None:
    assert step(state, event).state is follows


@pytest.mark.parametrize("event", [Event.ISOLATE, Event.RELEASE, Event.EXPIRED])
@pytest.mark.parametrize("state", [G, R])
def test_an_order_during_another_is_refused(state: HostState, event: Event) -> None:
    with pytest.raises(ImpossibleEventError, match=f"{event.value} is not possible while the host is"):
        step(state, event)


def test_a_failure_goes_back_to_the_state_before() -> None:
    for state, before in ((G, C), (R, D)):
        follow = step(state, Event.FAILED)
        assert follow.state is before
        assert Effect.ROLL_BACK in follow.effects


def test_the_journal_is_written_before_the_kernel_is_touched() -> None:
    for event, work in ((Event.ISOLATE, Effect.UPDATE), (Event.RELEASE, Effect.REMOVE)):
        effects = step(D, event).effects
        assert effects.index(Effect.JOURNAL) < effects.index(work)
