"""Orders and the host's states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from isolator.model.exclusion import Exclusion


class HostState(Enum):
    """Where the host is; `failed` is an outcome, not a state."""

    CONNECTED = "connected"
    ISOLATING = "isolating"
    ISOLATED = "isolated"
    RELEASING = "releasing"


class IsolationScope(Enum):
    """`full`: the list and the control channel only; `selective`: plus collaboration list and exclusions."""

    FULL = "full"
    SELECTIVE = "selective"


class OnSilence(Enum):
    """What to do when the control channel does not answer after the commit (commit-confirm)."""

    ROLL_BACK = "roll_back"
    STAY = "stay"


@dataclass(frozen=True, slots=True)
class IsolationOrder:
    """What was asked for. `lists` are names or absolute paths; empty `geo` means every geography.

    `duration_s` is None for "until released". It is counted on CLOCK_BOOTTIME. `exclusions` None means those
    of agent.yaml; a controller's order brings its own, which take their place (none too).
    """

    scope: IsolationScope = IsolationScope.FULL
    lists: tuple[str, ...] = ("streamlined",)
    geo: tuple[str, ...] = ()
    profile: str = "isolation"
    duration_s: float | None = None
    comment: str = ""
    on_silence: OnSilence = OnSilence.ROLL_BACK
    exclusions: tuple[Exclusion, ...] | None = None


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """Let the host go again."""

    comment: str = ""
