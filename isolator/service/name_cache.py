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

SILENT_S = 30.0
"""A name without an answer is not asked for again by an order that soon."""

REFRESH_S = 300.0
"""A running agent asks anew this often."""

DEADLINE_S = 1.0
"""What an order may wait for names nobody has asked for yet."""


@dataclass
class NameCache:
    """Answers by name with the boot time at which they were asked for."""

    resolver: NameResolver
    clock: Clock
    _answers: dict[str, tuple[tuple[Address, int], ...]] = field(default_factory=dict)
    _asked_at: dict[str, float] = field(default_factory=dict)
    _refreshed_at: float = float("-inf")

    def due(self) -> bool:
        """Is it time for a refresh?"""
        return self.clock.boottime() - self._refreshed_at >= REFRESH_S

    def refresh(self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float) -> None:
        """Ask for all names; those that do not answer keep what they had."""
        self._refreshed_at = self.clock.boottime()
        self._ask(names, resolvers, deadline_s)

    def get(
        self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float = DEADLINE_S
    ) -> Answers:
        """Answers for the names, asking only for those that are old or were silent a while ago."""
        stale = [name for name in names if self._stale(name)]
        if stale and resolvers:
            self._ask(stale, resolvers, deadline_s)
        return {name: self._answers[name] for name in names if name in self._answers}

    def _stale(self, name: str) -> bool:
        lifetime = FRESH_S if name in self._answers else SILENT_S
        return self.clock.boottime() - self._asked_at.get(name, float("-inf")) > lifetime

    def _ask(self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float) -> None:
        now = self.clock.boottime()
        self._asked_at.update(dict.fromkeys(names, now))
        for name, answers in self.resolver.resolve(names, resolvers, deadline_s).items():
            if answers:
                self._answers[name] = answers
