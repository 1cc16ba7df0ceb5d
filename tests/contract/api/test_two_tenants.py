"""Two tenants, and people limited to groups: nobody sees or orders what is not theirs, by any route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.routing import Route

from api.app import application
from api.core.roles import Role
from api.services import clients, enrolment, exclusions, preflights, users
from api.store.database import Database
from api.store.tables import Base
from tests.contract.api.calls import caller, group, orders, refusal, row
from tests.contract.api.controller import OTHER, Controller, console, controller
from tests.contract.api.test_preflights_and_lists import REPORT

SECRET = "zeppelin"
"""In every name of the other tenant; must be in no answer to the first."""


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


@pytest.fixture
def theirs(world: Controller) -> dict[str, str]:
    """One of everything of the other tenant: path parameter -> id."""
    services, actor = world.services, console(OTHER)
    group_id = group(world, f"{SECRET} desks", OTHER)
    machine = world.machine(f"{SECRET}-pc", tenant=OTHER, group=group_id)
    action = caller(world, Role.OPERATOR, tenant=OTHER).isolate(machine, Title=SECRET)
    exclusion = exclusions.create_exclusion(
        services, actor, f"{SECRET}-vault", {"direction": "out", "remote": "vault.example.com", "port": 443}
    )
    return {
        "machine_id": machine.id,
        "machine_name": machine.computer_name,
        "action_id": action.json()["id"],
        "exclusion_id": exclusion.id,
        "report_id": preflights.take_report(services, actor, REPORT, f"{SECRET}-host").id,
        "token_id": enrolment.create_token(services, actor, uses=5, group_id=group_id).row.id,
        "client_id": clients.create(services, actor, SECRET, Role.READER).client.id,
        "user_id": users.create(services, actor, SECRET, Role.READER).user.id,
        "group_id": str(group_id),
    }


def bodies(theirs: dict[str, str]) -> dict[str, Any]:
    """A good body for each call that takes one; ids in it are the other tenant's."""
    group_id = int(theirs["group_id"])
    comment = {"Comment": "x"}
    holder = {"name": "new", "role": "reader", "groups": [group_id]}
    exclusion = {"name": "new", "direction": "out", "remote": "a.example.com", "port": 443}
    return {
        "/machines/{machine_id}/isolate": comment,
        "/machines/{machine_id}/unisolate": comment,
        "/machines/{machine_id}/forcedrelease": comment,
        "/machines/{machine_id}/unenrol": {**comment, "Force": True},
        "/machines/{machine_id}/dismissduplicate": comment,
        "/machines/{machine_id}/tags": {"Value": "x", "Action": "Add", "tags": ["x"]},
        "/machines/{machine_id}/group": {"groupId": None},
        "/machineactions/{action_id}/cancel": comment,
        "/bulk/isolate": {**comment, "MachineIds": [theirs["machine_id"]]},
        "/exclusions": {**exclusion, "groupId": group_id},
        "/preflights": REPORT,
        "/groups": {"name": "new"},
        "/enrolmenttokens": {"groupId": group_id},
        "/clients": holder,
        "/users": holder,
        "/clients/{client_id}/revoke": None,
        "/users/{user_id}/password": None,
        "/users/{user_id}/disable": None,
        "/users/{user_id}/enable": None,
        "/enrolmenttokens/{token_id}/revoke": None,
    }


GLOBAL = ("/lists", "/lists/{name}/export", "/alerts")
"""Calls whose answers are alike for everybody."""


def api_routes() -> list[tuple[str, str]]:
    """Method and path, below /api, of every route that takes a token."""
    return [
        (method, each.path)
        for router in (*application._MDE, *application._OWN)
        for each in router.routes
        if isinstance(each, Route)
        for method in sorted(each.methods or ())
        if method != "HEAD"
    ]


