"""The one table of (host state, event): what becomes of the host.

`failed` is an outcome: it leads back to the state that was in force before the order.
"""

from __future__ import annotations

from enum import Enum

from isolator.model.order import HostState


class Event(Enum):
    """What can happen to a host."""

    ISOLATE = "isolate"
    CONFIRMED = "confirmed"
    RELEASE = "release"
    REMOVED = "removed"
    FAILED = "failed"
    EXPIRED = "expired"


class ImpossibleEventError(Exception):
    """The event has no meaning in that state: a second order while one is being carried out."""

    def __init__(self, state: HostState, event: Event) -> None:
        super().__init__(f"{event.value} is not possible while the host is {state.value}")
        self.state = state
        self.event = event


_C, _G, _I, _R = HostState.CONNECTED, HostState.ISOLATING, HostState.ISOLATED, HostState.RELEASING

_STEPS: dict[tuple[HostState, Event], HostState] = {
    (_C, Event.ISOLATE): _G,
    (_C, Event.RELEASE): _C,
    (_G, Event.CONFIRMED): _I,
    (_G, Event.FAILED): _C,
    (_I, Event.ISOLATE): _I,
    (_I, Event.RELEASE): _R,
    (_I, Event.EXPIRED): _R,
    (_R, Event.REMOVED): _C,
    (_R, Event.FAILED): _I,
}


def step(state: HostState, event: Event) -> HostState:
    """The state that follows; raises ImpossibleEventError for a pair that is not in the table."""
    try:
        return _STEPS[state, event]
    except KeyError:
        raise ImpossibleEventError(state, event) from None
