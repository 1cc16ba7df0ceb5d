"""An event loop whose time jumps to the next timer: an hour of waiting takes a millisecond.

It has no sockets, so it runs where sockets are forbidden. Waiting for nothing at all, which would hang a real
loop, is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
UTC_AT_ZERO = 1_714_564_800.0
"""2024-05-01T12:00:00Z."""


class Stuck(AssertionError):
    """Every task waits, and no timer is set: nobody will ever go on."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Selects nothing and never sleeps; `time()` is what the timers have made of it."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self._selector = self

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual

    def select(self, timeout: float | None) -> list[object]:
        """Let the time until the next timer pass at once."""
        if timeout is None:
            raise Stuck("every task waits for another, and no timer is set")
        self._virtual += max(0.0, timeout)
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody need be woken."""


class LoopClock:
    """`connectivity_check.ports.Clock` by the running loop, virtual or not."""

    def now(self) -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    def utc(self) -> float:
        """Seconds since 1970."""
        return UTC_AT_ZERO + self.now()


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time and give the result. Tasks that outlive `main` are an error."""

    async def watched() -> T:
        result = await main
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks were left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(watched())
