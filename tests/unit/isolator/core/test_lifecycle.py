"""The table of host states."""

from __future__ import annotations

import pytest

from isolator.core.lifecycle import Event, ImpossibleEventError, step
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
    assert step(state, event) is follows


@pytest.mark.parametrize("event", [Event.ISOLATE, Event.RELEASE, Event.EXPIRED])
@pytest.mark.parametrize("state", [G, R])
def test_an_order_during_another_is_refused(state: HostState, event: Event) -> None:
    with pytest.raises(ImpossibleEventError, match=f"{event.value} is not possible while the host is"):
        step(state, event)


def test_a_failure_goes_back_to_the_state_before() -> None:
    for order, during, before in ((Event.ISOLATE, G, C), (Event.RELEASE, R, D)):
        assert step(before, order) is during
        assert step(during, Event.FAILED) is before
