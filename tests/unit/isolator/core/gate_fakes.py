"""A small list of entries and an index over it, for the gate's tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FakeEntry:
    """What the gate reads of an entry."""

    id: str
    host: str
    ports: tuple[int, ...] = (443,)
    protocol: str = "tcp"
    path: str | None = None


class FakeIndex:
    """Exact names and `*.suffix`, looked for one by one."""

    def __init__(self, *entries: FakeEntry) -> None:
        self.entries = entries

    def match(self, name: str, /) -> tuple[FakeEntry, ...]:
        return tuple(
            entry
            for entry in self.entries
            if entry.host == name or (entry.host.startswith("*.") and name.endswith(entry.host[1:]))
        )


LISTED = FakeEntry("l#1", "www.listed.test", (443, 80))
WILD = FakeEntry("l#2", "*.wild.test")
NARROW = FakeEntry("l#3", "exact.wild.test", (8443,))
RELAY = FakeEntry("l#4", "relay.listed.test", (3478,), "udp")
INDEX = FakeIndex(LISTED, NARROW, WILD, RELAY)
