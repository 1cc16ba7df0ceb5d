"""Every route, every role: found by walking the application, so that a new route cannot be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from api.core.roles import GRANTED, Permission, Role
from api.store.database import Database
from tests.contract.api.controller import ACME, OTHER, Controller, controller

READ, ISOLATE, ADMINISTER, AUDIT = (
    Permission.READ,
    Permission.ISOLATE,
    Permission.ADMINISTER,
    Permission.AUDIT,
)

OPEN = {
    "/",
    "/openapi.json",
    "/docs",
    "/healthz",
    "/readyz",
    "/metrics",  # loopback only, unless the settings say otherwise
    "/{tenant}/oauth2/v2.0/token",
    "/{tenant}/oauth2/token",
    "/{tenant}/.well-known/openid-configuration",
    "/{tenant}/v2.0/.well-known/openid-configuration",
    "/{tenant}/discovery/keys",
    "/{tenant}/discovery/v2.0/keys",
    "/common/discovery/instance",
    "/agent/v1/enrol",  # these two carry signatures of their own
    "/agent/v1/checkin",
}
"""What answers without a token."""

DESIGNED = {
    ("GET", "/api/machines"): READ,
    ("GET", "/api/machines/{machine_id}"): READ,
    ("GET", "/api/machines/{machine_id}/machineactions"): READ,
    ("GET", "/api/machineactions"): READ,
    ("GET", "/api/machineactions/{action_id}"): READ,
    ("GET", "/api/alerts"): READ,
    ("POST", "/api/machines/{machine_id}/isolate"): ISOLATE,
    ("POST", "/api/machines/{machine_id}/unisolate"): ISOLATE,
    ("POST", "/api/machineactions/{action_id}/cancel"): ISOLATE,
    ("POST", "/api/bulk/isolate"): ISOLATE,
    ("POST", "/api/machines/{machine_id}/forcedrelease"): ADMINISTER,
    ("POST", "/api/exclusions"): ADMINISTER,
    ("POST", "/api/groups"): ADMINISTER,
    ("POST", "/api/enrolmenttokens"): ADMINISTER,
    ("POST", "/api/clients"): ADMINISTER,
    ("POST", "/api/users"): ADMINISTER,
    ("GET", "/api/audit"): AUDIT,
    ("GET", "/api/audit/verify"): AUDIT,
}
"""The table of mde-api.md, as far as it names routes."""


class Found(NamedTuple):
    """A route, and the permission it states; None when it states none."""

    method: str
    path: str
    permission: Permission | None


def walk(app: FastAPI) -> list[Found]:
    """Every route of the application, the mounted portal apart."""
    found = []
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, Mount):
            assert context.path == "/portal"
            continue
        stated = permissions(getattr(context.original_route, "dependant", None))
        assert len(stated) <= 1, context.path
        for method in sorted((context.methods or set()) - {"HEAD"}):
            found.append(Found(method, str(context.path), next(iter(stated), None)))
    return found


def permissions(dependant: Any) -> set[Permission]:
    """What the dependencies of a handler ask for."""
    if dependant is None:
        return set()
    own = {dependant.call.permission} if hasattr(dependant.call, "permission") else set()
    return own.union(*(permissions(each) for each in dependant.dependencies))


def call(world: Controller, route: Found, headers: dict[str, str] | None = None) -> Any:
    path = re.sub(r"\{[^}]*\}", "1", route.path).replace("findbyip(1)", "findbyip(ip='192.0.2.1')")
    return world.http.request(
        route.method, path, headers=headers, json={} if route.method in ("POST", "PUT", "PATCH") else None
    )


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


def test_every_route_states_a_permission(world: Controller) -> None:
    routes = walk(world.app)
    assert len(routes) > 50
    silent = {route.path for route in routes if route.permission is None}
    assert silent <= OPEN, f"no permission and not known to be open: {sorted(silent - OPEN)}"


def test_the_table_of_the_design(world: Controller) -> None:
    stated = {(route.method, route.path): route.permission for route in walk(world.app)}
    assert {key: stated.get(key) for key in DESIGNED} == DESIGNED
    versioned = {key: stated[key] for key in stated if key[1].startswith("/api/v1.0/")}
    assert versioned
    for (method, path), permission in versioned.items():
        assert stated[method, path.replace("/v1.0", "", 1)] is permission


def test_the_walk_finds_a_forgotten_route(world: Controller) -> None:
    world.app.add_api_route("/api/forgotten", lambda: None)
    assert Found("GET", "/api/forgotten", None) in walk(world.app)


def test_without_a_token(world: Controller) -> None:
    for route in walk(world.app):
        if route.permission is not None:
            answer = call(world, route)
            assert answer.status_code == 401, route
            assert answer.json()["error"]["code"] == "Unauthorized"
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.value)
def test_every_role(world: Controller, role: Role) -> None:
    headers = world.headers(role)
    for route in walk(world.app):
        if route.permission is None:
            continue
        answer = call(world, route, headers)
        if route.permission in GRANTED[role]:
            assert answer.status_code in {200, 201, 204, 400, 404}, (route, answer.text)
        else:
            assert answer.status_code == 403, (route, answer.text)
            assert answer.json()["error"]["code"] == "Forbidden"


def test_another_tenants_things_do_not_exist(world: Controller) -> None:
    """Whatever names a machine, asked by the other tenant's administrator, finds none; the owner's finds it."""
    machine = world.machine("theirs")
    body = {"Comment": "x", "groupId": None, "tags": [], "Value": "x", "Action": "Add", "reason": "x"}
    ours, others = world.headers(Role.ADMINISTRATOR), world.headers(Role.ADMINISTRATOR, tenant=OTHER)
    for route in walk(world.app):
        if "{machine_id}" not in route.path:
            continue
        path = route.path.format(machine_id=machine.id)
        answer = world.http.request(
            route.method, path, headers=others, json=None if route.method == "GET" else body
        )
        assert answer.status_code in (400, 404), (route, answer.text)
        assert machine.computer_name not in answer.text
        if answer.status_code == 404:
            assert answer.json()["error"]["message"] == f"Machine {machine.id} was not found"
    assert world.http.get(f"/api/machines/{machine.id}", headers=ours).status_code == 200
    assert machine.id not in world.http.get("/api/machines", headers=others).text
    assert ACME not in world.http.get("/api/audit", headers=others).text


def test_the_portal_asks_strangers_to_sign_in(world: Controller) -> None:
    mounts = [each for each in world.app.routes if isinstance(each, Mount) and each.path == "/portal"]
    portal: Any = mounts[0].app
    while not isinstance(portal, FastAPI):  # it sits inside the middleware with its headers
        portal = getattr(portal, "app", None) or portal._app
    opened = set()
    for context in iter_route_contexts(portal.routes):
        for method in sorted((context.methods or set()) - {"HEAD"}):
            path = "/portal" + re.sub(r"\{[^}]*\}", "1", str(context.path))
            answer = world.http.request(method, path, follow_redirects=False)
            refused = answer.status_code in (400, 401, 403, 404, 422) or "/sign-in" in answer.headers.get(
                "location", ""
            )
            if not refused:
                opened.add((method, path))
    assert opened <= {("GET", "/portal/sign-in"), ("GET", "/portal/sso"), ("GET", "/portal/sso/callback")}, (
        opened
    )
