"""Which addresses to connect to, and which connection to go on with."""

from __future__ import annotations

import asyncio

from connectivity_check.ports import Tried

MAX_ADDRESSES = 4
"""Per family: what a client tries before it gives up. The rest is counted in the evidence (`left_out`)."""
HEAD_START_S = 0.05
"""How long an IPv6 connection may be behind an IPv4 one and still be preferred (RFC 8305 gives the reverse
case 250 ms; here both were begun at once)."""


def some(addresses: tuple[str, ...]) -> list[str]:
    """At most four of each family, IPv6 first, as a client prefers them (RFC 6724)."""
    six = [each for each in addresses if ":" in each][:MAX_ADDRESSES]
    return six + [each for each in addresses if ":" not in each][:MAX_ADDRESSES]


async def first_good(tasks: list[asyncio.Task[Tried]]) -> asyncio.Task[Tried] | None:
    """Give the first task that connected; of several, the first in the order of the list."""
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if not _good(tasks):
            continue
        before = tasks[: tasks.index(_good(tasks)[0])]
        waiting = [task for task in before if task in pending]
        if waiting:
            await asyncio.wait(waiting, timeout=HEAD_START_S, return_when=asyncio.FIRST_COMPLETED)
        return _good(tasks)[0]
    return None


def _good(tasks: list[asyncio.Task[Tried]]) -> list[asyncio.Task[Tried]]:
    return [task for task in tasks if task.done() and task.result().stream is not None]
