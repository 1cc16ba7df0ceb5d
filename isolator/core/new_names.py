"""How many names nobody spelled out may be asked for: the cap on a tunnel in the labels of a wildcard."""

from __future__ import annotations

MAX_NEW_NAMES = 120
"""New names a minute under one wildcard. Real services use some dozens under each; a tunnel of 120 names a
minute carries at most some 400 bytes a second, and only to whoever owns names under a listed suffix."""

WINDOW_S = 60.0


class NewNames:
    """Counts distinct names per wildcard entry in fixed windows; bounded by entries times the cap."""

    __slots__ = ("_cap", "_ends_at", "_seen")

    def __init__(self, cap: int = MAX_NEW_NAMES) -> None:
        self._cap = cap
        self._seen: dict[str, set[str]] = {}
        self._ends_at = 0.0

    def admit(self, entry: str, name: str, now: float) -> bool:
        """Say whether the name may be asked for; one asked for in this window already always may."""
        if now >= self._ends_at:
            self._seen.clear()
            self._ends_at = now + WINDOW_S
        seen = self._seen.setdefault(entry, set())
        if name in seen:
            return True
        if len(seen) >= self._cap:
            return False
        seen.add(name)
        return True
