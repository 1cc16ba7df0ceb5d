"""Long polls: who waits here, what wakes them, and how all are sent home when the controller goes down.

A poll is woken by the order's own commit (`api.store.wake`), and in case that word is lost by a sweep that
compares generations. At most one poll of a machine waits: a later one sends the earlier home.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from api.problems import Problem
from api.services import isolation
from api.services.checkin import Arrival, Asked, CheckIns, Taken
from api.services.context import Services
from api.services.gathering import Gathering
from api.store.tables import Machine
from api.store.wake import LocalWake

FLUSH_S = 3.0
"""How long plain polls stay unwritten; also the replay window of a crash, see `sightings`."""
AGENTS_BACK_PER_S = 200
"""At which rate agents shall come back after the controller said goodbye."""
LONGEST_SPREAD_S = 30.0
_REMEMBER_WAKE_S = 60.0
_SWEEP_CHUNK = 500

_log = logging.getLogger(__name__)
_Given = TypeVar("_Given")


class Ending(Enum):
    """Why a poll is answered."""

    WOKEN = "woken"
    TIME_UP = "time_up"
    DISPLACED = "displaced"
    DRAINED = "drained"


@dataclass(slots=True)
class _Poll:
    generation: int
    ended: asyncio.Future[Ending]


@dataclass(slots=True)
class Registry:
    """The polls that wait in this process. Only its event loop touches it."""

    waiting: dict[str, _Poll] = field(default_factory=dict)
    _woken_at: dict[str, float] = field(default_factory=dict)
    draining: bool = False

    async def hold(self, machine_id: str, generation: int, hold_s: float, *, since: float) -> Ending:
        """Wait for an order above this generation, at most `hold_s`.

        `since`: the loop's time before the generation was read; a wake-up after it is not missed.
        """
        if self.draining:
            return Ending.DRAINED
        if self._woken_at.get(machine_id, -1.0) >= since:
            return Ending.WOKEN
        loop = asyncio.get_running_loop()
        poll = _Poll(generation, loop.create_future())
        earlier = self.waiting.get(machine_id)
        if earlier is not None:
            _end(earlier, Ending.DISPLACED)
        self.waiting[machine_id] = poll
        timer = loop.call_later(hold_s, _end, poll, Ending.TIME_UP)
        try:
            return await poll.ended
        finally:
            timer.cancel()
            if self.waiting.get(machine_id) is poll:
                del self.waiting[machine_id]

    def wake(self, machine_ids: Iterable[str]) -> None:
        """End the polls of these machines; those that are just on their way into `hold` too."""
        now = asyncio.get_running_loop().time()
        for each in machine_ids:
            self._woken_at[each] = now
            poll = self.waiting.get(each)
            if poll is not None:
                _end(poll, Ending.WOKEN)

    def drain(self) -> None:
        """Answer everybody now, and hold nobody from now on."""
        self.draining = True
        for poll in self.waiting.values():
            _end(poll, Ending.DRAINED)

    def forget_old_wakes(self) -> None:
        """Drop what no poll on its way can need any more."""
        limit = asyncio.get_running_loop().time() - _REMEMBER_WAKE_S
        self._woken_at = {name: at for name, at in self._woken_at.items() if at > limit}


def _end(poll: _Poll, ending: Ending) -> None:
    if not poll.ended.done():
        poll.ended.set_result(ending)


class Agents:
    """Everything the agents' side of the controller does, inside one event loop.

    `start` before the first check-in, `drain` when the process is told to end, `stop` at the very end.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.polls = Registry()
        self.check_ins = CheckIns(services)
        self._admit: Gathering[Arrival, Taken] = Gathering("admit", self.check_ins.admit)
        self._record: Gathering[Taken, Taken] = Gathering("record", self.check_ins.record)
        self._orders: Gathering[Asked, bytes] = Gathering("orders", self.check_ins.orders)
        self._upkeep = ThreadPoolExecutor(1, thread_name_prefix="upkeep")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._spread_s = 0.0

    async def start(self) -> None:
        """Listen for orders, and start the sweep and the flush."""
        self._loop = asyncio.get_running_loop()
        if isinstance(self._services.wake, LocalWake):
            self._services.wake.listen(self._on_wake)
        settings = self._services.settings
        self._tasks = [
            self._loop.create_task(self._repeat(settings.sweep_s, self.sweep)),
            self._loop.create_task(self._repeat(FLUSH_S, self.flush)),
        ]

    def drain(self) -> None:
        """Send every agent home, so that they come back spread over some time. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._drain)

    async def stop(self) -> None:
        """Send the last ones home, write what is not written, end the threads."""
        self._drain()
        if isinstance(self._services.wake, LocalWake):
            self._services.wake.unlisten(self._on_wake)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(DBAPIError):
            await self.flush()
        for each in (self._admit, self._record, self._orders):
            each.close()
        self._upkeep.shutdown(wait=True)

    async def check_in(self, arrival: Arrival) -> bytes:
        """Take one check-in; gives the signed answer, at once or when there is an order. Else Problem."""
        asked, generation, wait_s, since = await self._take(arrival)
        del arrival  # thousands wait here; the body need not
        if generation > asked.generation:
            return await self._believe(self._orders(asked))
        hold_s = min(wait_s, self._services.settings.long_poll_s) * random.uniform(0.9, 1.0)  # noqa: S311
        if hold_s <= 0:
            return self.check_ins.answer(asked, generation)
        ending = await self.polls.hold(asked.machine_id, generation, hold_s, since=since)
        if ending is Ending.WOKEN:
            return await self._believe(self._orders(asked))
        spread_s = random.uniform(0.1, self._spread_s) if ending is Ending.DRAINED else 0.0  # noqa: S311
        return self.check_ins.answer(asked, generation, poll_after_s=spread_s)

    async def sweep(self) -> None:
        """Find orders that nobody told us of, and actions that nobody took in time."""
        known = {name: poll.generation for name, poll in self.polls.waiting.items()}
        loop = asyncio.get_running_loop()
        self.polls.wake(await loop.run_in_executor(self._upkeep, self._missed, known))
        self.polls.forget_old_wakes()
        await loop.run_in_executor(self._upkeep, isolation.time_out, self._services)

    async def flush(self) -> None:
        """Write the plain polls that are not written yet."""
        sightings, database = self.check_ins.sightings, self._services.database
        await asyncio.get_running_loop().run_in_executor(self._upkeep, sightings.flush, database)

    async def _take(self, arrival: Arrival) -> tuple[Asked, int, float, float]:
        since = asyncio.get_running_loop().time()
        taken = await self._believe(self._admit(arrival))
        if taken.news:
            taken = await self._believe(self._record(taken))
        check = taken.check
        asked = Asked(check.machine_id, check.nonce, check.generation, check.keys_version)
        return asked, taken.generation, check.wait_s, since

    async def _believe(self, work: Awaitable[_Given]) -> _Given:
        try:
            return await work
        except DBAPIError as error:
            _log.error("the database did not answer a check-in: %s", type(error.orig).__name__)
            sentence = "the database does not answer; try again"
            raise Problem("ServiceUnavailable", sentence, headers={"Retry-After": "2"}) from error

    def _on_wake(self, machine_ids: Sequence[str]) -> None:
        """From any thread: after an order's commit, or (empty) when notices may have been lost."""
        if self._loop is None or self._loop.is_closed():
            return
        if machine_ids:
            self._loop.call_soon_threadsafe(self.polls.wake, machine_ids)
        else:
            self._loop.call_soon_threadsafe(self._sweep_soon)

    def _sweep_soon(self) -> None:
        async def once() -> None:
            with contextlib.suppress(DBAPIError):
                await self.sweep()

        self._tasks = [each for each in self._tasks if not each.done()]
        self._tasks.append(asyncio.get_running_loop().create_task(once()))

    def _drain(self) -> None:
        if not self.polls.draining:
            waiting = len(self.polls.waiting)
            self._spread_s = max(1.0, min(LONGEST_SPREAD_S, waiting / AGENTS_BACK_PER_S))
            _log.info("sending %d agents home for %.0f s", waiting, self._spread_s)
        self.polls.drain()

    def _missed(self, known: dict[str, int]) -> list[str]:
        names = list(known)
        missed = []
        with self._services.database.read() as session:
            for start in range(0, len(names), _SWEEP_CHUNK):
                chunk = names[start : start + _SWEEP_CHUNK]
                rows = session.execute(
                    select(Machine.id, Machine.generation, Machine.unenrolled_at).where(Machine.id.in_(chunk))
                )
                missed += [
                    each.id
                    for each in rows
                    if each.generation > known[each.id] or each.unenrolled_at is not None
                ]
        return missed

    async def _repeat(self, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(every_s * random.uniform(0.9, 1.1))  # noqa: S311 - workers must not beat as one
            try:
                await work()
            except DBAPIError as error:
                _log.warning("the database did not answer the upkeep: %s", type(error.orig).__name__)
            except Exception:  # noqa: BLE001 - a sweep that fails must not be the last one
                _log.exception("%s failed; it is tried again", getattr(work, "__name__", "upkeep"))
