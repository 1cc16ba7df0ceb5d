"""The one table of (host state, event): what becomes of the host, and what the agent must do.

`failed` is an outcome: it leads back to the state that was in force before the order.
"""

from __future__ import annotations

from dataclasses import dataclass
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


class Effect(Enum):
    """What the agent does on the way; in this order."""

    JOURNAL = "journal"
    APPLY = "apply"
    UPDATE = "update"
    REMOVE = "remove"
    ROLL_BACK = "roll_back"
    TELL = "tell"


@dataclass(frozen=True, slots=True)
class Step:
    """The state that follows and the effects on the way to it."""

    state: HostState
    effects: tuple[Effect, ...] = ()


class ImpossibleEventError(Exception):
    """The event has no meaning in that state: a second order while one is being carried out."""

    def __init__(self, state: HostState, event: Event) -> None:
        super().__init__(f"{event.value} is not possible while the host is {state.value}")
        self.state = state
        self.event = event


_C, _G, _I, _R = HostState.CONNECTED, HostState.ISOLATING, HostState.ISOLATED, HostState.RELEASING

_STEPS: dict[tuple[HostState, Event], Step] = {
    (_C, Event.ISOLATE): Step(_G, (Effect.JOURNAL, Effect.APPLY)),
    (_C, Event.RELEASE): Step(_C),
    (_G, Event.CONFIRMED): Step(_I, (Effect.JOURNAL, Effect.TELL)),
    (_G, Event.FAILED): Step(_C, (Effect.ROLL_BACK, Effect.JOURNAL, Effect.TELL)),
    (_I, Event.ISOLATE): Step(_I, (Effect.JOURNAL, Effect.UPDATE)),
    (_I, Event.RELEASE): Step(_R, (Effect.JOURNAL, Effect.REMOVE)),
    (_I, Event.EXPIRED): Step(_R, (Effect.JOURNAL, Effect.REMOVE)),
    (_R, Event.REMOVED): Step(_C, (Effect.JOURNAL, Effect.TELL)),
    (_R, Event.FAILED): Step(_I, (Effect.ROLL_BACK, Effect.JOURNAL, Effect.TELL)),
}


def step(state: HostState, event: Event) -> Step:
    """What follows; raises ImpossibleEventError for a pair that is not in the table."""
    try:
        return _STEPS[state, event]
    except KeyError:
        raise ImpossibleEventError(state, event) from None
