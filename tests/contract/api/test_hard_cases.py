"""Moments at which a machine could be lost: no state without a way out, nothing done that was taken back."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.core.check_in import MAX_DEPTH
from api.core.instant import parse_instant
from api.problems import Problem
from api.services import enrolment, isolation, membership, recording
from api.services.checkin import Arrival, Asked, CheckIns, Taken
from api.services.forced_release import forced_release
from api.services.keys import rotate_order_key
from api.store.database import Database
from tests.contract.api.agents_world import World, make_world, tenant
from tests.fleet.agent import Agent

WEEK = timedelta(days=7)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(database, tmp_path)
    yield made
    made.services.wake.close()  # type: ignore[attr-defined]


def isolated(world: World, name: str = "host-1") -> Agent:
    agent = world.agent(name)
    world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in())
    return agent


def test_a_forced_release_is_not_taken_back_by_time(world: World) -> None:
    agent = isolated(world)
    action, _ = forced_release(world.services, world.admin, agent.machine_id, "cut off", 10 * 86_400.0)
    world.clock.ahead = timedelta(hours=80)
    isolation.time_out(world.services)
    assert world.action(action).status == "TimeOut"
    agent.generation, agent.state = action.generation, "connected"  # by the file, days later
    world.take(agent.check_in())
    assert world.machine(agent).desired == "connected"
    assert world.deliver(agent)["desired"] == "connected"  # also for one that never saw the file


def test_an_order_taken_back_by_leaving_is_not_carried_out_on_return(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    membership.unenrol(world.services, world.admin, agent.machine_id, "scrapped", force=True)
    assert world.action(action).status == "Cancelled"
    enrolment.enrol(world.services, agent.enrol(world.token()), "192.0.2.1")
    assert world.deliver(agent)["desired"] == "connected"
    assert agent.effects == {}


def test_a_suspected_clone_can_be_released(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in(observed=agent.report(verified=False)))
    with pytest.raises(Problem, match="already in progress"):
        world.release(agent)  # the proof may be on its way
    world.clock.ahead = isolation.PROOF_WITHIN
    with pytest.raises(Problem, match="already in progress"):
        world.isolate(agent)
    release = world.release(agent)
    ended = world.action(action)
    assert (ended.status, ended.error_code) == ("TimeOut", "not_verified")
    isolation.cancel(world.services, world.admin, release.id, "no, it stays")
    assert world.deliver(agent)["desired"] == "isolated"  # it was in force, proven or not


@pytest.mark.parametrize("isolate", [True, False])
def test_obeyed_without_effect_has_failed(world: World, isolate: bool) -> None:
    """Also what is left of an order that a lost database gave another content under the same number."""
    agent = world.agent() if isolate else isolated(world)
    action = world.isolate(agent, isolate=isolate)
    world.deliver(agent)
    agent.state, agent.scope = ("connected", None) if isolate else ("isolated", "full")
    world.take(agent.check_in(delivered=agent.generation))
    assert world.action(action).status == "InProgress"  # said beside the work
    world.take(agent.check_in())
    ended = world.action(action)
    assert (ended.status, ended.error_code) == ("Failed", "not_in_force")
    assert world.machine(agent).desired == agent.state
    world.isolate(agent, isolate=isolate)


@pytest.mark.parametrize(
    "behind", [timedelta(seconds=20), timedelta(hours=5)], ids=["a fast device", "a late controller"]
)
def test_an_end_is_believed_when_clocks_differ(world: World, behind: timedelta) -> None:
    agent = isolated(world)
    agent.state = "connected"
    world.clock.ahead = WEEK - behind
    world.take(agent.check_in())
    world.clock.ahead = WEEK + timedelta(minutes=1)
    world.take(agent.check_in())
    assert world.machine(agent).desired == "connected"
    assert world.audited().count("isolation.expired") == 1


def test_an_early_end_is_told_once(world: World) -> None:
    agent = isolated(world)
    agent.state = "connected"
    for _ in range(3):
        world.take(agent.check_in())
    assert (world.machine(agent).desired, world.machine(agent).generation) == ("isolated", 1)
    assert "isolation.expired" not in world.audited()


def test_no_nesting_takes_the_neighbours_with_it(world: World) -> None:
    """Where one reader's depth ends, another's does not: whatever is taken can also be written and read."""
    bad, good = world.agent("bad"), world.agent("good")
    deep: Any = []
    for depth in range(1, 970):
        deep = [deep]
        if MAX_DEPTH < depth < 900 and depth % 50:
            continue
        with contextlib.suppress(RecursionError):  # of the test's own signature
            body = bad.check_in(observed=bad.report(x=deep))
            found = world.desk.admit([Arrival(body, ""), Arrival(good.check_in(facts={}), "")])
            assert isinstance(found[1], Taken)
            world.desk.record([each for each in found if isinstance(each, Taken) and each.news])
            if abs(depth - MAX_DEPTH) > 4:
                assert isinstance(found[0], Taken if depth < MAX_DEPTH else Problem)
    assert world.machine(bad).observed is not None


def test_batches_of_the_same_tenants_do_not_wait_for_each_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two workers: each has locked one tenant's audit head when it comes for the other's."""
    first = [world.agent("a1"), world.agent("a2")]
    world.admin = tenant(world.services, "second")
    second = [world.agent("b1"), world.agent("b2")]
    both = threading.Barrier(2)
    desks = [CheckIns(world.services), CheckIns(world.services)]
    record_one = recording.record_one

    def slowly(*arguments: Any) -> None:
        record_one(*arguments)
        arguments[0].flush()
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(1.0)

    monkeypatch.setattr("api.services.checkin.record_one", slowly)
    batches = [[first[0], second[0]], [second[1], first[1]]]
    found: dict[int, list[Any]] = {}

    def work(number: int) -> None:
        bodies = [each.check_in(facts={"computer_name": each.name + "x"}) for each in batches[number]]
        taken = desks[number].admit([Arrival(each, "") for each in bodies])
        found[number] = desks[number].record([each for each in taken if isinstance(each, Taken)])

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    with caplog.at_level(logging.WARNING):
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
    assert [each.getMessage() for each in caplog.records] == []
    for number in (0, 1):  # and everybody got the answer to their own
        assert [each.check.machine_id for each in found[number]] == [
            each.machine_id for each in batches[number]
        ]


