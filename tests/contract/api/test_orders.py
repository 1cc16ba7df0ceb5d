"""Isolate, unisolate, cancel: what is taken, what is refused, what the machine is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from api.core.action_state import ActionEvent
from api.core.roles import Role
from api.problems import Problem
from api.services import isolation, steering
from api.services.isolation import OrderRequest
from api.store.database import Database
from api.store.tables import Action, Machine, Order
from tests.contract.api.calls import Caller, caller, move, orders, refusal, row, words
from tests.contract.api.controller import Controller, console, controller

DAY_S = 86_400.0
DELIVERED, APPLIED, VERIFIED, FAILED = (
    ActionEvent.DELIVERED,
    ActionEvent.APPLIED,
    ActionEvent.VERIFIED,
    ActionEvent.FAILED,
)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


@pytest.fixture
def operator(world: Controller) -> Caller:
    return caller(world, Role.OPERATOR)


def wrong_bodies(*, isolate: bool) -> list[tuple[Any, str]]:
    """Bodies and the code each is refused with."""
    found: list[tuple[Any, str]] = [
        ({}, "MissingRequiredParameter"),
        ({"comment": "names are case-sensitive"}, "MissingRequiredParameter"),
        ({"Comment": ""}, "MissingRequiredParameter"),
        ({"Comment": " \t\n"}, "MissingRequiredParameter"),
        ({"Comment": None}, "InvalidInput"),
        ({"Comment": 5}, "InvalidInput"),
        ({"Comment": ["x"]}, "InvalidInput"),
        ({"Comment": "x" * 4001}, "InvalidInput"),
        ({"Comment": "a\0b"}, "InvalidInput"),
        ([], "InvalidRequestBody"),
        ("isolate it", "InvalidRequestBody"),
        (5, "InvalidRequestBody"),
        ([{"Comment": "x"}], "InvalidRequestBody"),
    ]
    if isolate:
        found += [
            ({"Comment": "x", **more}, "InvalidInput")
            for more in (
                {"IsolationType": "full"},
                {"IsolationType": "SELECTIVE"},
                {"IsolationType": ""},
                {"IsolationType": None},
                {"IsolationType": 1},
                {"IsolationType": ["Full"]},
                {"IsolationType": "UnManagedDevice"},
                {"Title": "x" * 256},
                {"ExternalId": "x" * 256},
                {"ExternalId": 7},
                {"RequestSource": "x" * 51},
                {"Title": "a\0b"},
                {"Overrides": ["all"]},
                {"Overrides": "cap"},
            )
        ]
    return found


def test_wrong_bodies(world: Controller, operator: Caller) -> None:
    machine, other = world.machine("pc-1"), world.machine("pc-2")
    pending = operator.isolate(other).json()["id"]
    for path, isolate in (
        (f"/machines/{machine.id}/isolate", True),
        (f"/machines/{machine.id}/unisolate", False),
        (f"/machineactions/{pending}/cancel", False),
    ):
        for body, code in wrong_bodies(isolate=isolate):
            assert refusal(operator.post(path, body)) == (400, code), body
        for content in (b"", b"{", b"\xff\xfe", b'{"Comment": "x"', b"null"):
            headers = {**operator.headers, "content-type": "application/json"}
            answer = world.http.post(f"/api{path}", content=content, headers=headers)
            assert refusal(answer)[0] == 400, content
        surrogate = world.http.post(
            f"/api{path}",
            content=b'{"Comment": "\\ud800"}',
            headers={**operator.headers, "content-type": "application/json"},
        )
        assert refusal(surrogate)[0] == 400
    assert row(world, machine).generation == 0
    assert world.services.wake.woken == [other.id]  # type: ignore[attr-defined]
    with world.services.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Action)) == 1


def test_isolate_and_what_the_machine_is_told(world: Controller, operator: Caller) -> None:
    machine = world.machine("pc-1")
    answer = operator.isolate("PC-1", Extra="is ignored", RequestSource="Portal")
    assert answer.status_code == 201
    action = answer.json()
    assert (action["type"], action["status"], action["scope"]) == ("Isolate", "Pending", "Full")
    assert (action["machineId"], action["requestSource"]) == (machine.id, "Portal")
    (order,) = orders(world, machine)
    assert order["machine_id"] == machine.id
    assert (order["generation"], order["desired"], order["scope"]) == (1, "isolated", "full")
    assert (order["action_id"], order["comment"]) == (action["id"], "because")
    assert (order["exclusions"], order["duration_s"], order["on_silence"]) == ([], 7 * DAY_S, "roll_back")
    assert world.services.wake.woken == [machine.id]  # type: ignore[attr-defined]
    shown = operator.get("/machines/pc-1").json()
    assert (shown["isolationState"], shown["observed"]["state"]) == ("isolated", "unknown")
    assert not shown["observed"]["verified"]


def test_one_action_at_a_time(world: Controller, operator: Caller) -> None:
    machine = world.machine("pc-1")
    first = operator.isolate(machine).json()["id"]
    for again in (operator.isolate(machine), operator.isolate(machine, IsolationType="Selective")):
        assert refusal(again) == (400, "ActiveRequestAlreadyExists")
        assert again.json()["error"]["message"] == "Action is already in progress"
        assert again.json()["error"]["activeActionId"] == first
    move(world, first, DELIVERED)
    opposite = operator.unisolate(machine)
    assert opposite.json()["error"]["activeActionId"] == first
    assert refusal(operator.cancel(first)) == (400, "BadRequest")
    move(world, first, APPLIED)
    assert refusal(operator.unisolate(machine)) == (400, "ActiveRequestAlreadyExists")
    move(world, first, VERIFIED)
    assert operator.unisolate(machine).status_code == 201
    assert row(world, machine).generation == 2


def test_the_opposite_order_replaces_an_undelivered_one(world: Controller, operator: Caller) -> None:
    machine = world.machine("pc-1")
    first = operator.isolate(machine).json()["id"]
    second = operator.unisolate(machine)
    assert second.status_code == 201
    replaced = operator.get(f"/machineactions/{first}").json()
    assert replaced["status"] == "Cancelled"
    assert replaced["cancellationComment"] == "replaced: it is clean"
    assert [each["desired"] for each in orders(world, machine)] == ["isolated", "connected"]
    third = operator.isolate(machine)
    assert third.status_code == 201
    assert row(world, machine).generation == 3
    # What was replaced was never in force: taking the third back leaves the machine connected.
    assert operator.cancel(third.json()["id"]).status_code == 200
    assert orders(world, machine)[-1]["desired"] == "connected"


def test_two_at_once_and_one_wins(world: Controller) -> None:
    machine = world.machine("pc-1")
    barrier = threading.Barrier(4)
    taken: list[Action] = []
    refused: list[Problem] = []

    def order() -> None:
        barrier.wait()
        try:
            taken.append(isolation.place(world.services, console(), OrderRequest(machine.id, "now")))
        except Problem as problem:
            refused.append(problem)

    threads = [threading.Thread(target=order) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(taken) == 1
    assert [each.code for each in refused] == ["ActiveRequestAlreadyExists"] * 3
    assert {each.extra["activeActionId"] for each in refused} == {taken[0].id}
    assert row(world, machine).generation == 1
    assert words(world).count("machine.isolate") == 1


def test_cancel_and_take_at_once(world: Controller) -> None:
    """Opposite orders, cancellations and a time-out from many threads: no deadlock, the chain stays whole."""
    machines = [world.machine(f"pc-{number}") for number in range(3)]
    errors: list[BaseException] = []

    def stir(number: int) -> None:
        for step in range(8):
            machine = machines[(number + step) % 3]
            try:
                request = OrderRequest(machine.id, "x", isolate=(number + step) % 2 == 0)
                action = isolation.place(world.services, console(), request)
                if step % 2:
                    isolation.cancel(world.services, console(), action.id, "x")
                isolation.time_out(world.services)
            except Problem:
                pass
            except BaseException as error:  # noqa: BLE001 - told by the test
                errors.append(error)

    threads = [threading.Thread(target=stir, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors, errors
    words(world)
    with world.services.database.read() as session:
        for machine in machines:
            last = session.scalar(select(func.max(Order.generation)).where(Order.machine_id == machine.id))
            assert last == session.get_one(Machine, machine.id).generation


@pytest.mark.parametrize("end", ["cancelled", "timed out"])
def test_taken_back(world: Controller, operator: Caller, end: str) -> None:
    machine = world.machine("pc-1")

    def take_back(action_id: str) -> None:
        if end == "cancelled":
            isolation.cancel(world.services, console(), action_id, "a mistake")
        else:
            world.clock.advance(72 * 3600 - 1)
            assert isolation.time_out(world.services) == []
            world.clock.advance(1)
            assert isolation.time_out(world.services) == [machine.id]
        with world.services.database.read() as session:
            action = session.get_one(Action, action_id)
        assert action.status == ("Cancelled" if end == "cancelled" else "TimeOut")
        assert action.ended_at == world.clock.at

    def place(*, isolate: bool, scope: str = "full") -> str:
        request = OrderRequest(machine.id, "because", isolate=isolate, scope=scope)
        return isolation.place(world.services, console(), request).id

    take_back(place(isolate=True))
    assert (row(world, machine).desired, row(world, machine).generation) == ("connected", 2)
    back = orders(world, machine)[-1]
    assert (back["generation"], back["desired"], back["action_id"]) == (2, "connected", None)

    isolated = place(isolate=True, scope="selective")
    move(world, isolated, DELIVERED, VERIFIED)
    since = world.clock.at
    world.clock.advance(DAY_S)
    take_back(place(isolate=False))
    now = row(world, machine)
    assert (now.desired, now.desired_scope, now.generation) == ("isolated", "selective", 5)
    back = orders(world, machine)[-1]
    assert (back["desired"], back["scope"]) == ("isolated", "selective")
    # Taking a release back does not lengthen the isolation.
    assert back["duration_s"] == 7 * DAY_S - (world.clock.at - since).total_seconds()
    word = "action.cancel" if end == "cancelled" else "action.time_out"
    assert words(world).count(word) == 2


def test_taking_back_does_not_bring_an_ended_isolation_back(world: Controller) -> None:
    machine = world.machine("pc-1")
    first = isolation.place(world.services, console(), OrderRequest(machine.id, "because"))
    move(world, first.id, DELIVERED, VERIFIED)
    world.clock.advance(8 * DAY_S)
    second = isolation.place(world.services, console(), OrderRequest(machine.id, "because", isolate=False))
    isolation.cancel(world.services, console(), second.id, "it went by itself")
    assert orders(world, machine)[-1]["desired"] == "connected"

    # The controller saw the end itself, and gave an order of its own.
    with world.services.database.write() as session:
        mine = session.get_one(Machine, machine.id)
        steering.steer(session, world.services, mine, desired="connected", scope=None, action=None)
    third = isolation.place(world.services, console(), OrderRequest(machine.id, "again"))
    isolation.cancel(world.services, console(), third.id, "not this one")
    assert orders(world, machine)[-1]["desired"] == "connected"


def test_a_delivered_order_that_is_never_heard_of_bars_nothing_for_ever(world: Controller) -> None:
    machine = world.machine("pc-1")
    action = isolation.place(world.services, console(), OrderRequest(machine.id, "because"))
    move(world, action.id, DELIVERED)
    world.clock.advance(72 * 3600)
    assert isolation.time_out(world.services) == [machine.id]
    # The host may be isolated: that stays what it should be, until somebody says otherwise.
    assert (row(world, machine).desired, row(world, machine).generation) == ("isolated", 1)
    released = isolation.place(world.services, console(), OrderRequest(machine.id, "x", isolate=False))
    isolation.cancel(world.services, console(), released.id, "x")
    assert orders(world, machine)[-1]["desired"] == "isolated"


def test_cancel_refuses(world: Controller, operator: Caller) -> None:
    machine = world.machine("pc-1")
    action = operator.isolate(machine).json()["id"]
    assert operator.cancel(action.upper()).status_code == 200
    answer = operator.cancel(action)
    assert refusal(answer) == (400, "BadRequest")
    assert "Cancelled" in answer.json()["error"]["message"]
    for unknown in ("x", "00000000-0000-4000-8000-000000000000"):
        assert refusal(operator.cancel(unknown)) == (404, "ResourceNotFound")


def test_machines_that_cannot_be_ordered(world: Controller, operator: Caller) -> None:
    gone, twice, twin = world.machine("gone"), world.machine("twin"), world.machine("TWIN")
    with world.services.database.write() as session:
        session.get_one(Machine, gone.id).unenrolled_at = world.clock.at
    assert refusal(operator.isolate(gone)) == (400, "BadRequest")
    answer = operator.isolate("twin")
    assert refusal(answer) == (400, "InvalidInput")
    assert "2 machines are called twin" in answer.json()["error"]["message"]
    assert operator.isolate(twice).status_code == operator.isolate(twin).status_code == 201
    assert refusal(operator.isolate("nobody")) == (404, "ResourceNotFound")


def test_who_may(world: Controller) -> None:
    machine = world.machine("pc-1")
    action = caller(world, Role.OPERATOR).isolate(machine).json()["id"]
    for role in (Role.READER, Role.AUDITOR):
        other = caller(world, role)
        for answer in (other.isolate(machine), other.unisolate(machine), other.cancel(action)):
            assert refusal(answer) == (403, "Forbidden")
    nobody = Caller(world, {})
    assert refusal(nobody.isolate(machine)) == (401, "Unauthorized")
