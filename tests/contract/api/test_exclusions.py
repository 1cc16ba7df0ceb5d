"""Exclusions: refused where the agent would refuse them, and frozen into the order at isolation time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.core.action_state import ActionEvent
from api.core.roles import Role
from api.store.database import Database
from tests.contract.api.calls import Caller, caller, group, move, orders, refusal, words
from tests.contract.api.controller import Controller, controller

VAULT = {"name": "vault", "direction": "out", "remote": "vault.example.com", "port": 8200}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


@pytest.fixture
def admin(world: Controller) -> Caller:
    return caller(world, Role.ADMINISTRATOR)


def create(admin: Caller, **changes: Any) -> Any:
    return admin.post("/exclusions", {**VAULT, **changes})


def test_frozen_at_isolation_time(world: Controller, admin: Caller) -> None:
    desks = group(world, "desks")
    desk, loose = world.machine("desk", group=desks), world.machine("loose")
    vault = create(admin).json()
    assert create(admin, name="desks-only", remote="10.9.0.0/16", groupId=desks).status_code == 201
    isolated = {}
    for each in (desk, loose):
        isolated[each.id] = admin.isolate(each, IsolationType="Selective").json()["id"]
    frozen = {"direction": "out", "remote": "vault.example.com", "port": 8200, "protocol": "tcp"}
    vault_order = {**frozen, "process": None, "name": "vault"}
    assert [each["name"] for each in orders(world, desk)[0]["exclusions"]] == ["desks-only", "vault"]
    assert orders(world, loose)[0]["exclusions"] == [vault_order]

    # Later changes touch no order that was made, not even one that is given again.
    assert admin.call("DELETE", f"/exclusions/{vault['id']}").status_code == 204
    assert create(admin, name="new", remote="new.example.com").status_code == 201
    assert orders(world, loose)[0]["exclusions"] == [vault_order]
    move(world, isolated[loose.id], ActionEvent.DELIVERED, ActionEvent.VERIFIED)
    released = admin.unisolate(loose).json()["id"]
    assert orders(world, loose)[-1]["exclusions"] == []
    assert admin.cancel(released).status_code == 200
    again = orders(world, loose)[-1]
    assert (again["desired"], again["scope"], again["exclusions"]) == ("isolated", "selective", [vault_order])
    fresh = world.machine("fresh")
    admin.isolate(fresh, IsolationType="Selective")
    assert [each["name"] for each in orders(world, fresh)[0]["exclusions"]] == ["new"]
    assert words(world).count("exclusion.create") == 3
    assert words(world).count("exclusion.delete") == 1


def test_full_isolation_carries_none(world: Controller, admin: Caller) -> None:
    create(admin)
    for number, kind in enumerate(({}, {"IsolationType": "Full"})):
        machine = world.machine(f"pc-{number}")
        admin.isolate(machine, **kind)
        (order,) = orders(world, machine)
        assert (order["scope"], order["exclusions"]) == ("full", [])


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "x" * 65},
        {"name": "a\0b"},
        {"direction": "both"},
        {"direction": None},
        {"remote": ""},
        {"remote": "*"},
        {"remote": "*.*"},
        {"remote": "0.0.0.0/0"},
        {"remote": "::/0"},
        {"remote": "not a host"},
        {"remote": "10.0.0.300"},
        {"remote": "10.0.0.1/8"},
        {"remote": "x" * 301},
        {"port": 0},
        {"port": 65_536},
        {"port": "443"},
        {"protocol": "icmp"},
        {"process": {"uid": -1}},
        {"process": {"uid": "root"}},
        {"process": {"path": 1}},
        {"process": {"uid": 2**40}},
        {"process": 0},
        {"groupId": 0},
        {"groupId": 2**31},
    ],
)
def test_refused(admin: Caller, changes: dict[str, Any]) -> None:
    assert refusal(create(admin, **changes)) == (400, "InvalidInput")
    assert admin.get("/exclusions").json() == []


def test_listed_and_named_once(world: Controller, admin: Caller) -> None:
    first = create(admin, process={"uid": 1000}).json()
    assert refusal(create(admin)) == (400, "InvalidInput")
    assert admin.get("/exclusions").json() == [first]
    assert (first["process"], first["protocol"], first["createdBy"]) == (
        {"uid": 1000},
        "tcp",
        "administrator 0",
    )
    assert refusal(create(admin, name="other", groupId=77)) == (404, "ResourceNotFound")
    assert refusal(admin.call("DELETE", "/exclusions/x")) == (404, "ResourceNotFound")
    for role in (Role.OPERATOR, Role.READER):
        limited = caller(world, role)
        assert len(limited.get("/exclusions").json()) == 1
        assert refusal(create(limited, name="mine")) == (403, "Forbidden")
        assert refusal(limited.call("DELETE", f"/exclusions/{first['id']}")) == (403, "Forbidden")
