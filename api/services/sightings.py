"""Plain polls, remembered until they are written in one go: sequence, when, from where.

What a crash loses: the polls since the last flush, at most a few seconds. They said nothing new (whatever
does is written before it is answered), so the loss is "last seen" by some seconds, and a replay window: each
lost poll could be played once more, by someone who recorded it inside TLS, to no other effect than to move
"last seen". The same window is open towards the other workers of a controller on PostgreSQL.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update

from api.store.database import Database
from api.store.tables import Base, Machine


@dataclass(frozen=True, slots=True)
class Sighting:
    """A plain poll that is not written yet."""

    sequence: int
    at: datetime
    address: str | None
    report: dict[str, Any] | None = None
    """The report, when counters or the like differ from what is stored."""
    proves: bool = False
    """The report proves the machine's state anew."""


class Sightings:
    """The polls that are not written yet. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, Sighting] = {}
        self._writing: Counter[str] = Counter()

    def sequences(self, machine_ids: Iterable[str]) -> dict[str, int]:
        """The highest sequence remembered of each. To be asked *before* the database is.

        A flush forgets only after its commit: what is no longer here is there already.
        """
        with self._lock:
            return {each: self._seen[each].sequence for each in machine_ids if each in self._seen}

    def remember(self, machine_id: str, sighting: Sighting) -> None:
        """A poll was taken; of two, the one with the higher sequence stays."""
        with self._lock:
            known = self._seen.get(machine_id)
            if known is None or known.sequence < sighting.sequence:
                self._seen[machine_id] = sighting

    def writing(self, machine_id: str, delta: int) -> None:
        """A report is on its way to the database (+1) or there (-1).

        Meanwhile no later poll is flushed past it, or the report would look like a replay.
        """
        with self._lock:
            self._writing[machine_id] += delta
            if self._writing[machine_id] <= 0:
                del self._writing[machine_id]

    def flush(self, database: Database) -> int:
        """Write what is remembered in one transaction, then forget it; gives how many.

        Raises what the database raises; nothing is forgotten then.
        """
        with self._lock:
            due = sorted((name, seen) for name, seen in self._seen.items() if name not in self._writing)
        if not due:
            return 0
        with database.write() as session:
            connection = session.connection()
            for full in (False, True):
                rows = [_row(name, seen) for name, seen in due if (seen.report is not None) == full]
                proved = [row for row in rows if row["proved_at"] is not None]
                for part, proves in ((proved, True), ([r for r in rows if r["proved_at"] is None], False)):
                    if part:
                        connection.execute(_statement(full=full, proves=proves), part)
        self._forget(due)
        return len(due)

    def _forget(self, written: Sequence[tuple[str, Sighting]]) -> None:
        with self._lock:
            for name, seen in written:
                if self._seen.get(name) is seen:
                    del self._seen[name]


def _row(name: str, seen: Sighting) -> dict[str, Any]:
    return {
        "machine": name,
        "number": seen.sequence,
        "at": seen.at,
        "address": seen.address,
        "report": seen.report,
        "proved_at": seen.at if seen.proves else None,
    }


def _statement(*, full: bool, proves: bool) -> Any:
    """Never back: a higher sequence in the database stays, with all that came with it."""
    values = {"sequence": "number", "last_seen": "at", "observed_at": "at", "external_ip": "address"}
    if full:
        values["observed"] = "report"
    if proves:
        values["verified_at"] = "proved_at"
    table = Base.metadata.tables[Machine.__tablename__]
    return (
        update(table)
        .where(table.c.id == bindparam("machine"), table.c.sequence < bindparam("number"))
        .values(
            {table.c[column]: bindparam(name, type_=table.c[column].type) for column, name in values.items()}
        )
    )
