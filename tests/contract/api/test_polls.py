"""Long polls on both databases: woken at once, also by another worker, never missed, sent home in good order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.problems import Problem
from api.services import isolation, membership
from api.services.checkin import Arrival
from api.services.context import Services
from api.services.isolation import OrderRequest
from api.services.polls import Agents, Ending, Registry
from api.settings import Settings
from api.store.database import Database
from api.store.wake import open_wake
from tests.contract.api.agents_world import World, make_world, until
from tests.fleet.agent import Agent


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(database, tmp_path, Settings(state_dir=tmp_path, sweep_s=0.3))
    yield made
    made.services.wake.close()  # type: ignore[attr-defined]


@asynccontextmanager
async def desk(services: Services) -> AsyncIterator[Agents]:
    agents = Agents(services)
    await agents.start()
    try:
        yield agents
    finally:
        await agents.stop()


def poll(agents: Agents, agent: Agent, wait_s: float = 30, **changes: Any) -> asyncio.Task[dict[str, Any]]:
    body = agent.check_in(wait_s=wait_s, **changes)

    async def ask() -> dict[str, Any]:
        return agent.believe(await agents.check_in(Arrival(body, "192.0.2.1")))

    return asyncio.get_running_loop().create_task(ask())


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(bounded())


def test_an_order_ends_the_poll_at_once(world: World) -> None:
    """The sweep is turned off: only the wake-up can end it before its time."""
    agent = world.agent()
    services = replace(world.services, settings=replace(world.services.settings, sweep_s=3600))

    async def work() -> None:
        async with desk(services) as agents:
            asked = poll(agents, agent)
            await until(lambda: agent.machine_id in agents.polls.waiting)
            started = asyncio.get_running_loop().time()
            await asyncio.to_thread(world.isolate, agent)
            order = agent.order_of(await asked)
            assert order is not None
            assert asyncio.get_running_loop().time() - started < 10
            agent.obey(order)
            await poll(agents, agent, 0, delivered=1)
            await poll(agents, agent, 0)
        assert world.machine(agent).observed_state == "isolated"

    run(work)


def test_an_order_that_is_there_already_is_not_waited_for(world: World) -> None:
    agent = world.agent()
    world.isolate(agent)

    async def work() -> None:
        async with desk(world.services) as agents:
            assert agent.order_of(await poll(agents, agent)) is not None

    run(work)


def test_without_an_order_the_poll_ends_in_time(world: World) -> None:
    agent = world.agent()

    async def work() -> None:
        async with desk(world.services) as agents:
            started = asyncio.get_running_loop().time()
            answer = await poll(agents, agent, 0.5)
            assert 0.4 < asyncio.get_running_loop().time() - started < 1.5
            assert (answer["order"], answer["poll_after_s"]) == (None, 0)
            assert (await poll(agents, agent, 0))["order"] is None

    run(work)


def test_the_controller_waits_no_longer_than_it_is_set_to(world: World) -> None:
    agent = world.agent()
    services = replace(world.services, settings=replace(world.services.settings, long_poll_s=0.2))

    async def work() -> None:
        async with desk(services) as agents:
            await asyncio.wait_for(poll(agents, agent, 3600), 2)

    run(work)


def test_an_order_between_the_look_and_the_wait_is_not_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep is turned off: only the wake-up that came too early for the poll can end it."""
    agent = world.agent()
    world.take(agent.check_in())
    services = replace(world.services, settings=replace(world.services.settings, sweep_s=3600))

    original = Registry.hold

    async def hold(self: Registry, *args: Any, **kwargs: Any) -> Ending:
        await asyncio.to_thread(world.isolate, agent)
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(Registry, "hold", hold)

    async def work() -> None:
        async with desk(services) as agents:
            assert agent.order_of(await asyncio.wait_for(poll(agents, agent), 2)) is not None

    run(work)


def test_another_worker_wakes_us(world: World, database_url: str) -> None:
    """PostgreSQL: by a notice, at once. SQLite has one worker; its console's orders wait for the sweep."""
    agent = world.agent()
    other_database = Database(database_url)
    other = replace(world.services, database=other_database, wake=open_wake(other_database))

    async def work() -> None:
        settings = replace(
            world.services.settings, sweep_s=0.3 if world.services.database.is_sqlite else 3600
        )
        async with desk(replace(world.services, settings=settings)) as agents:
            await asyncio.sleep(0.5)  # the listener connects
            asked = poll(agents, agent)
            await until(lambda: agent.machine_id in agents.polls.waiting)
            request = OrderRequest(agent.machine_id, "from the other worker")
            await asyncio.to_thread(isolation.place, other, world.admin, request)
            assert agent.order_of(await asyncio.wait_for(asked, 2)) is not None

    try:
        run(work)
    finally:
        other.wake.close()  # type: ignore[attr-defined]
        other_database.close()


