"""Safeguards: the cap per hour, the tag, the controller's own host; and many machines in one call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from api.core.roles import Role
from api.problems import Problem
from api.services import isolation
from api.services.isolation import OrderRequest
from api.store.database import Database
from api.store.tables import Action, Machine
from tests.contract.api.calls import Caller, audited, caller, orders, refusal, row, words
from tests.contract.api.controller import OTHER, Controller, console, controller

CAP = 3


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path, {"isolations_per_hour": CAP}) as made:
        yield made


@pytest.fixture
def operator(world: Controller) -> Caller:
    return caller(world, Role.OPERATOR)


@pytest.fixture
def admin(world: Controller) -> Caller:
    return caller(world, Role.ADMINISTRATOR)


def test_the_cap(world: Controller, operator: Caller, admin: Caller) -> None:
    machines = [world.machine(f"pc-{number}") for number in range(CAP + 2)]
    theirs = world.machine("theirs", tenant=OTHER)
    assert caller(world, Role.OPERATOR, tenant=OTHER).isolate(theirs).status_code == 201
    for each in machines[:CAP]:
        assert operator.isolate(each).status_code == 201
    answer = operator.isolate(machines[CAP])
    assert refusal(answer) == (403, "Forbidden")
    assert answer.json()["error"]["override"] == "cap"
    assert refusal(operator.isolate(machines[CAP], Overrides=["cap"])) == (403, "Forbidden")
    assert refusal(admin.isolate(machines[CAP])) == (403, "Forbidden")
    assert refusal(admin.isolate(machines[CAP], Overrides=["tag", "own_host"])) == (403, "Forbidden")
    # A release is never capped.
    for each in machines:
        assert operator.unisolate(each).status_code == 201
    # What was replaced before any agent had it did no harm, and does not count.
    assert operator.isolate(machines[0]).status_code == 201
    for each in machines[1:CAP]:
        assert operator.isolate(each).status_code == 201
    assert admin.isolate(machines[CAP], Overrides=["cap"]).status_code == 201
    last = [each for each in audited(world) if each["action"] == "machine.isolate"][-1]
    assert last["detail"]["overrides"] == ["cap"]
    assert last["actor"]["role"] == "administrator"
    world.clock.advance(3600)
    assert caller(world, Role.OPERATOR).isolate(machines[CAP + 1]).status_code == 201


def test_the_cap_holds_when_all_come_at_once(world: Controller) -> None:
    machines = [world.machine(f"pc-{number}") for number in range(2 * CAP)]
    barrier = threading.Barrier(len(machines))
    refused: list[str] = []

    def order(machine: Machine) -> None:
        barrier.wait()
        try:
            isolation.place(world.services, console(), OrderRequest(machine.id, "now"))
        except Problem as problem:
            refused.append(problem.code)

    threads = [threading.Thread(target=order, args=(each,)) for each in machines]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert refused == ["Forbidden"] * CAP


@pytest.mark.parametrize(("override", "change"), [
    ("tag", {"tags": ["finance", "Never-ISOLATE"]}),
    ("own_host", {"facts": {"is_controller_host": True}}),
])  # fmt: skip
def test_machines_that_are_spared(
    world: Controller, operator: Caller, admin: Caller, override: str, change: dict[str, Any]
) -> None:
    machine = world.machine("pc-1")
    with world.services.database.write() as session:
        for name, value in change.items():
            setattr(session.get_one(Machine, machine.id), name, value)
    for who, overrides in ((operator, []), (operator, [override]), (admin, []), (admin, ["cap"])):
        answer = who.isolate(machine, Overrides=overrides)
        assert refusal(answer) == (403, "Forbidden")
        assert "pc-1" in answer.json()["error"]["message"]
        bulk = who.post("/bulk/isolate", {"MachineIds": [machine.id], "Comment": "x", "Overrides": overrides})
        assert bulk.json()["refused"] == 1
    assert row(world, machine).generation == 0
    assert operator.unisolate(machine).status_code == 201
    assert admin.isolate(machine, Overrides=[override, "cap"]).status_code == 201
    assert audited(world)[-1]["detail"]["overrides"] == [override]


def bulk(who: Caller, ids: list[str], **more: Any) -> Any:
    return who.post("/bulk/isolate", {"MachineIds": ids, "Comment": "worm", **more})


def test_bulk_dry_run_orders_nothing(world: Controller, operator: Caller) -> None:
    machines = [world.machine(f"pc-{number}") for number in range(2)]
    unknown = "f" * 40
    answer = bulk(operator, [machines[1].id, unknown, machines[0].id], DryRun=True).json()
    assert (answer["dryRun"], answer["ordered"], answer["refused"]) == (True, 2, 1)
    assert [each["outcome"] for each in answer["results"]] == [
        "would_be_ordered",
        "refused",
        "would_be_ordered",
    ]
    assert [each["machineId"] for each in answer["results"]] == [machines[1].id, unknown, machines[0].id]
    assert answer["results"][1]["error"]["code"] == "ResourceNotFound"
    assert [each["action"] for each in answer["results"]] == [None] * 3
    for each in machines:
        assert (row(world, each).generation, row(world, each).desired) == (0, "connected")
        assert orders(world, each) == []
    with world.services.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Action)) == 0
    assert world.services.wake.woken == []  # type: ignore[attr-defined]
    assert [each for each in words(world) if "isolate" in each or "bulk" in each] == ["bulk.dry_run"]
    assert audited(world)[-1]["detail"]["refused"] == {unknown: "ResourceNotFound"}


def test_bulk_orders_each_once(world: Controller, operator: Caller) -> None:
    machines = [world.machine(f"pc-{number}") for number in range(3)]
    theirs = world.machine("theirs", tenant=OTHER)
    busy = operator.isolate(machines[2]).json()["id"]
    ids = [machines[0].id, theirs.id, machines[1].id, machines[0].id, machines[2].id]
    answer = bulk(operator, ids, IsolationType="Selective", Overrides=[])
    assert refusal(answer) == (403, "Forbidden")  # four more are beyond the cap, so none is ordered
    assert row(world, machines[0]).generation == 0
    answer = bulk(caller(world, Role.ADMINISTRATOR), ids, IsolationType="Selective", Overrides=["cap"]).json()
    assert (answer["ordered"], answer["refused"]) == (2, 2)
    found = {each["machineId"]: each for each in answer["results"]}
    assert len(answer["results"]) == len(found) == 4
    assert found[machines[0].id]["action"]["scope"] == "Selective"
    assert found[theirs.id]["error"]["code"] == "ResourceNotFound"
    assert found[machines[2].id]["error"]["activeActionId"] == busy
    assert row(world, theirs).generation == 0
    assert sorted(world.services.wake.woken[1:]) == sorted([machines[0].id, machines[1].id])  # type: ignore[attr-defined]
    assert orders(world, machines[0])[0]["scope"] == "selective"
    released = bulk(operator, [machines[0].id, machines[1].id], Release=True).json()
    assert released["ordered"] == 2
    assert [each["desired"] for each in orders(world, machines[0])] == ["isolated", "connected"]


def test_bulk_cap_is_judged_as_one(world: Controller, operator: Caller, admin: Caller) -> None:
    ids = [world.machine(f"pc-{number}").id for number in range(CAP + 1)]
    for who, overrides in ((operator, []), (operator, ["cap"]), (admin, [])):
        assert refusal(bulk(who, ids, Overrides=overrides)) == (403, "Forbidden")
    assert bulk(operator, ids[:CAP]).json()["ordered"] == CAP
    assert refusal(bulk(operator, ids[CAP:])) == (403, "Forbidden")
    assert bulk(admin, ids[CAP:], Overrides=["cap"]).json()["ordered"] == 1


def test_bulk_refuses(operator: Caller) -> None:
    good = "a" * 40
    wrong: list[Any] = [
        [],
        ["pc-1"],
        [good, "*"],
        [good.upper()],
        [f"{good} "],
        [good[:-1]],
        [good] * 1001,
        [5],
        good,
        None,
        {},
    ]
    for ids in wrong:
        assert refusal(bulk(operator, ids))[0] == 400, ids
    for more in ({"IsolationType": "UnManagedDevice"}, {"DryRun": "no"}, {"Release": 1}, {"Comment": 5}):
        assert refusal(bulk(operator, [good], **more))[0] == 400, more
    blank = bulk(operator, [good], Comment=" ").json()
    assert blank["results"][0]["error"]["code"] == "MissingRequiredParameter"


def test_bulks_of_the_same_machines_at_once(world: Controller) -> None:
    from api.services.bulk import isolate_many

    ids = [world.machine(f"pc-{number}").id for number in range(6)]
    errors: list[BaseException] = []

    def order(number: int) -> None:
        mine = ids if number % 2 else ids[::-1]
        for isolate in (True, False, True):
            try:
                request = OrderRequest("", "x", isolate=isolate, overrides=frozenset({"cap"}))
                isolate_many(world.services, console(), mine, request, dry_run=False)
                isolation.place(
                    world.services, console(), OrderRequest(ids[number], "y", isolate=not isolate)
                )
            except Problem:
                pass
            except BaseException as error:  # noqa: BLE001 - told by the test
                errors.append(error)

    threads = [threading.Thread(target=order, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors, errors
    words(world)