def belongings(world: Controller, tenant: str) -> str:
    """Every row of a tenant, as text."""
    found = []
    with world.services.database.read() as session:
        for table in Base.metadata.sorted_tables:
            if "tenant_id" in table.c and table.name != "api_clients":
                rows = session.execute(select(table).where(table.c.tenant_id == tenant))
                found += sorted(repr(tuple(each)) for each in rows)
    return "\n".join(found)


def test_no_route_reaches_across(world: Controller, theirs: dict[str, str]) -> None:
    admin = caller(world, Role.ADMINISTRATOR)
    mine = world.machine("mine")
    before = belongings(world, OTHER)
    assert SECRET in before
    given = bodies(theirs)
    called = 0
    for method, path in api_routes():
        body = given[path] if method not in ("GET", "DELETE") else None
        spelled = [path]
        if "{arguments}" in path:
            spelled = [path.format(arguments="ip='10.0.0.7',timestamp=2026-03-01T12:00:00Z")]
        elif "{" in path and path not in GLOBAL:
            spelled = [path.format(**theirs)]
            if "{machine_id}" in path:
                spelled.append(path.replace("{machine_id}", theirs["machine_name"]))
        elif path in GLOBAL:
            continue
        for each in spelled:
            answer = admin.call(method, each, body)
            called += 1
            text = (
                answer.text.lower().replace(theirs["machine_name"], "")
                if "not found" in answer.text
                else answer.text
            )
            assert SECRET not in text, (method, each, answer.text)
            if "{" in path and "{arguments}" not in path:
                assert refusal(answer) == (404, "ResourceNotFound"), (method, each)
    assert called > 35
    assert belongings(world, OTHER) == before
    assert row(world, mine).generation == 0
    bulk = admin.post("/bulk/isolate", given["/bulk/isolate"]).json()
    assert bulk["results"][0]["error"]["code"] == "ResourceNotFound"
    for path in ("/exclusions", "/enrolmenttokens"):
        assert refusal(admin.post(path, given[path])) == (404, "ResourceNotFound")
    for path in ("/clients", "/users"):
        assert refusal(admin.post(path, given[path])) == (400, "InvalidInput")
    assert (
        refusal(admin.call("PUT", f"/machines/{mine.id}/group", {"groupId": int(theirs["group_id"])}))[0]
        == 404
    )


def test_filters_and_page_tokens_do_not_reach_across(world: Controller, theirs: dict[str, str]) -> None:
    admin, other = caller(world, Role.ADMINISTRATOR), caller(world, Role.ADMINISTRATOR, tenant=OTHER)
    for number in range(3):
        world.machine(f"mine-{number}")
        world.machine(f"{SECRET}-{number}", tenant=OTHER)
    for text in (
        "id ne 'x' or true",
        f"contains(computerDnsName,'{SECRET}')",
        f"rbacGroupName eq '{SECRET} desks' or 1 eq rbacGroupId or rbacGroupId ge 0",
        "not (computerDnsName eq 'x')",
    ):
        answer = admin.get("/machines", params={"$filter": text})
        assert answer.status_code == 200, answer.text
        assert SECRET not in answer.text
    link = other.get("/machines?pageSize=1").json()["@odata.nextLink"]
    answer = world.http.get(link, headers=admin.headers)
    assert SECRET not in answer.text
    counted = admin.get("/machines?$count=true&$top=0").json()
    assert counted["@odata.count"] == 3


