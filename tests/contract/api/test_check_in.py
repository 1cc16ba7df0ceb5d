"""Check-ins on both databases: who is believed, what is written, what a report moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import event, select

from api.problems import Problem
from api.services import isolation, membership
from api.services.checkin import Arrival, CheckIns
from api.store.database import Database
from api.store.tables import Machine, Order
from isolator.core.signed import encode_envelope, seal
from isolator.model.signed import Kind
from tests.contract.api.agents_world import World, make_world
from tests.fleet.agent import Agent


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(database, tmp_path)
    yield made
    made.services.wake.close()  # type: ignore[attr-defined]


def refused(world: World, body: bytes, desk: CheckIns | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        world.take(body, desk)
    return caught.value


def writes(world: World) -> Any:
    """Counts statements that change something, from now on."""
    seen: list[str] = []

    def note(_c: Any, _cu: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            seen.append(statement)

    event.listen(world.services.database.engine, "before_cursor_execute", note)
    return seen


def test_ordered_delivered_verified(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    assert world.action(action).status == "Pending"
    order = world.deliver(agent)
    assert (order["desired"], order["scope"], order["generation"]) == ("isolated", "full", 1)
    agent.generation, agent.state = 0, "connected"  # acknowledged before it is obeyed
    world.take(agent.check_in(delivered=1))
    assert world.action(action).status == "InProgress"
    agent.obey(order)
    world.take(agent.check_in())
    done = world.action(action)
    assert done.status == "Succeeded"
    assert done.evidence["ruleset_sha256"] == "0" * 64
    assert world.steps(action) == ["ordered", "delivered", "verified"]
    row = world.machine(agent)
    assert (row.observed_state, row.observed_generation, row.external_ip) == ("isolated", 1, "192.0.2.1")
    assert row.verified_at is not None


def test_applied_is_not_verified(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in(observed=agent.report(verified=False)))
    world.take(agent.check_in(observed=agent.report(verified=False)))
    assert world.action(action).status == "InProgress"
    assert world.steps(action) == ["ordered", "delivered", "applied"]
    assert world.machine(agent).verified_at is None
    world.take(agent.check_in())
    assert world.steps(action)[-1] == "verified"


@pytest.mark.parametrize(
    "observed",
    [
        {"generation": 0},  # of an older order
        {"state": "isolating"},
        {"isolation_type": "selective"},
        {"isolation_type": None},
        {"verified": "yes"},
        {"verified": 1},
        {"generation": 2},  # of an order that nobody gave
    ],
)
def test_reports_that_verify_nothing(world: World, observed: dict[str, Any]) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in(observed=agent.report(**observed)))
    assert world.action(action).status == "InProgress"
    assert world.action(action).verified_at is None


def test_a_failure_leaves_in_force_what_was(world: World) -> None:
    agent = world.agent()
    first = world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in())
    release = world.release(agent)
    world.deliver(agent)
    agent.state, agent.scope = "isolated", "full"  # it could not
    error = {"code": "kernel_busy", "sentence": "the kernel refused"}
    taken = world.take(agent.check_in(observed=agent.report(error=error)))
    failed = world.action(release)
    assert (failed.status, failed.error_code, failed.error_text) == (
        "Failed",
        "kernel_busy",
        "the kernel refused",
    )
    assert world.action(first).status == "Succeeded"
    row = world.machine(agent)
    assert (row.desired, row.desired_scope, row.generation) == ("isolated", "full", 3)
    assert taken.generation == 3  # given in the very answer
    assert "action.failed" in world.audited()
    assert world.deliver(agent)["desired"] == "isolated"
    again = world.release(agent)
    world.deliver(agent)
    world.take(agent.check_in())
    assert world.action(again).status == "Succeeded"


def test_an_order_refused_for_good_has_failed(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    agent.generation = 1  # it will not be offered again
    observed = agent.report(generation=0, error={"code": "expired", "sentence": "too old"})
    world.take(agent.check_in(observed=observed))
    assert (world.action(action).status, world.action(action).error_code) == ("Failed", "expired")


def test_a_late_report_moves_nothing(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    order = world.deliver(agent)
    isolation.time_out(world.services)
    world.take(agent.check_in())
    assert world.action(action).status == "Succeeded"
    error = {"code": "late", "sentence": ""}
    world.take(agent.check_in(delivered=order["generation"], observed=agent.report(error=error)))
    assert world.action(action).status == "Succeeded"
    assert world.steps(action) == ["ordered", "delivered", "verified"]


def test_a_report_after_the_time_out(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    order = world.services and world.machine(agent).generation
    world.clock.ahead = timedelta(hours=73)
    assert isolation.time_out(world.services) == [agent.machine_id]
    assert world.action(action).status == "TimeOut"
    world.take(agent.check_in(delivered=order))
    assert world.action(action).status == "TimeOut"
    assert world.deliver(agent)["desired"] == "connected"


def test_a_replay_is_refused_also_by_another_worker(world: World) -> None:
    agent = world.agent()
    news = agent.check_in()
    world.take(news)
    other = CheckIns(world.services)
    for desk in (world.desk, other):
        problem = refused(world, news, desk)
        assert (problem.status, problem.code, problem.extra["sequence"]) == (409, "Replay", 1)
    plain = agent.check_in()
    world.take(plain)
    assert refused(world, plain).code == "Replay"
    world.desk.sightings.flush(world.services.database)
    assert refused(world, plain, other).code == "Replay"
    agent.sequence = 1000
    world.take(agent.check_in())  # gaps are fine
    agent.sequence = 998
    assert refused(world, agent.check_in()).code == "Replay"


def test_the_same_message_twice_in_one_batch(world: World) -> None:
    agent = world.agent()
    body = agent.check_in()
    first, second = world.desk.admit([Arrival(body, ""), Arrival(body, "")])
    assert not isinstance(first, Exception)
    assert isinstance(second, Problem)
    assert second.code == "Replay"


def test_plain_polls_write_nothing_until_they_are_flushed(world: World) -> None:
    agent = world.agent()
    world.take(agent.check_in())
    before = world.machine(agent)
    seen = writes(world)
    world.clock.ahead = timedelta(seconds=30)
    for _ in range(5):
        world.take(agent.check_in())
    assert seen == []
    assert world.desk.sightings.flush(world.services.database) == 1
    assert len(seen) == 1
    assert world.desk.sightings.flush(world.services.database) == 0
    after = world.machine(agent)
    assert after.sequence == 6
    assert after.last_seen - before.last_seen > timedelta(seconds=29)
    assert after.observed_at == after.last_seen


def test_a_flush_never_goes_back(world: World) -> None:
    agent = world.agent()
    world.take(agent.check_in())
    world.take(agent.check_in())  # remembered: 2
    other = CheckIns(world.services)
    agent.state = "isolated"
    world.take(agent.check_in(), other)  # written: 3
    world.desk.sightings.flush(world.services.database)
    row = world.machine(agent)
    assert (row.sequence, row.observed_state) == (3, "isolated")


def test_a_flush_waits_for_the_report_before_it(world: World) -> None:
    agent = world.agent()
    agent.state = "isolated"
    taken = world.desk.admit([Arrival(agent.check_in(), "")])[0]
    later = world.desk.admit([Arrival(agent.check_in(), "")])[0]
    world.desk.sightings.flush(world.services.database)
    for each in (taken, later):
        assert not isinstance(each, Exception)
        assert not isinstance(world.desk.record([each])[0], Exception)
    assert world.machine(agent).sequence == 2


def test_counters_are_kept_with_the_flush(world: World) -> None:
    agent = world.agent()
    agent.state, agent.scope = "isolated", "full"
    world.take(agent.check_in())
    seen = writes(world)
    world.take(agent.check_in(observed=agent.report(counters={"dropped_total": 99})))
    assert seen == []
    world.desk.sightings.flush(world.services.database)
    assert world.machine(agent).observed["counters"] == {"dropped_total": 99}


def test_an_alert_is_recorded_once_for_each_isolation(world: World) -> None:
    agent = world.agent()
    agent.state, agent.scope = "isolated", "full"
    raised = {"reason": "dns_label_payload", "pattern": "*.blob.example", "first_at": "2026-01-02T03:04:05Z"}
    other = {**raised, "pattern": "*.queue.example"}

    def counted() -> int:
        return world.audited().count("machine.alert")

    for alerts, expected in (
        ([], 0),
        ([raised], 1),
        ([raised], 1),
        ([raised, other], 2),
        ([], 2),
        ([raised], 3),
    ):
        world.take(agent.check_in(observed=agent.report(alerts=alerts)))
        assert counted() == expected
    for odd in ("text", [7, None], {"reason": 1}):
        world.take(agent.check_in(observed=agent.report(alerts=odd)))
    assert counted() == 3


def test_a_restart_is_no_clone_and_a_clone_is_found(world: World) -> None:
    agent = world.agent()
    world.take(agent.check_in())
    first = agent.incarnation
    agent.restart()
    second = agent.incarnation
    world.take(agent.check_in())
    assert world.machine(agent).duplicate_since is None
    agent.incarnation = first
    world.take(agent.check_in())
    assert world.machine(agent).duplicate_since is not None
    assert "machine.duplicate" in world.audited()
    action = world.isolate(agent)
    agent.incarnation = second
    world.deliver(agent)  # orders still go out
    world.take(agent.check_in())
    assert world.action(action).status == "InProgress"
    assert world.steps(action) == ["ordered", "delivered", "applied"]
    assert world.machine(agent).verified_at is None
    assert world.audited().count("machine.duplicate") == 1
    membership.dismiss_duplicate(world.services, world.admin, agent.machine_id, "one was wiped")
    world.take(agent.check_in())
    assert world.action(action).status == "Succeeded"


def test_a_renamed_machine_keeps_its_id(world: World) -> None:
    agent, other = world.agent("old-name"), world.agent("other")
    world.take(agent.check_in(facts={"computer_name": "new-name", "os_platform": "Linux"}))
    row = world.machine(agent)
    assert (row.id, row.computer_name, row.same_name_as) == (agent.machine_id, "new-name", None)
    assert "machine.rename" in world.audited()
    world.take(agent.check_in(facts={"computer_name": "OTHER"}))
    assert world.machine(agent).same_name_as == other.machine_id


def test_the_same_facts_again_are_no_news(world: World) -> None:
    agent = world.agent()
    facts = {"computer_name": "host-1", "os_platform": "Linux", "is_controller_host": True}
    world.take(agent.check_in(facts=facts))
    assert "is_controller_host" not in world.machine(agent).facts
    seen = writes(world)
    world.take(agent.check_in(facts=facts))
    assert seen == []


def test_the_controllers_own_host_says_so_from_its_own_address(world: World) -> None:
    agent = world.agent()
    facts = {"is_controller_host": True}
    taken = world.desk.admit([Arrival(agent.check_in(facts=facts), "127.0.0.1", own_host=True)])[0]
    assert not isinstance(taken, Exception)
    world.desk.record([taken])
    assert world.machine(agent).facts["is_controller_host"] is True
    with pytest.raises(Problem) as caught:
        world.isolate(agent)
    assert caught.value.extra == {"override": "own_host"}


def test_a_controller_restored_from_a_backup_goes_on_above_its_agents(world: World) -> None:
    agent = world.agent()
    agent.generation, agent.state, agent.scope = 7, "isolated", "full"
    action = world.isolate(agent, lists=("streamlined",))
    world.take(agent.check_in())
    assert world.machine(agent).generation == 8
    assert world.action(action).generation == 8
    order = world.deliver(agent)
    assert (order["generation"], order["desired"], order["lists"]) == (8, "isolated", ["streamlined"])
    assert order["action_id"] == action.id
    assert "machine.catch_up" in world.audited()


def test_an_agent_cannot_exhaust_its_generations(world: World) -> None:
    agent = world.agent()
    agent.generation = 2**31 - 1
    world.take(agent.check_in())
    assert world.machine(agent).generation == 0
    world.isolate(agent)


def test_an_isolation_that_ran_out_is_no_longer_desired(world: World) -> None:
    agent = world.agent()
    world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in())
    agent.state = "connected"
    world.take(agent.check_in())  # too early: somebody did it at the host
    assert world.machine(agent).desired == "isolated"
    agent.state = "isolated"
    world.take(agent.check_in())
    world.clock.ahead = timedelta(days=7, seconds=1)
    agent.state = "connected"
    taken = world.take(agent.check_in())
    assert (world.machine(agent).desired, taken.generation) == ("connected", 2)
    assert "isolation.expired" in world.audited()


def test_who_is_not_enrolled_or_not_signed_is_401(world: World) -> None:
    agent, stranger = world.agent(), Agent("stranger")
    assert refused(world, stranger.check_in()).status == 401
    body = json.loads(agent.check_in())
    for name, value in (
        ("signature", json.loads(stranger.check_in())["signature"]),
        ("payload", json.loads(agent.check_in())["payload"]),
        ("key_id", "0" * 16),
    ):
        problem = refused(world, json.dumps({**body, name: value}).encode())
        assert (problem.status, problem.code) == (401, "Unauthorized")
    assert world.machine(agent).sequence == 0


def test_another_machines_name_in_a_signed_message(world: World) -> None:
    agent, victim = world.agent("a"), world.agent("b")
    assert refused(world, agent.check_in(machine_id=victim.machine_id)).status == 401


def test_an_order_sent_back_as_a_check_in(world: World) -> None:
    agent = world.agent()
    world.isolate(agent)
    with world.services.database.read() as session:
        order = session.scalars(select(Order)).one()
    envelope = seal(Kind.ENROL, json.loads(order.payload), agent.key)
    assert refused(world, json.dumps(encode_envelope(envelope)).encode()).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"payload":"","key_id":"","signature":""}',
        b'{"payload":"bnVsbA","key_id":"","signature":""}',
        b"[" * 60000,
        b'{"payload":"' + b"A" * 60000 + b'","key_id":"x","signature":"A"}',
    ],
)
def test_what_is_no_envelope(world: World, body: bytes) -> None:
    assert refused(world, body).status in (400, 401)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": -1},
        {"sequence": 2**53},
        {"sequence": 1.5},
        {"sequence": True},
        {"sequence": "9"},
        {"incarnation": "A" * 32},
        {"incarnation": None},
        {"nonce": ""},
        {"nonce": "x" * 200},
        {"generation": None},
        {"generation": 2**31},
        {"delivered": -1},
        {"wait_s": None},
        {"wait_s": -1},
        {"observed": None},
        {"observed": {}},
        {"observed": {"state": "free", "generation": 0}},
        {"observed": {"state": "connected", "generation": 0, "error": "x"}},
        {"observed": {"state": "connected", "generation": 0, "note": "a\x00b"}},
        {"observed": {"state": "connected", "generation": 0, "note": "\ud800"}},
        {"facts": [1]},
        {"keys_version": "x"},
    ],
)
def test_signed_nonsense_is_400_and_written_nowhere(world: World, changes: dict[str, Any]) -> None:
    agent = world.agent()
    assert refused(world, agent.check_in(**changes)).status == 400
    assert world.machine(agent).sequence == 0
    agent.sequence = 10
    world.take(agent.check_in())


def test_numbers_that_json_cannot_hold(world: World) -> None:
    agent = world.agent()
    payload = b'{"kind":"check_in","machine_id":"%s","sequence":1,"observed":{"state":"connected","generation":0,"x":1e999}}'
    from isolator.core.signed import key_id_of, public_bytes
    from isolator.model.signed import Envelope

    payload %= agent.machine_id.encode()
    envelope = Envelope(payload, key_id_of(public_bytes(agent.key)), agent.key.sign(payload))
    assert refused(world, json.dumps(encode_envelope(envelope)).encode()).status == 400


def test_one_bad_report_does_not_take_the_others_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    from api.services import checkin

    agents = [world.agent(f"host-{number}") for number in range(3)]
    real = checkin.record_one

    def fails_for_one(session: Any, services: Any, machine: Machine, *rest: Any) -> None:
        if machine.id == agents[1].machine_id:
            raise OperationalError("UPDATE", {}, Exception("deadlock detected"))
        real(session, services, machine, *rest)

    monkeypatch.setattr(checkin, "record_one", fails_for_one)
    admitted = world.desk.admit([Arrival(each.check_in(), "") for each in agents])
    found = world.desk.record([each for each in admitted if not isinstance(each, Exception)])
    assert isinstance(found[1], Problem)
    assert found[1].status == 503
    assert [world.machine(each).observed_state for each in agents] == ["connected", "unknown", "connected"]
    monkeypatch.setattr(checkin, "record_one", real)
    world.take(agents[1].check_in())  # it tries again, with the next number
    assert world.machine(agents[1]).observed_state == "connected"


def test_the_answer_is_bound_to_the_question(world: World) -> None:
    from api.services.checkin import Asked

    agent = world.agent()
    world.take(agent.check_in())
    asked = Asked(agent.machine_id, agent.nonce, 0, None)
    answer = agent.believe(world.desk.answer(asked, 0, poll_after_s=1.25))
    assert (answer["order"], answer["generation"], answer["poll_after_s"]) == (None, 0, 1.25)
    assert answer["keys"] is not None
    known = agent.believe(world.desk.answer(asked._replace(keys_version=1), 0))
    assert known["keys"] is None
    agent.check_in()
    with pytest.raises(Exception, match="another question"):
        agent.believe(world.desk.answer(asked, 0))


def test_a_key_that_is_not_the_machines(world: World) -> None:
    agent = world.agent()
    true_key, agent.key = agent.key, Ed25519PrivateKey.generate()
    assert refused(world, agent.check_in()).status == 401
    agent.key = true_key
    agent.sequence = 0
    world.take(agent.check_in())  # what was not believed has used up nothing


def test_an_acknowledgement_that_was_overtaken_does_not_undo_the_report(world: World) -> None:
    agent = world.agent()
    world.take(agent.check_in())
    before = agent.report()
    action = world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in())
    world.take(agent.check_in(delivered=1, observed=before))
    row = world.machine(agent)
    assert (row.observed_state, row.observed_generation) == ("isolated", 1)
    assert world.action(action).status == "Succeeded"


def test_an_order_of_nobodys_that_ended_unfetched_is_signed_anew(world: World) -> None:
    agent = world.agent()
    world.isolate(agent)
    world.deliver(agent)
    world.take(agent.check_in())
    world.release(agent)
    world.clock.ahead = timedelta(hours=73)
    isolation.time_out(world.services)  # isolation is desired again, as generation 3
    world.clock.ahead = timedelta(hours=147)
    order = world.deliver(agent)
    assert (order["generation"], order["desired"], order["scope"]) == (4, "isolated", "full")
    assert "order.renew" in world.audited()


def test_an_actions_order_is_not_renewed(world: World) -> None:
    agent = world.agent()
    action = world.isolate(agent)
    world.clock.ahead = timedelta(hours=80)  # the sweep is late
    assert world.deliver(agent)["generation"] == 1
    assert world.action(action).generation == 1


def test_a_database_that_is_shut_is_not_tried_for_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    from api.services import checkin

    agents = [world.agent(f"host-{number}") for number in range(8)]
    tried: list[str] = []

    def locked(session: Any, services: Any, machine: Machine, *rest: Any) -> None:
        tried.append(machine.id)
        raise OperationalError("BEGIN", {}, Exception("database is locked"))

    monkeypatch.setattr(checkin, "record_one", locked)
    admitted = world.desk.admit([Arrival(each.check_in(), "") for each in agents])
    found = world.desk.record([each for each in admitted if not isinstance(each, Exception)])
    assert [getattr(each, "status", None) for each in found] == [503] * 8
    assert len(tried) == 1 + checkin.GIVE_UP_AFTER
