"""Enrolment on both databases: counted tokens, own keys, and no way to become another machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.core.roles import Actor, Role
from api.problems import Problem
from api.services import enrolment, isolation, membership
from api.services.isolation import OrderRequest
from api.store.database import Database
from api.store.tables import EnrolmentToken, Group, Machine
from tests.contract.api.agents_world import World, make_world, tenant
from tests.fleet.agent import Agent


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(database, tmp_path)
    yield made
    made.services.wake.close()  # type: ignore[attr-defined]


def enrol(world: World, agent: Agent, token: str, **changes: Any) -> dict[str, Any]:
    return enrolment.enrol(world.services, agent.enrol(token, **changes), "192.0.2.9")


def refused(world: World, body: object) -> Problem:
    with pytest.raises(Problem) as caught:
        enrolment.enrol(world.services, body, "192.0.2.9")
    return caught.value


def test_a_device_comes_in_and_knows_whom_to_believe(world: World) -> None:
    agent = Agent("host-1")
    answer = enrol(world, agent, world.token())
    agent.enrolled(answer)
    assert answer["machine_id"] == agent.machine_id
    assert answer["tenant_id"] == world.admin.tenant_id
    assert world.services.keys.order_key_id in agent.order_keys
    assert world.audited() == ["enrolment_token.create", "machine.enrol"]


def test_a_token_is_not_in_the_database(world: World) -> None:
    text = world.token()
    with world.services.database.read() as session:
        row = session.scalars(select(EnrolmentToken)).one()
        stored = {name: str(value) for name, value in vars(row).items()}
    assert text.startswith(stored["hint"])
    assert len(stored["hint"]) == 8
    assert not any(text in value for value in stored.values())


@pytest.mark.parametrize("spoil", ["unknown", "used", "expired", "revoked"])
def test_a_bad_token_is_refused_without_saying_why(world: World, spoil: str) -> None:
    made = enrolment.create_token(world.services, world.admin, uses=1, lasts_s=60)
    text = made.text
    if spoil == "unknown":
        text += "x"
    elif spoil == "used":
        enrol(world, Agent("first"), text)
    elif spoil == "expired":
        world.clock.ahead = timedelta(seconds=61)
    else:
        enrolment.revoke_token(world.services, world.admin, made.row.id)
        enrolment.revoke_token(world.services, world.admin, made.row.id)  # twice is once
    problem = refused(world, Agent("late").enrol(text))
    assert (problem.status, problem.code) == (401, "Unauthorized")
    assert problem.message == "the enrolment token is unknown, used up, expired or revoked"


def test_two_who_race_for_the_last_use(world: World, database_url: str) -> None:
    text = world.token(uses=1)
    results: list[str] = []
    start = threading.Barrier(4)

    def race(number: int) -> None:
        body = Agent(f"racer-{number}").enrol(text)
        start.wait()
        try:
            results.append(enrolment.enrol(world.services, body, "192.0.2.9")["machine_id"])
        except Problem as problem:
            results.append(problem.code)

    threads = [threading.Thread(target=race, args=(each,)) for each in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(results) == 4
    assert results.count("Unauthorized") == 3
    with world.services.database.read() as session:
        row = session.scalars(select(EnrolmentToken)).one()
        assert (row.uses, row.uses_left) == (1, 0)
        assert len(session.scalars(select(Machine)).all()) == 1


def test_the_same_new_key_twice_at_once_is_one_machine(world: World) -> None:
    text = world.token(uses=8)
    agent = Agent("twin")
    bodies = [agent.enrol(text) for _ in range(4)]
    ids: list[str] = []
    start = threading.Barrier(4)

    def race(body: dict[str, Any]) -> None:
        start.wait()
        ids.append(enrolment.enrol(world.services, body, "192.0.2.9")["machine_id"])

    threads = [threading.Thread(target=race, args=(each,)) for each in bodies]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert ids == [agent.machine_id] * 4


def test_enrolling_again_keeps_the_isolation(world: World) -> None:
    agent = world.agent()
    world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in())
    before = world.machine(agent)
    agent.name = "renamed"
    enrol(world, agent, world.token())
    after = world.machine(agent)
    for name in ("desired", "desired_scope", "generation", "sequence", "incarnation", "observed_state"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.computer_name == "renamed"
    assert after.desired == "isolated"


def test_a_key_of_another_tenant_is_refused_and_costs_no_use(world: World) -> None:
    agent = world.agent()
    other = tenant(world.services, "second")
    made = enrolment.create_token(world.services, other, uses=1)
    problem = refused(world, agent.enrol(made.text))
    assert problem.status == 409
    assert world.admin.tenant_id not in problem.message
    assert enrolment.list_tokens(world.services, other)[0].uses_left == 1
    assert world.machine(agent).tenant_id == world.admin.tenant_id


def test_a_name_is_the_same_in_any_case_and_spelling_of_its_accents(world: World) -> None:
    victim = world.agent("bür\u00e9au-1")
    for name in ("BÜR\u00c9AU-1", "bu\u0308re\u0301au-1"):
        thief = world.agent(name)
        assert world.machine(thief).same_name_as == victim.machine_id, name
    with pytest.raises(Problem):
        isolation.place(world.services, world.admin, OrderRequest("BÜRÉAU-1", "which one?"))


def test_a_new_key_with_an_isolated_machines_name_is_another_machine(world: World) -> None:
    victim = world.agent("finance-7")
    world.isolate(victim)
    thief = world.agent("FINANCE-7")
    row = world.machine(thief)
    assert row.id != victim.machine_id
    assert (row.desired, row.same_name_as) == ("connected", victim.machine_id)
    assert world.machine(victim).same_name_as is None
    assert "machine.same_name" in world.audited()
    with pytest.raises(Problem):  # a name that two carry is never guessed in an order
        isolation.place(world.services, world.admin, OrderRequest("finance-7", "which one?"))
    membership.dismiss_duplicate(world.services, world.admin, thief.machine_id, "looked into it")
    assert world.machine(thief).same_name_as is None


def test_the_group_comes_from_the_token_and_stays(world: World) -> None:
    with world.services.database.write() as session:
        groups = [Group(tenant_id=world.admin.tenant_id, name=name) for name in ("a", "b")]
        session.add_all(groups)
        session.flush()
        first, second = (each.id for each in groups)
    agent = Agent("host")
    enrol(world, agent, world.token(group_id=first))
    enrol(world, agent, world.token(group_id=second))
    assert world.machine(agent).group_id == first


def test_a_group_of_another_tenant_is_not_there(world: World) -> None:
    other = tenant(world.services, "second")
    with world.services.database.write() as session:
        group = Group(tenant_id=other.tenant_id, name="theirs")
        session.add(group)
        session.flush()
    with pytest.raises(Problem) as caught:
        world.token(group_id=group.id)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"public_key": "AAAA"}, 400),
        ({"public_key": None}, 400),
        ({"public_key": "A" * 43}, 401),  # a key, but not the one that signed
        ({"computer_name": ""}, 400),
        ({"computer_name": 7}, 400),
        ({"computer_name": "\u202e\x00\n"}, 400),
        ({"sent_at": "2020-01-01T00:00:00Z"}, 400),
        ({"sent_at": "yesterday"}, 400),
        ({"sent_at": "2026-01-01T00:00:00"}, 400),
        ({"facts": [1]}, 400),
        ({"computer_name": "\ud800"}, 400),
    ],
)
def test_odd_enrolments_are_refused_and_cost_no_use(
    world: World, changes: dict[str, Any], status: int
) -> None:
    text = world.token(uses=1)
    assert refused(world, Agent("odd").enrol(text, **changes)).status == status
    enrol(world, Agent("good"), text)


@pytest.mark.parametrize(
    "body", [None, 5, [], {}, {"token": 1, "envelope": {}}, {"token": "x", "envelope": {"payload": "?"}}]
)
def test_bodies_that_are_none(world: World, body: object) -> None:
    assert refused(world, body).code == "InvalidRequestBody"


def test_an_altered_enrolment_is_refused(world: World) -> None:
    mine, theirs = Agent("mine"), Agent("theirs")
    body = mine.enrol(world.token())
    body["envelope"]["signature"] = theirs.enrol("x")["envelope"]["signature"]
    assert refused(world, body).status == 401


def test_facts_are_bounded_and_claims_are_not_believed(world: World) -> None:
    facts = {
        "is_controller_host": True,
        "os_platform": "Linux\x1b[31m" + "x" * 400,
        "os_build": 2**60,
        "unknown": "kept out",
        "ip_addresses": [{"ipAddress": "192.0.2.7"}, "odd", {"ipAddress": 9}] * 60,
    }
    agent = world.agent(facts=facts)
    row = world.machine(agent)
    assert "is_controller_host" not in row.facts
    assert "unknown" not in row.facts
    assert "\x1b" not in row.os_platform
    assert row.last_ip == "192.0.2.7"
    assert len(row.facts["ip_addresses"]) <= 64


def test_leaving_is_no_way_out_of_isolation(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    with pytest.raises(Problem) as caught:
        membership.unenrol(world.services, world.admin, agent.machine_id, "please")
    assert caught.value.status == 409
    world.deliver(agent)
    world.take(agent.check_in())
    assert world.action(action).status == "Succeeded"
    world.release(agent)  # desired is connected now, observed is not
    with pytest.raises(Problem):
        membership.unenrol(world.services, world.admin, agent.machine_id, "please")
    operator = Actor(world.admin.tenant_id, "op", Role.OPERATOR)
    with pytest.raises(Problem) as caught:
        membership.unenrol(world.services, operator, agent.machine_id, "please", force=True)
    assert caught.value.status == 403
    membership.unenrol(world.services, world.admin, agent.machine_id, "scrapped", force=True)
    assert world.audited()[-1] == "machine.unenrol"
    with pytest.raises(Problem) as caught:
        world.take(agent.check_in())
    assert (caught.value.status, caught.value.code) == (409, "Unenrolled")
    enrol(world, agent, world.token())  # back again, and everything is as it was
    assert world.machine(agent).generation == 3  # the release that was under way has been taken back
    assert world.deliver(agent)["desired"] == "isolated"


def test_only_an_administrator_makes_tokens(world: World) -> None:
    for role in (Role.READER, Role.OPERATOR, Role.AUDITOR):
        actor = Actor(world.admin.tenant_id, "x", role)
        for call in (
            lambda actor=actor: enrolment.create_token(world.services, actor),
            lambda actor=actor: enrolment.list_tokens(world.services, actor),
            lambda actor=actor: enrolment.revoke_token(world.services, actor, "x"),
        ):
            with pytest.raises(Problem) as caught:
                call()
            assert caught.value.status == 403


@pytest.mark.parametrize("options", [{"uses": 0}, {"uses": 10**9}, {"lasts_s": 0}, {"lasts_s": 10**9}])
def test_tokens_are_counted_and_end(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(Problem):
        world.token(**options)