def test_people_limited_to_groups(world: Controller) -> None:
    desks, servers = group(world, "desks"), group(world, "servers")
    mine = world.machine("desk-1", group=desks)
    foreign = [world.machine("server-1", group=servers), world.machine("loose")]
    theirs = [caller(world, Role.OPERATOR).isolate(each).json()["id"] for each in foreign]
    for role in (Role.OPERATOR, Role.ADMINISTRATOR):
        limited = caller(world, role, groups=[desks])
        assert [each["id"] for each in limited.get("/machines").json()["value"]] == [mine.id]
        shown = limited.get("/machines?$count=true&$filter=rbacGroupId ge 0").json()
        assert shown["@odata.count"] == 1
        assert limited.get("/machineactions").json()["value"] == []
        assert [each["name"] for each in limited.get("/groups").json()] == ["desks"]
        for machine, action in zip(foreign, theirs, strict=True):
            for name in (machine.id, machine.computer_name):
                assert refusal(limited.get(f"/machines/{name}"))[0] == 404
                assert refusal(limited.get(f"/machines/{name}/machineactions"))[0] == 404
            assert refusal(limited.isolate(machine))[0] == 404
            assert refusal(limited.unisolate(machine))[0] == 404
            assert refusal(limited.cancel(action))[0] == 404
            assert refusal(limited.get(f"/machineactions/{action}"))[0] == 404
            bulk = limited.post(
                "/bulk/isolate", {"MachineIds": [machine.id, mine.id], "Comment": "x", "DryRun": True}
            )
            assert [each["outcome"] for each in bulk.json()["results"]] == ["refused", "would_be_ordered"]
    assert limited.isolate(mine).status_code == 201
    nobody = caller(world, Role.OPERATOR, groups=[])
    assert nobody.get("/machines").json()["value"] == []
    assert refusal(nobody.isolate(mine))[0] == 404


def test_an_administrator_limited_to_groups_stays_in_them(world: Controller) -> None:
    desks, servers = group(world, "desks"), group(world, "servers")
    mine, server = world.machine("desk-1", group=desks), world.machine("server-1", group=servers)
    limited = caller(world, Role.ADMINISTRATOR, groups=[desks])
    spec = {"name": "new", "direction": "out", "remote": "a.example.com", "port": 443}
    everywhere = exclusions.create_exclusion(world.services, console(), "all", {**_spec(spec)})
    servers_only = exclusions.create_exclusion(world.services, console(), "srv", {**_spec(spec)}, servers)
    assert [each["name"] for each in limited.get("/exclusions").json()] == ["all"]
    token = enrolment.create_token(world.services, console())
    assert limited.get("/enrolmenttokens").json() == []
    for method, path, body, status in (
        ("PUT", f"/machines/{mine.id}/group", {"groupId": servers}, 404),
        ("PUT", f"/machines/{mine.id}/group", {"groupId": None}, 403),
        ("PUT", f"/machines/{server.id}/group", {"groupId": desks}, 404),
        ("PUT", f"/machines/{server.id}/tags", {"tags": []}, 404),
        ("POST", f"/machines/{server.id}/forcedrelease", {"Comment": "x"}, 404),
        ("POST", "/groups", {"name": "more"}, 403),
        ("POST", "/exclusions", spec, 403),
        ("POST", "/exclusions", {**spec, "groupId": servers}, 404),
        ("DELETE", f"/exclusions/{everywhere.id}", None, 403),
        ("DELETE", f"/exclusions/{servers_only.id}", None, 404),
        ("POST", "/enrolmenttokens", {"groupId": servers}, 404),
        ("POST", "/enrolmenttokens", {}, 403),
        ("POST", f"/enrolmenttokens/{token.row.id}/revoke", None, 404),
    ):
        assert refusal(limited.call(method, path, body))[0] == status, (method, path)
    assert limited.post("/exclusions", {**spec, "groupId": desks}).status_code == 201
    assert limited.post("/enrolmenttokens", {"groupId": desks}).status_code == 201
    assert len(limited.get("/enrolmenttokens").json()) == 1
    assert row(world, mine).group_id == desks


def _spec(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "name"}


def test_orders_of_one_tenant_carry_nothing_of_the_other(world: Controller, theirs: dict[str, str]) -> None:
    machine = world.machine("mine")
    caller(world, Role.OPERATOR).isolate(machine, IsolationType="Selective")
    assert SECRET not in json.dumps(orders(world, machine))
