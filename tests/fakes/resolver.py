"""Names out of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isolator.model.flow import Address


class FakeResolver:
    """Answers from `zone`; without resolvers, or with `silent`, nobody answers."""

    def __init__(self, zone: Mapping[str, Sequence[tuple[Address, int]]] | None = None) -> None:
        self.zone = {name.lower(): tuple(found) for name, found in (zone or {}).items()}
        self.silent = False
        self.asked: list[tuple[str, ...]] = []

    def resolve(
        self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float
    ) -> Mapping[str, tuple[tuple[Address, int], ...]]:
        """An empty tuple for a name that does not exist."""
        self.asked.append(tuple(names))
        if self.silent or not resolvers:
            return {}
        return {name: self.zone.get(name.lower(), ()) for name in names}
