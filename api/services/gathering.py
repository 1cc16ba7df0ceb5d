"""Database work of many requests, gathered: while one batch runs in its thread, the next one collects.

A lone request waits for nothing. A thousand at once share transactions, so that the disk is asked to be sure
a few times instead of a thousand times.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from api.problems import Problem

BATCH = 200
"""How many requests share one turn; bounds how long a single one waits for its own."""
WAITING = 20_000
"""How many may wait for their turn; beyond that a refusal is kinder than a queue."""

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

Work = Callable[[Sequence[Asked]], Sequence[Answered | Exception]]
"""Gives an answer, or the exception to raise, for each that was asked, in their order."""


class Gathering(Generic[Asked, Answered]):
    """One kind of work, done for many in one thread of its own. Belongs to one event loop."""

    def __init__(self, name: str, work: Work[Asked, Answered]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._queue: deque[tuple[Asked, asyncio.Future[Answered]]] = deque()
        self._turns: asyncio.Task[None] | None = None

    async def __call__(self, asked: Asked) -> Answered:
        """The answer to one; raises what the work gave for it. 503 when too many wait already."""
        if len(self._queue) >= WAITING:
            raise Problem("ServiceUnavailable", "too many agents at once", headers={"Retry-After": "5"})
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answered] = loop.create_future()
        self._queue.append((asked, future))
        if self._turns is None:
            self._turns = loop.create_task(self._take_turns())
        return await future

    def close(self) -> None:
        """Let the running batch end, and its thread. Called when nobody asks any more."""
        self._thread.shutdown(wait=True)

    async def _take_turns(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                turn = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                asked = [each for each, _ in turn]
                answers = await loop.run_in_executor(self._thread, self._answers, asked)
                for (_, future), answer in zip(turn, answers, strict=True):
                    if future.done():  # its request was given up
                        continue
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._turns = None

    def _answers(self, asked: Sequence[Asked]) -> Sequence[Answered | Exception]:
        try:
            return self._work(asked)
        except Exception as error:  # noqa: BLE001 - whoever waits must get an answer; each raises it as its own
            return [error] * len(asked)