def test_a_lost_notice_costs_a_sweep(world: World) -> None:
    agent = world.agent()

    class Deaf:
        def machines(self, machine_ids: object) -> None:
            pass

    async def work() -> None:
        async with desk(world.services) as agents:
            asked = poll(agents, agent)
            await until(lambda: agent.machine_id in agents.polls.waiting)
            deaf = replace(world.services, wake=Deaf())
            request = OrderRequest(agent.machine_id, "unheard")
            await asyncio.to_thread(isolation.place, deaf, world.admin, request)
            assert agent.order_of(await asyncio.wait_for(asked, 3)) is not None

    run(work)


def test_a_later_poll_sends_the_earlier_one_home(world: World) -> None:
    agent = world.agent()

    async def work() -> None:
        async with desk(world.services) as agents:
            body = agent.check_in(wait_s=30)
            first = asyncio.create_task(agents.check_in(Arrival(body, "")))
            await until(lambda: agent.machine_id in agents.polls.waiting)
            second = poll(agents, agent)
            await asyncio.wait_for(first, 2)
            assert not second.done()
            await asyncio.to_thread(world.isolate, agent)
            assert agent.order_of(await asyncio.wait_for(second, 2)) is not None

    run(work)


def test_someone_elses_message_ends_no_poll(world: World) -> None:
    agent = world.agent()

    async def work() -> None:
        async with desk(world.services) as agents:
            asked = poll(agents, agent)
            await until(lambda: agent.machine_id in agents.polls.waiting)
            stranger = Agent("stranger")
            with pytest.raises(Problem):
                await agents.check_in(Arrival(stranger.check_in(machine_id=agent.machine_id), ""))
            await asyncio.sleep(0.1)
            assert not asked.done()
            agents.drain()
            await asked

    run(work)


def test_going_down_sends_everybody_home_spread(world: World) -> None:
    fleet = [world.agent(f"host-{number}") for number in range(8)]

    async def work() -> None:
        async with desk(world.services) as agents:
            asked = [poll(agents, each) for each in fleet]
            await until(lambda: len(agents.polls.waiting) == 8)
            started = asyncio.get_running_loop().time()
            await asyncio.to_thread(agents.drain)
            answers = await asyncio.gather(*asked)
            assert asyncio.get_running_loop().time() - started < 0.5
            waits = {each["poll_after_s"] for each in answers}
            assert len(waits) > 1
            assert all(0 < each <= 30 for each in waits)
            late = await asyncio.wait_for(poll(agents, fleet[0]), 1)
            assert late["poll_after_s"] > 0
        assert all(world.machine(each).sequence >= 1 for each in fleet)

    run(work)


def test_polls_are_written_when_the_controller_ends(world: World) -> None:
    agent = world.agent()
    world.take(agent.check_in())

    async def work() -> None:
        async with desk(world.services) as agents:
            await poll(agents, agent, 0)

    run(work)
    assert world.machine(agent).sequence == 2


def test_unenrolled_while_waiting(world: World) -> None:
    agent = world.agent()

    async def work() -> None:
        async with desk(world.services) as agents:
            asked = poll(agents, agent)
            await until(lambda: agent.machine_id in agents.polls.waiting)
            await asyncio.to_thread(
                membership.unenrol, world.services, world.admin, agent.machine_id, "scrapped"
            )
            with pytest.raises(Problem) as caught:
                await asked
            assert caught.value.code == "Unenrolled"

    run(work)


def test_many_at_once_share_transactions(world: World) -> None:
    fleet = [world.agent(f"host-{number}") for number in range(40)]
    begun: list[str] = []
    from sqlalchemy import event

    event.listen(world.services.database.engine, "commit", lambda _c: begun.append("commit"))

    async def work() -> None:
        async with desk(world.services) as agents:
            await asyncio.gather(*(poll(agents, each, 0) for each in fleet))

    run(work)
    assert all(world.machine(each).observed_state == "connected" for each in fleet)
    assert len(begun) < 20


def test_a_sweep_that_finds_nothing_calls_for_no_other(world: World) -> None:
    """A controller at rest is at rest: the word of a sweep must not start the next one."""
    services = replace(world.services, settings=replace(world.services.settings, sweep_s=3600))
    looked: list[str] = []

    class Counting(Agents):
        async def sweep(self) -> None:
            looked.append("again")
            await super().sweep()

    async def work() -> None:
        agents = Counting(services)
        await agents.start()
        await agents.sweep()
        await asyncio.sleep(1)
        await agents.stop()

    run(work)
    # On PostgreSQL the listener looks once when it begins to listen.
    assert len(looked) <= 2
