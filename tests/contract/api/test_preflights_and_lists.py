"""Connectivity reports that come in, exports of lists, and which lists are in force."""

from __future__ import annotations

import copy
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allowlists import files
from api.core.roles import Role
from api.store.database import Database
from api.store.tables import Machine
from tests.contract.api.calls import Caller, audited, caller, refusal
from tests.contract.api.controller import ACME, OTHER, Controller, controller

REPORT: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "golden" / "preflight" / "company.json").read_text("utf-8")
)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


@pytest.fixture
def reader(world: Controller) -> Caller:
    return caller(world, Role.READER)


def test_a_report_comes_in_and_is_given_back(world: Controller, reader: Caller) -> None:
    kept = reader.post("/preflights", REPORT)
    assert kept.status_code == 201
    short = kept.json()
    assert (short["hostname"], short["listId"]) == ("pc-7", "standard")
    numbers = {each["outcome"] for each in REPORT["rows"]}
    assert "blocked" in numbers
    assert short["blocked"] == sum(each["outcome"] == "blocked" for each in REPORT["rows"]) > 0
    world.clock.advance(60)
    named = reader.post("/preflights?hostname=pc-9", REPORT).json()
    assert [each["hostname"] for each in reader.get("/preflights").json()] == ["pc-9", "pc-7"]
    detail = reader.get(f"/preflights/{named['id'].upper()}").json()
    assert detail["report"] == REPORT
    assert audited(world)[-1]["action"] == "preflight.receive"
    assert caller(world, Role.READER, tenant=OTHER).get("/preflights").json() == []
    assert refusal(reader.get("/preflights/x")) == (404, "ResourceNotFound")
    assert refusal(caller(world, Role.AUDITOR).post("/preflights", REPORT)) == (403, "Forbidden")


def test_wrong_reports_are_refused(world: Controller, reader: Caller) -> None:
    def without(name: str) -> dict[str, Any]:
        return {key: value for key, value in REPORT.items() if key != name}

    def changed(**values: Any) -> dict[str, Any]:
        return {**copy.deepcopy(REPORT), **values}

    wrong: list[Any] = [
        {},
        without("rows"),
        without("schema"),
        changed(schema=2),
        changed(schema=True),
        changed(rows={}),
        changed(rows=[5]),
        changed(rows=[{}]),
        changed(list=5),
        changed(took_s="long"),
        changed(host="a\nb"),
        changed(host="a\0b"),
        [REPORT],
        "report",
        None,
    ]
    for document in wrong:
        status, code = refusal(reader.post("/preflights", document))
        assert (status, code) in ((400, "InvalidInput"), (400, "InvalidRequestBody")), document
    # NUL further inside is text to JSON; no database may choke on it with a 5xx, nor keep half of it.
    inside = reader.post("/preflights", json.loads(json.dumps(REPORT).replace("pc-7", "pc-7\\u0000")))
    assert refusal(inside)[0] == 400
    huge = reader.post("/preflights", {**REPORT, "padding": "x" * (1024 * 1024)})
    assert refusal(huge) == (413, "RequestTooLarge")
    assert reader.get("/preflights").json() == []


def test_exports_for_firewalls(reader: Caller) -> None:
    for name in files.SHIPPED:
        domains = reader.get(f"/lists/{name}/export")
        assert domains.headers["content-type"].startswith("text/plain")
        lines = [each for each in domains.text.splitlines() if not each.startswith("#")]
        assert lines == sorted(set(lines))
        assert len(lines) > 5
        assert not any("/" in each or " " in each for each in lines)
        urls = reader.get(f"/lists/{name}/export?format=edl-urls").text
        assert all("/" in each for each in urls.splitlines() if not each.startswith("#"))
        for each in reader.get(f"/lists/{name}/export?format=edl-addresses").text.splitlines():
            if not each.startswith("#"):
                ipaddress.ip_network(each)
    for path, status in (
        ("nope/export", 404),
        ("%2e%2e%2f%2e%2e%2fetc%2fpasswd/export", 404),
        ("standard.yaml/export", 404),
        ("standard@9/export", 400),
        ("standard/export?format=csv", 400),
        ("standard/export?format=", 400),
        ("standard/export?geo=atlantis", 400),
        ("standard/export?profile=nope", 400),
        ("standard/export?profile=%00", 400),
    ):
        assert refusal(reader.get(f"/lists/{path}"))[0] == status, path


def test_lists_in_force(world: Controller, reader: Caller) -> None:
    def report(name: str, state: str, lists: Any, tenant: str = ACME) -> None:
        machine = world.machine(name, tenant=tenant)
        with world.services.database.write() as session:
            row = session.get_one(Machine, machine.id)
            row.observed_state, row.observed = state, {"lists": lists}

    new, old = {"id": "standard", "version": "2", "entries": 5}, {"id": "standard", "version": "1"}
    report("a", "isolated", [new])
    report("b", "isolated", [new, {"id": "own", "version": "7"}])
    report("c", "isolated", [old])
    report("d", "connected", [old])
    report("e", "isolated", [old], OTHER)
    # What no honest agent sends must not spoil the answer.
    report("f", "isolated", {"id": "standard"})
    report("g", "isolated", [5, None, {"id": [], "version": {}}])
    answer = reader.get("/lists").json()
    assert {each["name"] for each in answer["shipped"]} >= set(files.SHIPPED)
    found = {(each["id"], each["version"]): each["machines"] for each in answer["inForce"]}
    assert found[("standard", "2")] == 2
    assert found[("standard", "1")] == 1
    assert found[("own", "7")] == 1
    assert answer["inForce"][0]["machines"] == 2
