"""Limits as callers meet them: 429 with Retry-After, each for oneself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.core.roles import Role
from api.store.database import Database
from tests.contract.api.controller import ACME, Controller, controller

SETTINGS = {"calls_per_minute": 10, "calls_per_hour": 15, "logins_per_minute": 4}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path, SETTINGS) as made:
        yield made


def test_calls_of_one_client(world: Controller) -> None:
    busy, calm = world.headers(Role.READER), world.headers(Role.READER)  # each token is a call as well
    answers = [world.http.get("/api/alerts", headers=busy) for _ in range(12)]
    assert [each.status_code for each in answers] == [200] * 9 + [429] * 3
    error = answers[-1].json()["error"]
    assert error["code"] == "TooManyRequests"
    assert error["target"]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert world.http.get("/api/alerts", headers=calm).status_code == 200


def test_a_refused_role_counts_too(world: Controller) -> None:
    headers = world.headers(Role.AUDITOR)
    codes = [world.http.get("/api/alerts", headers=headers).status_code for _ in range(12)]
    assert codes == [403] * 9 + [429] * 3


def test_tokens_without_end(world: Controller) -> None:
    new = world.client(Role.READER)
    answers = [world.token_answer(new) for _ in range(12)]
    assert [each.status_code for each in answers] == [200] * 10 + [429] * 2
    assert answers[-1].json()["error"] == "temporarily_unavailable"
    assert answers[-1].headers["cache-control"] == "no-store"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


def test_wrong_secrets(world: Controller) -> None:
    new, bystander = world.client(Role.READER), world.client(Role.READER)
    answers = [world.token_answer(new, client_secret=f"guess {number}") for number in range(6)]
    assert [each.status_code for each in answers] == [401] * 4 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    unknown = world.token_answer(new, client_id="00000000-0000-4000-8000-000000000000")
    assert unknown.status_code == 429  # the address is stopped, whichever client it tries
    # Guessing is no way to shut others out: who knows the secret gets in.
    assert world.token_answer(bystander).status_code == 200
    assert world.token_answer(new).status_code == 200


def test_bad_tokens_do_not_use_up_a_clients_calls(world: Controller) -> None:
    token = world.token(Role.READER)
    for _ in range(20):
        answer = world.http.get("/api/alerts", headers={"Authorization": f"Bearer {token[:-6]}AAAAAA"})
        assert answer.status_code == 401
    assert world.http.get("/api/alerts", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_unknown_tenants_are_no_way_around(world: Controller) -> None:
    new = world.client(Role.READER)
    for _ in range(5):
        world.token_answer(new, "nobody")
    assert world.token_answer(new, ACME, client_secret="x").status_code == 401
