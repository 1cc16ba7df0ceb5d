"""Brings events to their receivers: at least once, in order, each receiver on its own.

Several workers may run this; on PostgreSQL an advisory lock sees to it that one at a time serves a receiver.
"""

from __future__ import annotations

import logging
import random
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

from sqlalchemy import Connection, delete, func, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from api.services.context import Services
from api.services.metrics import Metrics
from api.services.receivers import Event, NotTaken, Receiver
from api.store.tables import Outgoing

LOOK_EVERY_S = 0.5
BATCH = 20
"""Events per round. What was delivered of a round that the process did not live to end comes again."""
AGAIN_AFTER_S = (1.0, 300.0)
"""The first and the longest wait after a failure."""
KEEP = 100_000
"""More events than that do not wait for one receiver: the oldest are dropped. The audit log has them all."""
HOPELESS_AFTER = 5
"""So often an event is tried that the receiver says it cannot take, before it is dropped."""
_STOP_WITHIN_S = 12.0

_log = logging.getLogger(__name__)


class Delivery:
    """One thread per receiver. `stop` ends them; what was not delivered stays in the database."""

    def __init__(self, services: Services, receivers: Sequence[Receiver], metrics: Metrics) -> None:
        self._services = services
        self._metrics = metrics
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(each,), name=f"deliver-{each.name}", daemon=True)
            for each in receivers
        ]

    def start(self) -> None:
        """Begin."""
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """End, at the latest after the time an attempt may take."""
        self._stopping.set()
        for each in self._threads:
            each.join(_STOP_WITHIN_S)

    def _run(self, receiver: Receiver) -> None:
        line = Line(self._services, receiver, self._metrics)
        while not self._stopping.is_set():
            try:
                with _turn(self._services, receiver.name) as ours:
                    while ours() and not self._stopping.is_set():
                        if not line.step():
                            self._stopping.wait(LOOK_EVERY_S)
            except Exception as error:  # noqa: BLE001 - the next one must still be delivered
                _log.error("events for %s wait: %s", receiver.name, type(error).__name__)
            self._stopping.wait(10 * LOOK_EVERY_S)
        receiver.close()


class Line:
    """The events that wait for one receiver."""

    def __init__(self, services: Services, receiver: Receiver, metrics: Metrics) -> None:
        self._services = services
        self._receiver = receiver
        self._metrics = metrics

    def step(self) -> bool:
        """Deliver what is due; gives whether there may be more at once. Never more than one batch."""
        self._shorten()
        rows = self._due()
        if not rows:
            return False
        events = [Event(each.id, each.tenant_id, each.kind, each.created_at, each.body) for each in rows]
        try:
            self._receiver.take(events)
        except NotTaken as refusal:
            self._forget([each.id for each in events[: refusal.taken]])
            self._metrics.delivery(self._receiver.name, delivered=refusal.taken, failed=1)
            self._postpone(rows[refusal.taken], refusal)
            return False
        self._forget([each.id for each in events])
        self._metrics.delivery(self._receiver.name, delivered=len(events))
        return len(events) == BATCH

    def _due(self) -> Sequence[Outgoing]:
        """The oldest ones, unless the very oldest has to wait: nobody overtakes it."""
        with self._services.database.read() as session:
            rows = session.scalars(
                select(Outgoing)
                .where(Outgoing.receiver == self._receiver.name)
                .order_by(Outgoing.id)
                .limit(BATCH)
            ).all()
        if rows and rows[0].next_attempt_at > self._services.clock.now():
            return []
        return rows

    def _forget(self, ids: Sequence[int]) -> None:
        if ids:
            with self._services.database.write() as session:
                session.execute(delete(Outgoing).where(Outgoing.id.in_(ids)))

    def _postpone(self, row: Outgoing, refusal: NotTaken) -> None:
        attempts = row.attempts + 1
        if refusal.because_of_event and attempts >= HOPELESS_AFTER:
            _log.error("event %d is dropped, %s: %s", row.id, self._receiver.name, refusal)
            self._forget([row.id])
            self._metrics.delivery(self._receiver.name, dropped=1)
            return
        wait_s = min(AGAIN_AFTER_S[1], AGAIN_AFTER_S[0] * 2 ** min(attempts - 1, 20))
        wait_s *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, protects nothing
        _log.warning(
            "%s took no events, attempt %d, again in %.0f s: %s",
            self._receiver.name,
            attempts,
            wait_s,
            refusal,
        )
        with self._services.database.write() as session:
            session.execute(
                update(Outgoing)
                .where(Outgoing.id == row.id)
                .values(
                    attempts=attempts,
                    next_attempt_at=self._services.clock.now() + timedelta(seconds=wait_s),
                )
            )

    def _shorten(self) -> None:
        mine = Outgoing.receiver == self._receiver.name
        with self._services.database.read() as session:
            newest = session.scalar(select(func.max(Outgoing.id)).where(mine))
            # Ids are given to all receivers together: only when there are this many can it be too long.
            if newest is None or newest <= KEEP:
                return
            last = session.scalar(
                select(Outgoing.id).where(mine).order_by(Outgoing.id.desc()).offset(KEEP).limit(1)
            )
        if last is None:
            return
        with self._services.database.write() as session:
            dropped = session.execute(delete(Outgoing).where(mine, Outgoing.id <= last)).rowcount  # type: ignore[attr-defined]
        _log.error("%d events for %s are dropped: more than %d wait", dropped, self._receiver.name, KEEP)
        self._metrics.delivery(self._receiver.name, dropped=dropped)


def _turn(services: Services, receiver: str) -> AbstractContextManager[Callable[[], bool]]:
    """Whether it is our turn to serve this receiver, asked again and again."""
    return _always() if services.database.is_sqlite else _locked(services, receiver)


@contextmanager
def _always() -> Iterator[Callable[[], bool]]:
    yield lambda: True


@contextmanager
def _locked(services: Services, receiver: str) -> Iterator[Callable[[], bool]]:
    """An advisory lock on a connection of its own; it goes with the connection."""
    key = zlib.crc32(b"isolator events " + receiver.encode())
    with services.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        ours = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}))
        try:
            yield lambda: ours and _is_alive(connection)
        finally:
            if ours and _is_alive(connection):
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})


def _is_alive(connection: Connection) -> bool:
    try:
        connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        connection.invalidate()
        return False
    return True
