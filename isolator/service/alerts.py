"""Refusals that somebody should look at: data in the names asked for under a wildcard."""

from __future__ import annotations

import logging
from dataclasses import replace

from isolator.model.event import Alert
from isolator.model.policy import Policy
from isolator.model.verdict import Reason
from isolator.ports import Clock

LOG = logging.getLogger(__name__)

TOLD: dict[Reason, str] = {
    Reason.DNS_LABEL_PAYLOAD: "names of more characters than services ask for",
    Reason.DNS_TOO_MANY_NAMES: "more new names than services ask for",
}
"""The reasons, and what was seen, in words."""


class Alerts:
    """The alerts of one isolation: one for each reason and entry, so no more than the policy has twice.

    Not thread-safe: its owner holds the lock of the gate.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: dict[tuple[Reason, str], Alert] = {}
        self._patterns: dict[str, str] = {}

    def replace_policy(self, policy: Policy) -> None:
        """Call the entries by this policy's patterns; what was found stays."""
        self._patterns = {entry.id: entry.pattern for entry in policy.entries}

    def clear(self) -> None:
        """Another isolation begins, or this one has ended."""
        self._found.clear()

    def note(self, reason: Reason, entry: str | None) -> None:
        """Take notice of a refusal; most are no alert. Logged ever more rarely: the log must not fill up."""
        if reason not in TOLD or entry is None:
            return
        now = self._clock.utc_now()
        found = self._found.get((reason, entry))
        if found is None:
            found = Alert(reason, entry, self._patterns.get(entry, ""), 0, now, now)
        found = self._found[reason, entry] = replace(found, count=found.count + 1, last_at=now)
        if found.count & (found.count - 1) == 0:
            LOG.warning(
                "alert %s: %d queries refused under %s (%s) since %s: %s, perhaps a tunnel",
                reason.value, found.count, found.pattern, entry, found.first_at, TOLD[reason],
            )  # fmt: skip

    def all(self) -> tuple[Alert, ...]:
        """Give the alerts, the one that was raised first at the beginning."""
        return tuple(self._found.values())
