"""How many names nobody spelled out may be asked for: the cap on a tunnel in the labels of a wildcard."""

from __future__ import annotations

from isolator.model.verdict import Reason

MAX_NEW_NAMES = 120
"""New names a minute under one wildcard. Real services use some dozens under each."""

MAX_NEW_BYTES = 6_144
"""Characters of those names, suffix and dots included: 120 names of the usual 50. A tunnel in long names
ends here, at 100 characters (some 60 bytes) a second, and reaches only who owns names under the suffix."""

WINDOW_S = 60.0


class NewNames:
    """Counts distinct names per wildcard entry in fixed windows; bounded by entries times the cap."""

    __slots__ = ("_bytes", "_cap", "_ends_at", "_room", "_seen")

    def __init__(self, cap: int = MAX_NEW_NAMES, room: int = MAX_NEW_BYTES) -> None:
        self._cap = cap
        self._room = room
        self._seen: dict[str, set[str]] = {}
        self._bytes: dict[str, int] = {}
        self._ends_at = 0.0

    def refusal(self, entry: str, name: str, now: float) -> Reason | None:
        """Give why the name may not be asked for, None when it may; one asked for in this window always may.

        A refused name takes no room, so that one long name does not shut out the short ones after it.
        """
        if now >= self._ends_at:
            self._seen.clear()
            self._bytes.clear()
            self._ends_at = now + WINDOW_S
        seen = self._seen.setdefault(entry, set())
        if name in seen:
            return None
        if len(seen) >= self._cap:
            return Reason.DNS_TOO_MANY_NAMES
        taken = self._bytes.get(entry, 0) + len(name)
        if taken > self._room:
            return Reason.DNS_LABEL_PAYLOAD
        seen.add(name)
        self._bytes[entry] = taken
        return None
