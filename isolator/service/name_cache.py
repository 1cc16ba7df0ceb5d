"""Addresses of listed names, asked for before they are needed.

At the moment of isolation the address sets must not be empty: connections to the security service
that are open go on only if their addresses are known. A running agent keeps this cache warm; one
that was just started fills it within a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isolator.model.flow import Address
from isolator.ports import Clock, NameResolver

Answers = Mapping[str, tuple[tuple[Address, int], ...]]

FRESH_S = 600.0
"""An answer younger than this is used as it is."""

REFRESH_S = 300.0
"""A running agent asks anew this often."""

DEADLINE_S = 1.0
"""What an order may wait for names nobody has asked for yet."""


@dataclass
class NameCache:
    """Answers by name with the boot time they came at."""

    resolver: NameResolver
    clock: Clock
    _answers: dict[str, tuple[float, tuple[tuple[Address, int], ...]]] = field(default_factory=dict)
    _refreshed_at: float = float("-inf")

    def due(self) -> bool:
        """Is it time for a refresh?"""
        return self.clock.boottime() - self._refreshed_at >= REFRESH_S

    def refresh(self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float) -> None:
        """Ask for all names; those that do not answer keep what they had."""
        now = self.clock.boottime()
        self._refreshed_at = now
        for name, answers in self.resolver.resolve(names, resolvers, deadline_s).items():
            if answers:
                self._answers[name] = (now, answers)

    def get(
        self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float = DEADLINE_S
    ) -> Answers:
        """Answers for the names, asking only for those that are missing or old."""
        now = self.clock.boottime()
        stale = [name for name in names if now - self._answers.get(name, (float("-inf"), ()))[0] > FRESH_S]
        if stale and resolvers:
            for name, answers in self.resolver.resolve(stale, resolvers, deadline_s).items():
                if answers:
                    self._answers[name] = (now, answers)
        return {name: self._answers[name][1] for name in names if name in self._answers}
