"""The audit log: a row for every act, no way to change one, and `verify` names the first broken row."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.orm import Session

from api.core.audit_chain import GENESIS, link_hash
from api.core.canonical import canonical_bytes
from api.core.roles import Role
from api.problems import Problem
from api.services import audit, groups, isolation
from api.services.isolation import OrderRequest
from api.store.database import Database
from api.store.tables import AuditRow, Machine
from tests.contract.api.calls import Caller, audited, caller, refusal, words
from tests.contract.api.controller import ACME, OTHER, Controller, console, controller

ROWS = 6


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


@pytest.fixture
def chain(world: Controller) -> Controller:
    """A controller whose first tenant has ROWS rows, and whose second has some of its own."""
    for number in range(ROWS):
        groups.create_group(world.services, console(), f"group {number}")
        groups.create_group(world.services, console(OTHER), f"theirs {number}")
    return world


def tamper(world: Controller, *statements: str, **values: Any) -> None:
    """What somebody with the database in hand does."""
    with world.services.database.write() as session:
        run(session, *statements, **values)


def run(session: Session, *statements: str, **values: Any) -> None:
    """The statements, after the triggers that forbid them are gone."""
    if session.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            session.execute(text(f"DROP TRIGGER IF EXISTS audit_no_{verb}"))
    else:
        session.execute(text("DROP TRIGGER IF EXISTS audit_append_only ON audit"))
    for each in statements:
        session.execute(text(each), {"tenant": ACME, **values})


def broken(world: Controller, tenant: str = ACME) -> tuple[int | None, str]:
    with world.services.database.read() as session:
        verdict = audit.verify(session, world.services, tenant)
    assert verdict.whole == (verdict.broken_seq is None)
    return verdict.broken_seq, verdict.reason


MINE = "tenant_id = :tenant AND seq"
OF_MINE = "WHERE tenant_id = :tenant"


def forge(world: Controller, seq: int) -> dict[str, str]:
    """A row's forged content with a hash that fits it."""
    with world.services.database.read() as session:
        row = session.get_one(AuditRow, (ACME, seq))
    content = {**json.loads(row.content), "target": "somebody else"}
    return {
        "content": canonical_bytes(content).decode(),
        "hash": link_hash(seq, row.previous, content),
    }


CASES: list[tuple[list[str], int]] = [
    ([f"UPDATE audit SET content = replace(content, 'group 2', 'group 9') WHERE {MINE} = 3"], 3),
    ([f"UPDATE audit SET content = content || ' ' WHERE {MINE} = 2"], 2),
    ([f"UPDATE audit SET content = 'nonsense' WHERE {MINE} = 2"], 2),
    ([f"UPDATE audit SET content = '[]' WHERE {MINE} = 2"], 2),
    (['UPDATE audit SET content = \'{"a"\\:1,"a"\\:2}\' WHERE tenant_id = :tenant AND seq = 2'], 2),
    ([f"UPDATE audit SET hash = '{'0' * 64}' WHERE {MINE} = 4"], 4),
    ([f"UPDATE audit SET previous = '{GENESIS}' WHERE {MINE} = 4"], 4),
    ([f"DELETE FROM audit WHERE {MINE} = 1"], 1),
    ([f"DELETE FROM audit WHERE {MINE} = 3"], 3),
    ([f"DELETE FROM audit WHERE {MINE} = {ROWS}"], ROWS),
    ([f"DELETE FROM audit WHERE {MINE} > 0"], 1),
    (
        [
            f"UPDATE audit SET seq = 99 WHERE {MINE} = 2",
            f"UPDATE audit SET seq = 2 WHERE {MINE} = 3",
            f"UPDATE audit SET seq = 3 WHERE {MINE} = 99",
        ],
        2,
    ),
    # The end cut off together with the head that speaks of it: the head's signature is missed.
    (
        [
            f"DELETE FROM audit WHERE {MINE} = {ROWS}",
            f"UPDATE audit_heads SET seq = {ROWS - 1} WHERE tenant_id = :tenant",
            f"UPDATE audit_heads SET hash = (SELECT hash FROM audit WHERE {MINE} = {ROWS - 1}) {OF_MINE}",
        ],
        ROWS - 1,
    ),
    ([f"UPDATE audit_heads SET seq = {ROWS + 1} WHERE tenant_id = :tenant"], ROWS + 1),
    ([f"UPDATE audit_heads SET seq = {ROWS - 2} WHERE tenant_id = :tenant"], ROWS - 1),
    ([f"UPDATE audit_heads SET hash = '{'0' * 64}' WHERE tenant_id = :tenant"], ROWS),
    (["UPDATE audit_heads SET key_id = 'nobody' WHERE tenant_id = :tenant"], ROWS),
    (["DELETE FROM audit_heads WHERE tenant_id = :tenant"], 1),
    (
        [
            f"INSERT INTO audit SELECT tenant_id, seq + 1, content, hash, hash FROM audit WHERE {MINE} = {ROWS}"
        ],
        ROWS + 1,
    ),
]
"""What is done to the tables, and the row that `verify` must name."""


