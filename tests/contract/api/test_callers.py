"""API clients and people: made, listed, shut out; nobody gives away more than they have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.core.roles import Actor, Role
from api.problems import Problem
from api.services import audit, clients, passwords, users
from api.store.database import Database
from api.store.tables import AuditRow, Group, Session, User
from tests.contract.api.controller import ACME, OTHER, Controller, console, controller

HERE = "203.0.113.5"


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path, {"logins_per_minute": 3}) as made:
        yield made


def group(world: Controller, name: str = "desks", tenant: str = ACME) -> int:
    with world.services.database.write() as session:
        made = Group(tenant_id=tenant, name=name)
        session.add(made)
        session.flush()
        return made.id


def audited(world: Controller, tenant: str = ACME) -> list[str]:
    with world.services.database.read() as session:
        assert audit.verify(session, world.services, tenant).whole
        return [link.content["action"] for link in audit.rows(session, tenant)]


def refusal(call: Any, *args: Any) -> str:
    with pytest.raises(Problem) as caught:
        call(*args)
    return caught.value.code


def test_through_the_api(world: Controller) -> None:
    headers = world.headers(Role.ADMINISTRATOR)
    answer = world.http.post("/api/clients", json={"name": "soar", "role": "operator"}, headers=headers)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert len(made["secret"]) == 43
    form = {"grant_type": "client_credentials", "client_id": made["id"], "client_secret": made["secret"]}
    assert world.http.post(f"/{made['tenantId']}/oauth2/v2.0/token", data=form).status_code == 200
    listed = world.http.get("/api/clients", headers=headers)
    assert made["secret"] not in listed.text
    assert "soar" in [each["name"] for each in listed.json()]
    for _ in range(2):
        assert world.http.post(f"/api/clients/{made['id']}/revoke", headers=headers).json()["revokedAt"]
    assert world.http.post(f"/{ACME}/oauth2/v2.0/token", data=form).status_code == 401
    assert audited(world).count("client.revoke") == 1

    person = world.http.post("/api/users", json={"name": "ann", "role": "reader"}, headers=headers).json()
    assert person["mustChangePassword"]
    again = world.http.post(f"/api/users/{person['id']}/password", headers=headers).json()
    assert again["password"] != person["password"]
    assert users.authenticate(world.services, "ann", again["password"], HERE).id == person["id"]
    assert world.http.post(f"/api/users/{person['id']}/disable", headers=headers).json()["disabledAt"]
    assert refusal(users.authenticate, world.services, "ann", again["password"], HERE) == "Unauthorized"
    assert not world.http.post(f"/api/users/{person['id']}/enable", headers=headers).json()["disabledAt"]
    assert person["id"] in [each["id"] for each in world.http.get("/api/users", headers=headers).json()]


@pytest.mark.parametrize("what", ["clients", "users"])
def test_bad_bodies(world: Controller, what: str) -> None:
    headers = world.headers(Role.ADMINISTRATOR)
    for body in (
        {"name": "", "role": "reader"},
        {"name": " \t", "role": "reader"},
        {"name": "a\nb", "role": "reader"},
        {"name": "a\0b", "role": "reader"},
        {"name": "x" * 201, "role": "reader"},
        {"name": "x", "role": "root"},
        {"name": "x", "role": "Reader"},
        {"name": "x", "role": "reader", "groups": [9]},
        {"name": "x", "role": "reader", "groups": [2**80]},
        {"name": "x", "role": "reader", "groups": ["1; drop table"]},
        {"name": "x", "role": "reader", "tenant_id": OTHER},
    ):
        answer = world.http.post(f"/api/{what}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidInput"), body
    good = {"name": "twice", "role": "reader"}
    assert world.http.post(f"/api/{what}", json=good, headers=headers).status_code == 201
    answer = world.http.post(f"/api/{what}", json=good, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "Conflict")


def test_tenants_do_not_see_each_other(world: Controller) -> None:
    theirs = world.client(Role.READER, tenant=OTHER)
    them = users.create(world.services, console(OTHER), "eve", Role.READER)
    group_of_theirs = group(world, tenant=OTHER)
    headers = world.headers(Role.ADMINISTRATOR)
    assert theirs.client.id not in world.http.get("/api/clients", headers=headers).text
    assert them.user.id not in world.http.get("/api/users", headers=headers).text
    for path in (
        f"/api/clients/{theirs.client.id}/revoke",
        f"/api/users/{them.user.id}/disable",
        f"/api/users/{them.user.id}/enable",
        f"/api/users/{them.user.id}/password",
    ):
        assert world.http.post(path, headers=headers).status_code == 404, path
    body = {"name": "x", "role": "reader", "groups": [group_of_theirs]}
    assert world.http.post("/api/clients", json=body, headers=headers).status_code == 400


def test_an_administrator_of_a_group_stays_within_it(world: Controller) -> None:
    mine, others = group(world), group(world, "servers")
    limited = replace(console(), groups=frozenset({mine}))
    everywhere = world.client(Role.ADMINISTRATOR)
    elsewhere = world.client(Role.READER, groups=[mine, others])
    here = clients.create(world.services, limited, "here", Role.ADMINISTRATOR, [mine, mine])
    assert here.client.groups == [mine]
    for groups in (None, [others], [mine, others]):
        assert refusal(clients.create, world.services, limited, "n", Role.READER, groups) == "Forbidden"
        assert refusal(users.create, world.services, limited, "n", Role.READER, groups) == "Forbidden"
    assert [each.name for each in clients.listing(world.services, limited)] == ["here"]
    for client in (everywhere, elsewhere):
        assert refusal(clients.revoke, world.services, limited, client.client.id) == "ResourceNotFound"
    boss = users.create(world.services, console(), "boss", Role.ADMINISTRATOR)
    for act in (users.disable, users.reset_password, users.enable):
        assert refusal(act, world.services, limited, boss.user.id) == "ResourceNotFound"


def test_first_password_and_the_next(world: Controller) -> None:
    new = users.create(world.services, console(), "ann", Role.OPERATOR)
    user = users.authenticate(world.services, "ann", new.password, HERE)
    assert user.must_change_password
    with world.services.database.write() as session:
        session.add(
            Session(
                token_hash="0" * 64, user_id=user.id, csrf_token="", created_at=world.clock.now(),
                seen_at=world.clock.now(), expires_at=world.clock.now(),
            )
        )  # fmt: skip
    change = (users.change_password, world.services, user)
    assert refusal(*change, "wrong", "correct horse battery", HERE) == "Unauthorized"
    for unfit in ("short", "x" * 1025, "a" * 20, "I am Ann, hello", new.password):
        assert refusal(*change, new.password, unfit, HERE) == "InvalidInput", unfit
    users.change_password(world.services, user, new.password, "\uff23orrect hörse battery", HERE)
    with world.services.database.read() as session:
        assert session.scalars(select(Session)).all() == []
        row = session.get_one(User, user.id)
        assert row.password_hash is not None
        assert row.password_hash.startswith("$argon2id$")
        assert "battery" not in " ".join(session.scalars(select(AuditRow.content)))
    assert refusal(users.authenticate, world.services, "ann", new.password, HERE) == "Unauthorized"
    # Another keyboard writes the same letters with other code points.
    again = users.authenticate(world.services, "ann ", "Correct hörse battery", HERE)
    assert not again.must_change_password
    assert again.last_login_at == world.clock.now()


def test_guessing_is_stopped_before_the_password_is_looked_at(
    world: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = users.create(world.services, console(), "ann", Role.OPERATOR)
    for _ in range(3):
        assert refusal(users.authenticate, world.services, "ann", "wrong", HERE) == "Unauthorized"
    monkeypatch.setattr(passwords, "matches", lambda *_: pytest.fail("it was looked at"))
    with pytest.raises(Problem) as caught:
        users.authenticate(world.services, "ann", new.password, HERE)
    assert caught.value.status == 429
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    monkeypatch.undo()
    # One address cannot lock the person out: from elsewhere the right password still works.
    assert users.authenticate(world.services, "ann", new.password, "198.51.100.9").name == "ann"
    assert "user.sign_in_failed" in audited(world)


def test_many_addresses_together_are_stopped(world: Controller) -> None:
    users.create(world.services, console(), "ann", Role.OPERATOR)
    codes = [
        refusal(
            users.authenticate,
            world.services,
            "ANN" if number % 2 else "ann",
            "wrong",
            f"198.51.100.{number}",
        )
        for number in range(20)
    ]
    assert codes == ["Unauthorized"] * 15 + ["TooManyRequests"] * 5


def test_one_holder_of_an_ipv6_network_is_one_address(world: Controller) -> None:
    codes = [
        refusal(users.authenticate, world.services, f"n{number}", "wrong", f"2001:db8::{number:x}")
        for number in range(5)
    ]
    assert codes[3:] == ["TooManyRequests"] * 2


def test_names_in_two_tenants(world: Controller) -> None:
    ours = users.create(world.services, console(), "ann", Role.READER)
    assert users.authenticate(world.services, "ann", ours.password, HERE).tenant_id == ACME
    theirs = users.create(world.services, console(OTHER), "ann", Role.READER)
    assert refusal(users.authenticate, world.services, "ann", ours.password, HERE) == "Unauthorized"
    assert users.authenticate(world.services, "Acme/ann", ours.password, HERE).tenant_id == ACME
    assert users.authenticate(world.services, "Other/ann", theirs.password, HERE).tenant_id == OTHER
    assert refusal(users.authenticate, world.services, "Other/ann", ours.password, HERE) == "Unauthorized"


def test_odd_names_and_passwords(world: Controller) -> None:
    for name, password in (
        ("", ""), ("\0", "\0"), ("' or 1=1 --", "x"), ("\ud800", "\ud800"), ("x" * 100_000, "x" * 100_000),
    ):  # fmt: skip
        world.services.limits.__init__()  # type: ignore[misc]
        assert refusal(users.authenticate, world.services, name, password, HERE) == "Unauthorized"


def test_an_account_without_a_password_has_none(world: Controller) -> None:
    person = users.provide_subject(world.services, ACME, "https://idp|1", "ann", Role.READER, None)
    for guess in ("", "None", "null"):
        assert refusal(users.authenticate, world.services, "ann", guess, HERE) == "Unauthorized"
    assert refusal(users.reset_password, world.services, console(), person.id) == "InvalidInput"


def test_single_sign_on(world: Controller) -> None:
    users.create(world.services, console(), "ann", Role.ADMINISTRATOR)
    provide = (users.provide_subject, world.services)
    person = users.provide_subject(world.services, ACME, "https://idp|1", "ann", Role.READER, None)
    assert (person.name, person.role) == ("ann 2", "reader")  # the local administrator's name stays hers
    same = users.provide_subject(world.services, ACME, "https://idp|1", "ann", Role.OPERATOR, [])
    assert (same.id, same.role, same.groups) == (person.id, "operator", [])
    assert refusal(*provide, OTHER, "https://idp|1", "ann", Role.READER, None) == "Forbidden"
    users.disable(world.services, console(), person.id)
    assert refusal(users.authenticate_subject, world.services, person.id, HERE) == "Unauthorized"
    assert audited(world).count("user.change") == 1


def test_nobody_disables_themselves(world: Controller) -> None:
    me = users.create(world.services, console(), "me", Role.ADMINISTRATOR).user
    assert refusal(users.disable, world.services, users.actor_for(me), me.id) == "Conflict"


def test_a_flood_of_sign_ins_waits_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAIT_S", 0.05)
    release = threading.Event()
    inside = threading.Semaphore(0)

    def occupy() -> None:
        with passwords._turn():
            inside.release()
            release.wait(10)

    threads = [threading.Thread(target=occupy) for _ in range(passwords.AT_ONCE)]
    for each in threads:
        each.start()
    for _ in threads:
        assert inside.acquire(timeout=10)
    try:
        assert refusal(passwords.matches, None, "x") == "ServiceUnavailable"
    finally:
        release.set()
        for each in threads:
            each.join()
    assert not passwords.matches(None, "x")


def test_two_clients_of_one_name_at_once(world: Controller) -> None:
    outcomes: list[str] = []

    def make() -> None:
        try:
            clients.create(world.services, console(), "same", Role.READER)
            outcomes.append("made")
        except Problem as problem:
            outcomes.append(problem.code)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(outcomes) == ["Conflict"] * 3 + ["made"]
    assert audited(world) == ["client.create"]


def test_the_actor_of_a_client(world: Controller) -> None:
    mine = group(world)
    made = world.client(Role.OPERATOR, groups=[mine])
    assert clients.actor_for(made.client) == Actor(
        ACME, made.client.name, Role.OPERATOR, "client", made.client.id, frozenset({mine})
    )
