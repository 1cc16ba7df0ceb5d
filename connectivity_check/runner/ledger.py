"""What a run has seen so far, while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from connectivity_check.core.known import Known, Pass, control_among, known, passed
from connectivity_check.model import Observation, Route, Target
from connectivity_check.ports import Clock

FRESH_S = 0.05
"""How old the gathered knowledge may be: gathering it for every one of 98 failing rows would take longer
than the controls themselves."""


class Ledger:
    """Observations by row, stamped with the time of the run."""

    def __init__(self, targets: Sequence[Target], clock: Clock) -> None:
        self.targets = tuple(targets)
        self.rows: list[list[Observation]] = [[] for _ in targets]
        self.shared: list[Observation] = []
        self._clock = clock
        self._begin = clock.now()
        self._known: Known | None = None
        self._known_at = 0.0
        self._passes: list[Pass | None] = [None for _ in targets]
        self._read = [0 for _ in targets]
        """How many observations of each row `_passes` is by."""

    def note(self, sink: list[Observation], observation: Observation) -> Observation:
        """Write an observation down; it ended just now."""
        begun = max(0.0, self._clock.now() - self._begin - observation.took_s)
        stamped = replace(observation, started_s=round(begun, 6))
        sink.append(stamped)
        return stamped

    def set_route(self, index: int, route: Route) -> None:
        """Say which way a row has gone, when that is not the first of its ways."""
        targets = list(self.targets)
        targets[index] = replace(targets[index], route=route)
        self.targets = tuple(targets)

    def control_for(self, target: Target, via: str = "") -> Pass | None:
        """Give a row to hold this one against, of those that have passed until now; see `control_among`."""
        for index, row in enumerate(self.rows):
            if len(row) != self._read[index]:  # every failing row asks: most others have not changed since
                self._read[index] = len(row)
                self._passes[index] = passed(self.targets[index], row)
        return control_among((each for each in self._passes if each), target, via)

    def known(self) -> Known:
        """Give what the run knows now, or knew `FRESH_S` ago."""
        now = self._clock.now()
        if self._known is None or now - self._known_at > FRESH_S:
            self._known, self._known_at = known(self.targets, self.rows, self.shared), now
        return self._known

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self._clock.now() - self._begin