class _Undone(Exception):
    pass


def test_the_first_broken_row_is_named(chain: Controller) -> None:
    assert broken(chain) == (None, "")
    for statements, first in CASES:
        with contextlib.suppress(_Undone), chain.services.database.write() as session:
            run(session, *statements)
            verdict = audit.verify(session, chain.services, ACME)
            assert (verdict.broken_seq, bool(verdict.reason)) == (first, True), statements
            assert audit.verify(session, chain.services, OTHER).whole
            raise _Undone
    assert broken(chain) == (None, "")


def test_a_row_forged_with_a_fitting_hash(chain: Controller) -> None:
    tamper(chain, f"UPDATE audit SET content = :content, hash = :hash WHERE {MINE} = 3", **forge(chain, 3))
    assert broken(chain)[0] == 4


def test_a_chain_forged_to_its_end_lacks_the_signature(chain: Controller) -> None:
    forged = forge(chain, ROWS)
    tamper(
        chain,
        f"UPDATE audit SET content = :content, hash = :hash WHERE {MINE} = {ROWS}",
        "UPDATE audit_heads SET hash = :hash WHERE tenant_id = :tenant",
        **forged,
    )
    assert broken(chain) == (ROWS, "the head's signature is not the controller's")
    tamper(chain, "UPDATE audit_heads SET signature = :nothing WHERE tenant_id = :tenant", nothing=b"")
    assert broken(chain)[0] == ROWS


def test_a_head_of_another_tenant_does_not_serve(chain: Controller) -> None:
    tamper(
        chain,
        "UPDATE audit_heads SET signature = (SELECT signature FROM audit_heads h WHERE h.tenant_id = :other) "
        "WHERE tenant_id = :tenant",
        other=OTHER,
    )
    assert broken(chain)[0] == ROWS


@pytest.mark.parametrize("statement", ["UPDATE audit SET content = 'x'", "DELETE FROM audit"])
def test_the_database_itself_refuses_changes(chain: Controller, statement: str) -> None:
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="append-only"):  # noqa: SIM117
        with chain.services.database.write() as session:
            session.execute(text(statement))
    assert broken(chain) == (None, "")


def test_writers_at_once_leave_no_gap(world: Controller) -> None:
    """The tenant's very first rows, from many threads."""
    barrier = threading.Barrier(6)
    errors: list[BaseException] = []

    def write(number: int) -> None:
        barrier.wait()
        try:
            for step in range(5):
                groups.create_group(world.services, console(), f"{number} {step}")
                with world.services.database.read() as session:
                    assert audit.verify(session, world.services, ACME).whole
        except BaseException as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors, errors
    with world.services.database.read() as session:
        assert [each.seq for each in audit.rows(session, ACME)] == list(range(1, 31))
    assert broken(world) == (None, "")


def _place_and_fail(world: Controller, session: Session, machine_id: str) -> None:
    isolation.place_in(session, world.services, console(), OrderRequest(machine_id, "x"))
    raise RuntimeError


