"""Machines and machine actions as Microsoft's API shows them: shape, pages, links, search by address."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from sqlalchemy import event

from api.core.action_state import ActionEvent
from api.core.instant import render_instant
from api.core.roles import Role
from api.services.addresses import note_addresses
from api.store.database import Database
from api.store.tables import Machine
from tests.contract.api.calls import Caller, caller, group, move, refusal
from tests.contract.api.controller import OTHER, URL, Controller, controller

_FORMATS = FormatChecker(["uuid"])


@_FORMATS.checks("date-time", raises=ValueError)
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or (value.endswith("Z") and datetime.fromisoformat(value) is not None)


def schema(name: str) -> tuple[Draft202012Validator, set[str]]:
    """The JSON Schema that an independent client was generated from, and the names in it."""
    (wheel,) = (Path(sys.prefix) / "schemas").glob("mde_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        document = json.loads(archive.read(f"mde_client/contracts/{name}/schema.schema.json"))
    return Draft202012Validator(document, format_checker=_FORMATS), set(document["properties"])


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


@pytest.fixture
def admin(world: Controller) -> Caller:
    return caller(world, Role.ADMINISTRATOR)


def change(world: Controller, machine: Machine, **values: Any) -> None:
    with world.services.database.write() as session:
        row = session.get_one(Machine, machine.id)
        for name, value in values.items():
            setattr(row, name, value)


FACTS: tuple[dict[str, Any], ...] = (
    {},
    {
        "processor": "x64",
        "version": "12",
        "os_build": 6012,
        "architecture": "64-bit",
        "ip_addresses": [
            {"ipAddress": "10.0.0.7", "macAddress": "02AB", "operationalStatus": "Up", "type": "Ethernet"},
            {"ipAddress": "fe80::1"},
        ],
    },
    # What no honest agent sends: other types than are meant.
    {"processor": 5, "version": None, "os_build": "x", "architecture": [], "ip_addresses": {"a": 1}},
    {"os_build": True, "ip_addresses": [None, 5, "10.0.0.1", {"ipAddress": 7}, {}]},
)


def test_machines_fit_the_schema(world: Controller, admin: Caller) -> None:
    validator, names = schema("machine")
    for number, facts in enumerate(FACTS):
        machine = world.machine(f"pc-{number}", group=group(world, f"group {number}"))
        change(world, machine, facts=facts, tags=["a", 5, None], os_platform="" if number else "Linux")
    change(world, machine, unenrolled_at=world.clock.at, excluded_reason="test", last_ip=None)
    for start in ("", "/v1.0"):
        listed = admin.get(f"{start}/machines").json()["value"]
        assert len(listed) == len(FACTS)
        for each in [*listed, *(admin.get(f"{start}/machines/{each['id']}").json() for each in listed)]:
            validator.validate(each)
            assert names <= set(each)
            assert each["aadDeviceId"] is None
    assert [each["rbacGroupName"] for each in listed] == [f"group {number}" for number in (3, 2, 1, 0)]
    assert listed[-2]["ipAddresses"][0]["type"] == "Ethernet"


def test_actions_fit_the_schema(world: Controller, admin: Caller) -> None:
    validator, names = schema("machine_action")
    first, second = world.machine("pc-1"), world.machine("pc-2")
    isolated = admin.isolate(first, IsolationType="Selective", ExternalId="INC-1", Title="ransomware")
    assert isolated.status_code == 201
    move(world, isolated.json()["id"], ActionEvent.DELIVERED, ActionEvent.VERIFIED)
    answers = [isolated.json(), admin.unisolate(first).json(), admin.isolate(second).json()]
    cancelled = admin.cancel(answers[2]["id"])
    assert cancelled.status_code == 200
    answers += [cancelled.json(), *admin.get("/machineactions").json()["value"]]
    answers += [admin.get(f"/machineactions/{each['id']}").json() for each in answers]
    answers += admin.get("/v1.0/machines/PC-1/machineactions").json()["value"]
    for each in answers:
        validator.validate(each)
        assert names <= set(each)
        assert each["lastUpdateTimeUtc"] == each["lastUpdateDateTimeUtc"]
    assert len(admin.get("/machines/pc-1/machineactions").json()["value"]) == 2
    done = admin.get(f"/machineactions/{isolated.json()['id']}").json()
    assert (done["status"], done["scope"], done["title"]) == ("Succeeded", "Selective", "ransomware")
    assert done["verifiedDateTimeUtc"]
    gone = cancelled.json()
    assert (gone["status"], gone["cancellationComment"]) == ("Cancelled", "a mistake")
    assert gone["cancellationRequestor"] == gone["requestor"]


def test_found_by_id_or_name_in_any_spelling(world: Controller, admin: Caller) -> None:
    machine = world.machine("Pc-1.example")
    for name in (machine.id, machine.id.upper(), "pc-1.EXAMPLE", "Pc-1.example/"):
        assert admin.get(f"/machines/{name}").json()["id"] == machine.id
    answer = admin.get("/machines/pc-2")
    assert refusal(answer) == (404, "ResourceNotFound")
    assert answer.json()["error"]["message"] == "Machine pc-2 was not found"
    for name in ("%00", "%ff", "x" * 3000, "'", "..%2f", "%25"):
        assert admin.get(f"/machines/{name}").status_code in (400, 404)
    assert refusal(admin.get("/machineactions/nope")) == (404, "ResourceNotFound")
    assert refusal(admin.get("/machines/pc-2/machineactions")) == (404, "ResourceNotFound")


def pages(admin: Caller, path: str) -> list[dict[str, Any]]:
    """Every page of a list, by its links."""
    found = [admin.get(path).json()]
    while link := found[-1].get("@odata.nextLink"):
        assert link.startswith(f"{URL}/api/")
        answer = admin.world.http.get(link, headers=admin.headers)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        assert len(found) < 50
    return found


def test_pages(world: Controller, admin: Caller) -> None:
    ids = []
    for number in range(25):
        world.clock.advance(1)
        ids.append(world.machine(f"pc {number}'+&").id)
    ids.reverse()
    found = pages(admin, "/machines?pageSize=10&$count=true")
    assert [len(each["value"]) for each in found] == [10, 10, 5]
    assert [each["@odata.count"] for each in found] == [25] * 3
    assert [each["id"] for page in found for each in page["value"]] == ids
    assert found[0]["@odata.context"] == f"{URL}/api/$metadata#Machines"
    limited = pages(admin, "/machines?pageSize=5&$top=12&$skip=3")
    assert [each["id"] for page in limited for each in page["value"]] == ids[3:15]
    awkward = quote("startswith(computerDnsName,'pc 1''+&') or computerDnsName eq 'pc 2''+&'", safe="")
    chosen = pages(admin, f"/v1.0/machines/?pageSize=1&%24filter={awkward}&$select=computerDnsName,id")
    assert [each["computerDnsName"] for page in chosen for each in page["value"]] == ["pc 2'+&", "pc 1'+&"]
    assert chosen[0]["@odata.context"].endswith("#Machines(computerDnsName,id)")
    assert set(chosen[0]["value"][0]) == {"computerDnsName", "id"}
    assert "/api/v1.0/machines" in chosen[0]["@odata.nextLink"]


def test_actions_by_options(world: Controller, admin: Caller) -> None:
    for number in range(3):
        world.clock.advance(60)
        assert admin.isolate(world.machine(f"pc-{number}")).status_code == 201
    since = render_instant(world.clock.at - timedelta(seconds=70))
    assert since is not None
    for text in (
        f"creationDateTimeUtc ge {since}",
        "status eq 'Pending' and computerDnsName in ('pc-1','PC-2')",
        "Type EQ 'Isolate' AND NOT (computerDnsName eq 'pc-0')",
    ):
        value = admin.get("/machineactions", params={"$filter": text}).json()["value"]
        assert [each["computerDnsName"] for each in value] == ["pc-2", "pc-1"], text
    assert admin.get("/machineactions?$top=0&$count=true").json()["@odata.count"] == 3
    for wrong in ("$filter=nope eq 1", "$top=10001", "$orderby=", "$skiptoken=abc", "$expand=x", "$filter=("):
        for path in ("/machineactions", "/machines", "/machines/pc-1/machineactions"):
            assert refusal(admin.get(f"{path}?{wrong}")) == (400, "ODataError")


def test_no_answer_is_tiny(world: Controller, admin: Caller) -> None:
    world.machine("pc-1")
    at = "timestamp=2026-03-01T12:00:00Z"
    for path in (
        "/machines?$filter=computerDnsName eq 'x'",
        "/machineactions",
        "/machines/pc-1/machineactions",
        "/alerts",
        f"/machines/findbyip(ip='192.0.2.1',{at})",
        "/machines?$top=1&$select=deviceValue",
    ):
        assert len(admin.get(path).content) > 100, path


def test_links_follow_the_host_a_client_has_built_in(world: Controller, admin: Caller) -> None:
    world.machine("pc-1")
    world.machine("pc-2")
    for host, base in (
        ("api.securitycenter.microsoft.com", "https://api.securitycenter.microsoft.com"),
        ("api-eu.security.microsoft.com:443", "https://api-eu.security.microsoft.com:443"),
        ("evil.example", URL),
        ("evil.example/.security.microsoft.com", URL),
        ("security.microsoft.com.evil.example", URL),
    ):
        headers = {**admin.headers, "host": host}
        link = world.http.get("/api/machines?pageSize=1", headers=headers).json()["@odata.nextLink"]
        assert link.startswith(f"{base}/api/machines?"), host


def test_groups_are_not_asked_one_by_one(world: Controller, admin: Caller) -> None:
    counted: list[str] = []

    def statements(path: str) -> int:
        counted.clear()
        assert admin.get(path).status_code == 200
        return len(counted)

    event.listen(
        world.services.database.engine, "before_cursor_execute", lambda *each: counted.append(each[2])
    )
    groups = [group(world, f"group {number}") for number in range(4)]
    world.machine("pc", group=groups[0])
    few = statements("/machines?$count=true")
    for number in range(20):
        world.machine(f"pc-{number}", group=groups[number % 4])
    assert statements("/machines?$count=true") == few


def have(world: Controller, machine: Machine, *addresses: str) -> None:
    with world.services.database.write() as session:
        row = session.get_one(Machine, machine.id)
        row.facts = {"ip_addresses": [{"ipAddress": each} for each in addresses]}
        row.last_seen = world.clock.at
        note_addresses(session, row, world.clock.at)


def test_find_by_address(world: Controller) -> None:
    mine, later, theirs = world.machine("pc-1"), world.machine("pc-2"), world.machine("x", tenant=OTHER)
    start = world.clock.at
    have(world, mine, "10.0.0.7", "2001:db8::7")
    have(world, theirs, "10.0.0.7")
    world.clock.advance(3600)
    have(world, mine, "10.0.0.8")
    world.clock.advance(60)
    have(world, later, "10.0.0.7")
    admin = caller(world, Role.ADMINISTRATOR)

    def find(ip: str, minutes: float, form: str = "ip='{}',timestamp={}") -> list[str]:
        at = render_instant(start + timedelta(minutes=minutes)) or ""
        answer = admin.get(f"/machines/findbyip({form.format(ip, at)})")
        assert answer.status_code == 200, answer.text
        return [each["computerDnsName"] for each in answer.json()["value"]]

    assert find("10.0.0.7", 0) == ["pc-1"]
    assert find("10.0.0.7", -14) == ["pc-1"]
    assert find("10.0.0.7", -16) == []
    assert sorted(find("10.0.0.7", 50)) == ["pc-1", "pc-2"]
    assert find("10.0.0.7", 76) == ["pc-2"]
    assert find("2001:DB8:0::7", 0) == ["pc-1"]
    assert find("10.0.0.9", 0) == []
    for form in (
        "ip=%27{}%27,timestamp={}",
        "ip='{}', timestamp={}",
        "IP='{}',Timestamp={}",
        "ip='{}',timestamp='{}'",
    ):
        assert find("10.0.0.7", 0, form) == ["pc-1"], form
    assert admin.get("/v1.0/Machines/FindByIp(ip='10.0.0.7',timestamp=2026-03-01T12:00:00Z)/").json()["value"]


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "ip='10.0.0.7'",
        "timestamp=2026-03-01T12:00:00Z",
        "ip=10.0.0.7,timestamp=2026-03-01T12:00:00Z",
        "ip='10.0.0.300',timestamp=2026-03-01T12:00:00Z",
        "ip='pc-1',timestamp=2026-03-01T12:00:00Z",
        "ip='10.0.0.0%2F8',timestamp=2026-03-01T12:00:00Z",
        "ip='',timestamp=2026-03-01T12:00:00Z",
        "ip='10.0.0.7',timestamp=yesterday",
        "ip='10.0.0.7',timestamp=",
        "ip='10.0.0.7',timestamp=2026-02-30T12:00:00Z",
        "ip='10.0.0.7',timestamp=2026-01-29T12:00:00Z",
        "ip='10.0.0.7',timestamp=2026-03-01T13:00:00Z",
        "ip='10.0.0.7',timestamp=0001-01-01T00:00:00%2B14:00",
        "ip='10.0.0.7',timestamp=9999-12-31T23:59:59-14:00",
        "ip='%00',timestamp=2026-03-01T12:00:00Z",
    ],
)
def test_find_by_address_refuses(admin: Caller, arguments: str) -> None:
    assert admin.get(f"/machines/findbyip({arguments})").status_code in (400, 404)


def test_tags(world: Controller, admin: Caller) -> None:
    machine = world.machine("pc-1")

    def tag(value: str, action: str = "Add") -> Any:
        return admin.post(f"/machines/{machine.id}/tags", {"Value": value, "Action": action})

    assert tag("finance").json()["machineTags"] == ["finance"]
    assert tag(" finance ").json()["machineTags"] == ["finance"]
    assert tag("b").json()["machineTags"] == ["finance", "b"]
    assert tag("finance", "Remove").json()["machineTags"] == ["b"]
    assert tag("finance", "Remove").json()["machineTags"] == ["b"]
    for bad in ({}, {"Value": "x"}, {"Value": "x", "Action": "add"}, {"Value": "", "Action": "Add"},
                {"Value": "x" * 101, "Action": "Add"}, {"Value": "a\x00b", "Action": "Add"}):  # fmt: skip
        assert admin.post(f"/machines/{machine.id}/tags", bad).status_code == 400
    filtered = admin.get("/machines", params={"$filter": "machineTags/any(t: t eq 'b')"}).json()
    assert [each["id"] for each in filtered["value"]] == [machine.id]
