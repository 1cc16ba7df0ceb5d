"""Telling the long polls that a machine has a new order: inside this process, and between workers.

On PostgreSQL by LISTEN/NOTIFY (postgresql.org/docs/current/sql-notify.html). A notice may be lost, while the
listener reconnects for example; the sweep finds what it missed. Check-ins never notify: at thousands of
agents that would be a queue of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

import sqlalchemy

from api.store.database import Database

CHANNEL = "isolator_wake"
PER_NOTICE = 150
"""Ids in one notice: a payload holds less than 8,000 bytes, an id with its comma has 41."""
RECONNECT_S = (0.2, 5.0)
"""The first and the longest wait before the listener connects again."""
_LOOK_UP_S = 1.0
"""How often the listener looks whether it shall end."""

Listener = Callable[[Sequence[str]], None]
"""Called with machine ids, from any thread; an empty sequence: notices may have been lost, look yourself."""

_log = logging.getLogger(__name__)


class LocalWake:
    """Wakes the polls of this process. Enough for SQLite, where there is only one."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Tell this one too, from now on."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """Tell this one no more."""
        self._listeners.remove(listener)

    def machines(self, machine_ids: Iterable[str]) -> None:
        """Wake the polls of these machines; see `api.ports.Wake`."""
        wanted = list(machine_ids)
        # Nobody must not be told as "look yourself": a sweep that ended nothing would call for the next.
        if wanted:
            self._tell(wanted)

    def close(self) -> None:
        """Nothing is held open here."""

    def _tell(self, machine_ids: Sequence[str]) -> None:
        for each in tuple(self._listeners):
            each(machine_ids)


class PostgresWake(LocalWake):
    """Wakes the polls of every worker on this database. One thread listens while somebody asks it to."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._thread: threading.Thread | None = None
        self._ends = threading.Event()

    def listen(self, listener: Listener) -> None:
        """Tell this one too; the first one starts the thread."""
        super().listen(listener)
        if self._thread is None:
            self._thread = threading.Thread(target=self._hear, name="wake", daemon=True)
            self._thread.start()

    def machines(self, machine_ids: Iterable[str]) -> None:
        """Wake here at once, and everywhere by a notice; one that fails is logged, the sweep finds it."""
        wanted = list(machine_ids)
        if not wanted:
            return
        self._tell(wanted)
        try:
            with self._database.engine.begin() as connection:
                for start in range(0, len(wanted), PER_NOTICE):
                    connection.execute(
                        sqlalchemy.text("SELECT pg_notify(:channel, :ids)"),
                        {"channel": CHANNEL, "ids": ",".join(wanted[start : start + PER_NOTICE])},
                    )
        except sqlalchemy.exc.SQLAlchemyError as error:
            _log.warning("other workers could not be woken: %s", type(error).__name__)

    def close(self) -> None:
        """End the listening thread."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * _LOOK_UP_S + 5)

    def _hear(self) -> None:
        import psycopg  # an option: SQLite needs none of it

        wait_s = RECONNECT_S[0]
        while not self._ends.is_set():
            try:
                with psycopg.connect(self._address(), autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._tell([])  # whatever was said before we listened
                    wait_s = RECONNECT_S[0]
                    while not self._ends.is_set():
                        for notice in connection.notifies(timeout=_LOOK_UP_S):
                            self._tell([each for each in notice.payload.split(",") if each])
            except psycopg.Error as error:
                _log.warning(
                    "not listening for new orders: %s; again in %.1f s", type(error).__name__, wait_s
                )
                self._ends.wait(wait_s)
                wait_s = min(2 * wait_s, RECONNECT_S[1])

    def _address(self) -> str:
        url = self._database.url.set(drivername="postgresql")
        return url.render_as_string(hide_password=False)


def open_wake(database: Database) -> LocalWake:
    """The wake-up that fits the database. To be closed."""
    return LocalWake() if database.is_sqlite else PostgresWake(database)