def rotated(world: World, directory: Path, **options: Any) -> None:
    """The controller with a new order key."""
    keys = rotate_order_key(directory, directory / "root.key", world.clock.now(), **options)
    world.services = replace(world.services, keys=keys)
    world.desk = CheckIns(world.services)


@pytest.mark.parametrize("cause", ["key retired", "from the future"])
@pytest.mark.parametrize("ordered", [True, False], ids=["an action's", "nobody's"])
def test_an_order_that_would_be_refused_for_good_is_signed_anew(
    world: World, tmp_path: Path, cause: str, ordered: bool
) -> None:
    agent = isolated(world)
    world.clock.ahead = timedelta(hours=5) if cause == "from the future" else timedelta()
    release = world.release(agent)
    if not ordered:
        isolation.cancel(world.services, world.admin, release.id, "it stays")
    before = world.machine(agent).generation
    if cause == "key retired":
        rotated(world, tmp_path / "keys", retire=True)
    world.clock.ahead = timedelta()
    order = world.deliver(agent)
    assert order["generation"] == before + 1
    assert parse_instant(order["issued_at"]) <= world.clock.now()
    assert order["desired"] == ("connected" if ordered else "isolated")
    world.take(agent.check_in())
    assert world.action(release).status == ("Succeeded" if ordered else "Cancelled")
    assert world.audited().count("order.renew") == 1


def test_an_older_keys_directory_and_a_rotation_reach_every_agent(world: World, tmp_path: Path) -> None:
    """Versions rise by the clock: the new set is above those that were given out and lost."""
    keys, backup = tmp_path / "keys", tmp_path / "backup"
    shutil.copytree(keys, backup)
    agent = world.agent()
    for _ in range(3):
        rotated(world, keys)
    world.take(agent.check_in())
    agent.believe(world.desk.answer(Asked(agent.machine_id, agent.nonce, 0, agent.keys_version), 0))
    known = agent.keys_version
    world.clock.ahead = timedelta(hours=1)
    rotated(world, backup, retire=True)
    world.isolate(agent)
    assert world.deliver(agent)["desired"] == "isolated"
    assert agent.keys_version is not None
    assert known is not None
    assert agent.keys_version > known


def test_a_release_file_above_orders_that_were_lost(world: World) -> None:
    agent = world.agent()
    for above, generation in ((0, 1), (12, 13), (5, 14)):
        action, envelope = forced_release(
            world.services, world.admin, agent.machine_id, "cut off", 60.0, above=above
        )
        assert (action.generation, json.loads(envelope.payload)["generation"]) == (generation, generation)
    with pytest.raises(Problem, match="above"):
        forced_release(world.services, world.admin, agent.machine_id, "cut off", 60.0, above=2000)
