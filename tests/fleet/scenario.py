"""What a fleet goes through: all wait, many are isolated, the controller restarts under them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select

from api.store.database import Database
from api.store.tables import Action, Machine
from tests.fleet.agent import Agent
from tests.fleet.controller import Controller
from tests.fleet.runner import Runner, Tally

BULK = 1000
SETTLE_S = 3.0
PATIENCE_S = 300.0
"""When a measurement is given up; what is good enough is judged elsewhere."""


@dataclass
class Found:
    """What was measured."""

    agents: int = 0
    settled_s: float = 0.0
    """Until all had checked in for the first time."""
    memory_mib: float = 0.0
    """The controller's, with all of them waiting."""
    isolated: int = 0
    ordered_s: float = 0.0
    """The call that orders the isolations."""
    verified_s: float = 0.0
    """From that call's start until every action had succeeded."""
    controller_cpu_s: float = 0.0
    """What of that the controller computed."""
    drained_s: float = 0.0
    """From SIGTERM to the controller's end, all agents answered."""
    back_s: float = 0.0
    """From SIGTERM until the new process had seen every agent."""
    disbelieved: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Orders lost or doubled, broken chains; there must be none."""
    counts: dict[str, int] = field(default_factory=dict)


class Fleet:
    """Agents that live beside a controller."""

    def __init__(self, controller: Controller, database: Database, agents: Sequence[Agent]) -> None:
        self.controller = controller
        self.database = database
        self.tally = Tally()
        self.runners = [Runner(each, controller.url, self.tally, context=controller.tls) for each in agents]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, within_s: float) -> None:
        """Let them all begin, spread over some seconds."""
        self._tasks = [asyncio.create_task(each.live(start_within_s=within_s)) for each in self.runners]

    async def stop(self) -> None:
        """End them."""
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def seen_since(self, instant: datetime, *, within_s: float) -> float:
        """Wait until the controller has seen every agent after the instant; gives how long that took."""
        end = time.monotonic() + within_s
        while True:
            first, last = await asyncio.to_thread(self._seen)
            if first > instant:
                return (last - instant).total_seconds()
            if time.monotonic() > end:
                raise RuntimeError(f"an agent was last seen at {first}, not after {instant}")
            await asyncio.sleep(0.3)

    def _seen(self) -> tuple[datetime, datetime]:
        ids = {each.agent.machine_id for each in self.runners}
        with self.database.read() as session:
            rows = session.execute(select(Machine.id, Machine.last_seen)).all()
        seen = [each.last_seen for each in rows if each.id in ids]
        return min(seen), max(seen)

    async def order(self, agents: Sequence[Agent], *, isolate: bool = True) -> list[str]:
        """Order all of these with as few calls as may be; gives the actions' ids."""
        ids: list[str] = []
        for start in range(0, len(agents), BULK):
            body = {
                "Comment": "fleet",
                "IsolationType": "Full",
                "Release": not isolate,
                "MachineIds": [each.machine_id for each in agents[start : start + BULK]],
                "Overrides": ["cap"],
            }
            answer = await self.controller.call("/api/bulk/isolate", body)
            if answer.status != 200:
                raise RuntimeError(f"bulk: {answer.status} {answer.body[:500]!r}")
            for row in answer.json()["results"]:
                if row["outcome"] != "ordered":
                    raise RuntimeError(f"not ordered: {row}")
                ids.append(row["action"]["id"])
        return ids

    async def all_succeeded(self, actions: Sequence[str], *, within_s: float) -> None:
        """Wait until these actions have succeeded."""
        left = set(actions)
        end = time.monotonic() + within_s
        while left:
            if time.monotonic() > end:
                raise RuntimeError(f"{len(left)} of {len(actions)} actions are not done")
            await asyncio.sleep(0.1)
            left -= await asyncio.to_thread(self._succeeded, sorted(left))

    def _succeeded(self, ids: list[str]) -> set[str]:
        with self.database.read() as session:
            found: set[str] = set()
            for start in range(0, len(ids), 500):
                chunk = Action.id.in_(ids[start : start + 500])
                found |= set(session.scalars(select(Action.id).where(chunk, Action.status == "Succeeded")))
            return found

    def wrong(self, acknowledged: Sequence[str]) -> list[str]:
        """Acknowledged orders that were not carried out exactly once, and a broken audit chain."""
        done: dict[str, int] = {}
        for each in self.runners:
            for action, count in each.agent.effects.items():
                done[action] = done.get(action, 0) + count
        found = [
            f"{each} was carried out {done.get(each, 0)} times"
            for each in acknowledged
            if done.get(each) != 1
        ]
        found += [f"{each} was carried out {count} times" for each, count in done.items() if count > 1]
        verdicts = self.controller.console("audit", "verify")
        if not all(each["whole"] for each in verdicts["tenants"].values()):
            found.append(f"audit: {verdicts}")
        return found


async def run(controller: Controller, database: Database, agents: Sequence[Agent], *, isolate: int) -> Found:
    """The whole scenario on a controller that runs already."""
    found = Found(agents=len(agents), isolated=isolate)
    fleet = Fleet(controller, database, agents)
    try:
        started = datetime.now(UTC)
        await fleet.start(within_s=len(agents) / 500)
        found.settled_s = await fleet.seen_since(started, within_s=PATIENCE_S)
        await asyncio.sleep(SETTLE_S)
        found.memory_mib = controller.memory_mib()
        acknowledged = await _isolate(fleet, agents[:isolate], found)
        acknowledged += await _restart(fleet, agents[isolate : 2 * isolate], found)
        found.wrong = await asyncio.to_thread(fleet.wrong, acknowledged)
        found.disbelieved = fleet.tally.disbelieved
        found.counts = dict(fleet.tally.counts)
    finally:
        await fleet.stop()
    return found


async def _isolate(fleet: Fleet, agents: Sequence[Agent], found: Found) -> list[str]:
    started, computed_s = time.monotonic(), fleet.controller.cpu_s()
    actions = await fleet.order(agents)
    found.ordered_s = time.monotonic() - started
    await fleet.all_succeeded(actions, within_s=PATIENCE_S)
    found.verified_s = time.monotonic() - started
    found.controller_cpu_s = fleet.controller.cpu_s() - computed_s
    return actions


async def _restart(fleet: Fleet, agents: Sequence[Agent], found: Found) -> list[str]:
    """Orders are acknowledged, and the next moment the controller is told to end."""
    actions = await fleet.order(agents)
    found.drained_s = await asyncio.to_thread(fleet.controller.end, signal.SIGTERM)
    ended = datetime.now(UTC)
    await asyncio.to_thread(fleet.controller.start)
    found.back_s = found.drained_s + await fleet.seen_since(ended, within_s=PATIENCE_S)
    await fleet.all_succeeded(actions, within_s=PATIENCE_S)
    return actions


async def until(condition: Callable[[], bool], within_s: float) -> None:
    """Wait until the condition holds. RuntimeError when it does not in time."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("it did not come about in time")
        await asyncio.sleep(0.1)
