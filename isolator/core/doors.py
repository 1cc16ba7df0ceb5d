"""What a name opens: transports and ports, each for the list entry that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from isolator.model.flow import Transport


class NamedEntry(Protocol):
    """What is read of an allow-list entry (`allowlists.model.Entry` has it)."""

    @property
    def id(self) -> str:
        """Which entry it is, "list_id#n"."""
        ...

    @property
    def host(self) -> str:
        """A name, or a pattern with stars."""
        ...

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port it opens."""
        ...

    @property
    def protocol(self) -> str:
        """ "tcp" or "udp"."""
        ...


class NameIndex(Protocol):
    """Finds entries by name (`allowlists.index.Index` is one)."""

    def match(self, name: str, /) -> tuple[NamedEntry, ...]:
        """Give the entries that cover a name in lower case; empty for text that is no host name."""
        ...


@dataclass(frozen=True, slots=True)
class Door:
    """One port that a name opens, and for which entry."""

    transport: Transport
    port: int
    entry: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What one allowed name opens; `entry` is the first that matched.

    `exact` says that an entry spells the name out: the attacker cannot make up such names, so they have room
    reserved in every bounded table.
    """

    name: str
    entry: str
    exact: bool
    doors: tuple[Door, ...]


def opening(index: NameIndex, name: str) -> Opening | None:
    """Give what the name opens, None when no entry covers it. Of entries with one port the first counts."""
    # An escaped octet (a dot inside a label, say) must not reach a matcher that thinks in text.
    if "\\" in name:
        return None
    entries = index.match(name)
    if not entries:
        return None
    doors: dict[tuple[Transport, int], Door] = {}
    for entry in entries:
        transport = _TRANSPORTS[entry.protocol]
        for port in entry.ports:
            doors.setdefault((transport, port), Door(transport, port, entry.id))
    exact = any(entry.host == name for entry in entries)
    return Opening(name, entries[0].id, exact, tuple(doors.values()))


_TRANSPORTS: dict[str, Transport] = {transport.value: transport for transport in Transport}
