"""The agents' calls over HTTP: statuses, envelopes, limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.problems import Problem
from api.routes.agent import MAX_BODY, Failures
from api.services import enrolment
from api.store.database import Database
from tests.contract.api.agents_world import World, make_world
from tests.contract.api.controller import TestClient
from tests.fleet.agent import Agent


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(database, tmp_path)
    yield made
    made.services.wake.close()  # type: ignore[attr-defined]


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    with TestClient(create_app(world.services), client=("192.0.2.77", 4711)) as opened:
        yield opened


def error(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()["error"]
    assert set(found) >= {"code", "message", "target"}
    return found


def check_in(client: TestClient, agent: Agent, **changes: Any) -> dict[str, Any]:
    answer = client.post("/agent/v1/checkin", content=agent.check_in(**changes))
    assert answer.status_code == 200, answer.text
    return agent.believe(answer.content)


def test_from_enrolment_to_verified(world: World, client: TestClient) -> None:
    agent = Agent("host-1")
    answer = client.post("/agent/v1/enrol", json=agent.enrol(world.token()))
    assert answer.status_code == 201
    assert set(answer.json()) == {"machine_id", "tenant_id", "root", "keys"}
    agent.enrolled(answer.json())
    assert agent.order_of(check_in(client, agent)) is None
    action = world.isolate(agent)
    order = agent.order_of(check_in(client, agent, wait_s=20))
    assert order is not None
    check_in(client, agent, delivered=order["generation"])
    agent.obey(order)
    check_in(client, agent)
    assert world.action(action).status == "Succeeded"
    assert world.machine(agent).external_ip == "192.0.2.77"


def test_a_bad_token_is_401_and_after_ten_429(world: World, client: TestClient) -> None:
    for _ in range(10):
        error(client.post("/agent/v1/enrol", json=Agent("x").enrol("iso_wrong")), 401)
    refused = client.post("/agent/v1/enrol", json=Agent("x").enrol(world.token()))
    assert error(refused, 429)["code"] == "TooManyRequests"
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_a_site_behind_one_address_comes_in_whole(world: World, client: TestClient) -> None:
    text = world.token(uses=20)
    for number in range(15):
        assert client.post("/agent/v1/enrol", json=Agent(f"h{number}").enrol(text)).status_code == 201


def test_failures_are_forgotten_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    failures = Failures(2, lambda: now[0])
    for _ in range(2):
        failures.refuse("a")
        failures.count("a")
    with pytest.raises(Problem):
        failures.refuse("a")
    failures.refuse("b")
    now[0] = 61
    failures.refuse("a")
    monkeypatch.setattr("api.routes.agent.MAX_ADDRESSES", 3)
    for number in range(10):
        failures.count(str(number))
    assert len(failures._failed) == 3


def test_refusals_are_in_the_envelope(world: World, client: TestClient) -> None:
    agent = world.agent()
    post = lambda body: client.post("/agent/v1/checkin", content=body)  # noqa: E731
    assert error(post(b"{"), 400)["code"] == "InvalidRequestBody"
    assert error(post(Agent("y").check_in()), 401)["code"] == "Unauthorized"
    body = agent.check_in()
    assert post(body).status_code == 200
    found = error(post(body), 409)
    assert (found["code"], found["sequence"]) == ("Replay", 1)
    assert error(post(agent.check_in(observed={})), 400)["code"] == "InvalidInput"
    error(client.post("/agent/v1/enrol", content=b"\xff"), 400)
    error(client.get("/agent/v1/checkin"), 405)


def test_bodies_have_an_end(client: TestClient) -> None:
    for path in ("/agent/v1/checkin", "/agent/v1/enrol"):
        assert error(client.post(path, content=b"x" * (MAX_BODY + 1)), 413)["code"] == "RequestTooLarge"
        parts = (b"y" * 1024 for _ in range(200))  # no length is announced
        error(client.post(path, content=parts), 413)


def test_a_broken_database_is_503_and_nothing_is_lost(
    world: World, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    agent = world.agent()

    def broken(*_: Any) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(Database, "read", broken)
        answer = client.post("/agent/v1/checkin", content=agent.check_in())
        assert error(answer, 503)["code"] == "ServiceUnavailable"
        assert int(answer.headers["retry-after"]) > 0
        error(client.post("/agent/v1/enrol", json=Agent("z").enrol("iso_x")), 503)
    check_in(client, agent)


def test_a_revoked_token_lets_nobody_in(world: World, client: TestClient) -> None:
    made = enrolment.create_token(world.services, world.admin, uses=5)
    enrolment.revoke_token(world.services, world.admin, made.row.id)
    error(client.post("/agent/v1/enrol", json=Agent("x").enrol(made.text)), 401)


def test_long_polls_end_when_the_application_does(world: World) -> None:
    import threading

    agent = world.agent()
    services = replace(world.services)
    answers: list[int] = []
    with TestClient(create_app(services)) as opened:
        body = agent.check_in(wait_s=50)
        thread = threading.Thread(
            target=lambda: answers.append(opened.post("/agent/v1/checkin", content=body).status_code)
        )
        thread.start()
        while not opened.app.state.agents.polls.waiting:  # type: ignore[attr-defined]
            pass
        opened.app.state.agents.drain()  # type: ignore[attr-defined]
        thread.join(10)
    assert answers == [200]


def test_nothing_secret_is_said_in_a_refusal(world: World, client: TestClient) -> None:
    text = "iso_very_secret_token"
    answer = client.post("/agent/v1/enrol", json=Agent("x").enrol(text))
    assert text not in answer.text
    assert json.dumps(answer.json())