def test_what_fails_is_not_audited(world: Controller) -> None:
    machine = world.machine("pc-1")
    with pytest.raises(RuntimeError):  # noqa: SIM117
        with world.services.database.write() as session:
            _place_and_fail(world, session, machine.id)
    with pytest.raises(Problem):
        isolation.place(world.services, console(), OrderRequest("nobody", "x"))
    assert words(world) == []
    with world.services.database.read() as session:
        assert session.get_one(Machine, machine.id).generation == 0


Act = tuple[str, Callable[[Caller, Machine], Any]]
ACTS: list[Act] = [
    ("group.create", lambda who, _: who.post("/groups", {"name": "desks"})),
    ("machine.group", lambda who, each: who.call("PUT", f"/machines/{each.id}/group", {"groupId": 1})),
    ("machine.tags", lambda who, each: who.call("PUT", f"/machines/{each.id}/tags", {"tags": ["a"]})),
    ("machine.tags", lambda who, each: who.post(f"/machines/{each.id}/tags", {"Value": "b", "Action": "Add"})),
    ("machine.isolate", lambda who, each: who.isolate(each)),
    ("machine.release", lambda who, each: who.unisolate(each)),
    ("machine.forced_release", lambda who, each: who.post(f"/machines/{each.id}/forcedrelease", {"Comment": "x"})),
    ("machine.dismiss_duplicate", lambda who, each: who.post(f"/machines/{each.id}/dismissduplicate", {"Comment": "x"})),
    ("machine.unenrol", lambda who, each: who.post(f"/machines/{each.id}/unenrol", {"Comment": "x", "Force": True})),
    ("enrolment_token.create", lambda who, _: who.post("/enrolmenttokens", {})),
    ("client.create", lambda who, _: who.post("/clients", {"name": "soar", "role": "reader"})),
    ("user.create", lambda who, _: who.post("/users", {"name": "ann", "role": "reader"})),
]  # fmt: skip


def test_a_row_for_every_act(world: Controller) -> None:
    who = caller(world, Role.ADMINISTRATOR)
    machine = world.machine("pc-1")
    for word, act in ACTS:
        before = len(audited(world))
        answer = act(who, machine)
        assert answer.status_code < 300, (word, answer.text)
        added = audited(world)[before:]
        assert word in [each["action"] for each in added], word
        assert {each["actor"]["name"] for each in added} == {"administrator 0"}
    text = json.dumps(audited(world))
    assert '"comment": "because"' in text
    for answer in (who.post("/enrolmenttokens", {}), who.post("/clients", {"name": "b", "role": "reader"})):
        secret = answer.json().get("token") or answer.json()["secret"]
        assert secret not in json.dumps(audited(world))


def test_read_in_pages(chain: Controller) -> None:
    auditor = caller(chain, Role.AUDITOR)
    total = len(audited(chain))
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page = auditor.get(f"/audit?after={after}&top=4").json()
        seen += [each["seq"] for each in page["value"]]
        after = page["next"]
    assert seen == list(range(1, total + 1))
    verdict = auditor.get("/audit/verify").json()
    assert (verdict["whole"], verdict["rows"], verdict["brokenSeq"]) == (True, total, None)
    for wrong in ("after=-1", "top=0", "top=1001", "after=99999999999999", "after=x"):
        assert refusal(auditor.get(f"/audit?{wrong}")) == (400, "InvalidInput")
    for role in (Role.READER, Role.OPERATOR):
        assert refusal(caller(chain, role).get("/audit")) == (403, "Forbidden")
        assert refusal(caller(chain, role).get("/audit/verify")) == (403, "Forbidden")
    tamper(chain, f"UPDATE audit SET content = 'nonsense' WHERE {MINE} = 2")
    assert auditor.get("/audit").json()["value"][1]["content"] == {"unreadable": "nonsense"}
    assert auditor.get("/audit/verify").json()["brokenSeq"] == 2
