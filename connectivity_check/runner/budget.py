"""How a row's time is shared out: the chain first, then the controls, and an end that holds."""

from __future__ import annotations

from dataclasses import dataclass

from connectivity_check.ports import Clock

RESOLVE, CONNECT, TUNNEL, TLS, REQUEST = 0.5, 0.7, 0.7, 0.45, 0.45
"""Shares of the row's deadline that a step may take. Connecting gets the time of three SYNs (0, 1 and 3 s)
of the default deadline of 5 s: fewer unanswered ones prove little."""
CHAIN_END = 0.85
CONTROL = 0.3
"""The share that one control may take."""
ROW_END = 1.15
"""When the last control is cut off; a run of dead rows ends within 1.25 deadlines."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The clock of one row; all times in seconds."""

    clock: Clock
    begin: float
    timeout_s: float

    def step(self, share: float) -> float:
        """Give what a step of the chain may take; never less than a twentieth."""
        left = self.begin + CHAIN_END * self.timeout_s - self.clock.now()
        return max(0.05 * self.timeout_s, min(share * self.timeout_s, left))

    def control(self, share: float = CONTROL) -> float:
        """Give what a control may take; 0 when the row's time is over."""
        left = self.begin + ROW_END * self.timeout_s - self.clock.now()
        return max(0.0, min(share * self.timeout_s, left))
