"""Orders stream in while the controller and its database are killed: nothing acknowledged may be lost.

Operators order as people and playbooks do: no answer means they try again, and "already in progress" tells
them which action that is. An order counts as acknowledged when its action's id has reached an operator.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from api.store.tables import Action, AuditRow, Machine
from tests.fleet.agent import Agent
from tests.fleet.places import Place
from tests.fleet.postmaster import Postmaster
from tests.fleet.runner import Runner, Tally
from tests.fleet.wire import Gone

LIVES_S = (0.1, 1.5)
"""How long, at random, the controller may live between two kills."""
STREAMS = 6
"""Operators that order at the same time, each for agents of its own."""
BACK_AT_MOST_S = 0.7
"""The agents' longest wait; a real one waits longer, here the next kill is near."""
AFTER_S = 90.0
"""What the fleet gets to come to rest when the killing is over."""


@dataclass
class Result:
    """What became of the stream."""

    kills: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    retried: int = 0
    """Orders that got no answer and were tried again."""
    wrong: list[str] = field(default_factory=list)
    took_s: float = 0.0


@dataclass
class _Stream:
    """One operator, and what was acknowledged to it: action id -> the agent it is for."""

    place: Place
    agents: Sequence[Agent]
    acknowledged: dict[str, Agent] = field(default_factory=dict)
    retried: int = 0
    ends: bool = False
    odd: list[str] = field(default_factory=list)

    async def live(self) -> None:
        """Isolate and release, one agent after the other, until told to end."""
        while not self.ends:
            agent = random.choice(self.agents)
            action = await self._order(agent, "unisolate" if agent.state == "isolated" else "isolate")
            self.acknowledged[action] = agent
            # As whoever watches an action does; the next order for a machine would replace this one.
            while not self.ends and await asyncio.to_thread(_unfinished, self.place, action):
                await asyncio.sleep(0.05)

    async def _order(self, agent: Agent, word: str) -> str:
        path = f"/api/machines/{agent.machine_id}/{word}"
        while True:
            try:
                answer = await self.place.controller.call(path, {"Comment": "stream"}, timeout_s=10)
            except Gone:
                self.retried += 1
                await asyncio.sleep(0.1)
                continue
            if answer.status == 201:
                return str(answer.json()["id"])
            error = json.loads(answer.body)["error"]
            if error["code"] == "ActiveRequestAlreadyExists":
                return str(error["activeActionId"])
            if answer.status not in (500, 503):
                self.odd.append(f"{answer.status} {error}")
            self.retried += 1
            await asyncio.sleep(0.1)


async def stream(place: Place, agents: Sequence[Agent], kills: int, postmaster: Postmaster | None) -> Result:
    """Kill `kills` times during a stream of orders, let all come to rest, and look at what is there."""
    started = time.monotonic()
    result, tally = Result(), Tally()
    await place.controller.sign_in()
    runners = [Runner(each, place.controller.url, tally, longest_pause_s=BACK_AT_MOST_S) for each in agents]
    lives = [asyncio.create_task(each.live()) for each in runners]
    streams = [_Stream(place, agents[number::STREAMS]) for number in range(STREAMS)]
    orders = [asyncio.create_task(each.live()) for each in streams]
    try:
        for _ in range(kills):
            await asyncio.sleep(random.uniform(*LIVES_S))
            result.kills[await asyncio.to_thread(_kill_one, place, postmaster)] += 1
        for each in streams:
            each.ends = True
        await asyncio.wait_for(asyncio.gather(*orders), AFTER_S)
        acknowledged = {name: agent for each in streams for name, agent in each.acknowledged.items()}
        await _at_rest(place, acknowledged)
    finally:
        for task in (*orders, *lives):
            task.cancel()
        await asyncio.gather(*orders, *lives, return_exceptions=True)
    result.acknowledged = len(acknowledged)
    result.retried = sum(each.retried for each in streams)
    result.wrong = [each for one in streams for each in one.odd] + tally.disbelieved
    result.wrong += await asyncio.to_thread(_wrong, place, agents, acknowledged)
    result.took_s = time.monotonic() - started
    return result


def _kill_one(place: Place, postmaster: Postmaster | None) -> str:
    what = "controller" if postmaster is None else random.choice(("controller", "postmaster", "backend"))
    if what == "controller" or postmaster is None:
        place.controller.end(signal.SIGKILL)
        place.controller.start()
    elif what == "postmaster":
        postmaster.kill()
        postmaster.start()
    elif postmaster.kill_backend("fleet"):
        _until(postmaster.answers, 60)
    return what


async def _at_rest(place: Place, acknowledged: dict[str, Agent]) -> None:
    end = time.monotonic() + AFTER_S
    while left := [each for each in acknowledged if await asyncio.to_thread(_unfinished, place, each)]:
        if time.monotonic() > end:
            raise RuntimeError(f"{len(left)} orders never ended, such as {left[0]}")
        await asyncio.sleep(0.2)


def _unfinished(place: Place, action: str) -> bool:
    try:
        with place.database.read() as session:
            status = session.scalars(select(Action.status).where(Action.id == action)).one_or_none()
    except SQLAlchemyError:  # a connection that the killing broke
        return True
    return status in ("Pending", "InProgress")


def _wrong(place: Place, agents: Sequence[Agent], acknowledged: dict[str, Agent]) -> list[str]:
    found = []
    with place.database.read() as session:
        status = {each.id: each.status for each in session.execute(select(Action.id, Action.status))}
        desired = {each.id: each.desired for each in session.execute(select(Machine.id, Machine.desired))}
        ordered = session.scalar(
            select(func.count())
            .select_from(AuditRow)
            .where(
                AuditRow.content.like('%"action":"machine.isolate"%')
                | AuditRow.content.like('%"action":"machine.release"%')
            )
        )
    for action, agent in acknowledged.items():
        if status.get(action) != "Succeeded":
            found.append(f"acknowledged {action} is {status.get(action, 'lost')}")
        if agent.effects.get(action) != 1:
            found.append(f"acknowledged {action} was carried out {agent.effects.get(action, 0)} times")
    for agent in agents:
        found += [
            f"{name} was carried out {count} times" for name, count in agent.effects.items() if count > 1
        ]
        found += [f"{name} was never ordered" for name in agent.effects if name not in status]
        if desired[agent.machine_id] != agent.state:
            found.append(f"{agent.name} is {agent.state}, wanted is {desired[agent.machine_id]}")
    if ordered != len(status):
        found.append(f"{len(status)} actions, {ordered} audit rows of them")
    verdict = place.controller.console("audit", "verify")
    found += [
        f"audit chain of {name}: {each}" for name, each in verdict["tenants"].items() if not each["whole"]
    ]
    return found


def _until(condition: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the database did not come back")
        time.sleep(0.05)
