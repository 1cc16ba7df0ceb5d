"""Forced release, enrolment tokens, unenrolment, the mark of a suspected clone: by the API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.core.action_state import ActionEvent
from api.core.instant import parse_instant
from api.core.roles import Role
from api.store.database import Database
from api.store.tables import Machine
from isolator.core.signed import decode_envelope, open_envelope
from isolator.model.signed import Kind
from tests.contract.api.calls import Caller, caller, group, move, orders, refusal, row, words
from tests.contract.api.controller import OTHER, Controller, controller


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


@pytest.fixture
def admin(world: Controller) -> Caller:
    return caller(world, Role.ADMINISTRATOR)


def release(who: Caller, machine: Machine, **body: Any) -> Any:
    return who.post(f"/machines/{machine.id}/forcedrelease", {"Comment": "unreachable", **body})


@pytest.mark.parametrize("under_way", [None, "undelivered", "delivered", "done"])
def test_forced_release(world: Controller, admin: Caller, under_way: str | None) -> None:
    machine = world.machine("pc-1")
    before = admin.isolate(machine).json()["id"] if under_way else None
    if before and under_way != "undelivered":
        move(world, before, ActionEvent.DELIVERED)
    if before and under_way == "done":
        move(world, before, ActionEvent.VERIFIED)
    answer = release(admin, machine, LastsSeconds=3600)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    envelope = decode_envelope(answer.json())
    document = open_envelope(envelope, Kind.FORCED_RELEASE, world.services.keys.order_keys)
    now = row(world, machine)
    assert (document["machine_id"], document["generation"]) == (machine.id, now.generation)
    assert parse_instant(document["not_after"]) == world.clock.at + timedelta(hours=1)
    # It stays free when it comes back: the order of that generation says connected.
    assert (now.desired, now.desired_scope) == ("connected", None)
    assert orders(world, machine)[-1]["desired"] == "connected"
    (action, *_) = admin.get(f"/machines/{machine.id}/machineactions?$orderby=generation desc").json()[
        "value"
    ]
    assert (action["type"], action["status"], action["title"]) == ("Unisolate", "Pending", "Forced release")
    if before:
        status = admin.get(f"/machineactions/{before}").json()["status"]
        assert (
            status
            == {"undelivered": "Cancelled", "delivered": "Failed", "done": "Succeeded"}[under_way or ""]
        )
    again = open_envelope(
        decode_envelope(release(admin, machine).json()), Kind.FORCED_RELEASE, world.services.keys.order_keys
    )
    assert again["release_id"] != document["release_id"]
    assert again["generation"] > document["generation"]
    assert words(world).count("machine.forced_release") == 2


def test_forced_release_refuses(world: Controller, admin: Caller) -> None:
    machine, theirs = world.machine("pc-1"), world.machine("x", tenant=OTHER)
    for role in (Role.READER, Role.OPERATOR, Role.AUDITOR):
        assert refusal(release(caller(world, role), machine)) == (403, "Forbidden")
    assert refusal(release(admin, theirs)) == (404, "ResourceNotFound")
    for body, code in (
        ({"Comment": " "}, "MissingRequiredParameter"),
        ({"LastsSeconds": 0}, "InvalidInput"),
        ({"LastsSeconds": 30 * 86_400 + 1}, "InvalidInput"),
        ({"LastsSeconds": "1"}, "InvalidInput"),
    ):
        assert refusal(release(admin, machine, **body)) == (400, code), body
    assert row(world, machine).generation == 0


def test_enrolment_tokens(world: Controller, admin: Caller) -> None:
    desks = group(world, "desks")
    made = admin.post("/enrolmenttokens", {"uses": 3, "lastsSeconds": 60, "groupId": desks})
    assert made.headers["cache-control"] == "no-store"
    token = made.json()
    assert token["token"].startswith(token["hint"])
    listed = admin.get("/enrolmenttokens")
    assert token["token"] not in listed.text
    assert [(each["id"], each["usesLeft"], each["groupId"]) for each in listed.json()] == [
        (token["id"], 3, desks)
    ]
    for _ in range(2):
        assert admin.post(f"/enrolmenttokens/{token['id'].upper()}/revoke").json()["revokedDateTimeUtc"]
    assert words(world).count("enrolment_token.revoke") == 1
    for body in ({"uses": 0}, {"uses": 100_001}, {"uses": "2"}, {"lastsSeconds": 0}, {"lastsSeconds": 1.5},
                 {"lastsSeconds": 400 * 86_400}, {"groupId": 0}, {"groupId": "1"}, {"groupId": 2**40}):  # fmt: skip
        assert refusal(admin.post("/enrolmenttokens", body)) == (400, "InvalidInput"), body
    assert refusal(admin.post("/enrolmenttokens", {"groupId": 999})) == (404, "ResourceNotFound")
    assert refusal(admin.post("/enrolmenttokens/nope/revoke")) == (404, "ResourceNotFound")
    operator = caller(world, Role.OPERATOR)
    assert refusal(operator.get("/enrolmenttokens")) == (403, "Forbidden")
    assert refusal(operator.post("/enrolmenttokens", {})) == (403, "Forbidden")


def test_unenrol(world: Controller, admin: Caller) -> None:
    machine = world.machine("pc-1")
    path = f"/machines/{machine.id}/unenrol"
    action = admin.isolate(machine).json()["id"]
    assert refusal(admin.post(path, {"Comment": "x"})) == (409, "Conflict")
    assert refusal(admin.post(path, {"Comment": ""})) == (400, "MissingRequiredParameter")
    gone = admin.post(path, {"Comment": "scrapped", "Force": True}).json()
    assert gone["onboardingStatus"] == "CanBeOnboarded"
    assert admin.get(f"/machineactions/{action}").json()["status"] == "Cancelled"
    assert admin.post(path, {"Comment": "twice"}).status_code == 200
    assert words(world).count("machine.unenrol") == 1
    assert refusal(admin.isolate(machine)) == (400, "BadRequest")


def test_dismiss_duplicate(world: Controller, admin: Caller) -> None:
    machine = world.machine("pc-1")
    with world.services.database.write() as session:
        session.get_one(Machine, machine.id).duplicate_since = world.clock.at
    assert admin.get("/machines/pc-1").json()["isPotentialDuplication"]
    path = f"/machines/{machine.id}/dismissduplicate"
    assert refusal(admin.post(path, {"Comment": " "})) == (400, "MissingRequiredParameter")
    assert not admin.post(path, {"Comment": "a restored image"}).json()["isPotentialDuplication"]
    assert refusal(caller(world, Role.OPERATOR).post(path, {"Comment": "x"})) == (403, "Forbidden")
