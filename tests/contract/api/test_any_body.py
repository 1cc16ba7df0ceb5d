"""Whatever JSON is posted, the answer is one of the documented codes in the one envelope, never a 5xx."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.core.roles import Role
from api.services import audit
from api.store.database import Database
from tests.contract.api.calls import Caller, caller, refusal
from tests.contract.api.controller import ACME, Controller, controller
from tests.contract.api.test_preflights_and_lists import REPORT
from tests.contract.api.test_two_tenants import api_routes

EXAMPLES = int(os.environ.get("API_EXAMPLES", "6"))
"""Per route; more of them for a long look."""

# What has broken parsers and databases before.
AWKWARD: st.SearchStrategy[Any] = st.sampled_from([
    "\0", "a\0b", "\ud800", "\uffff", "\u202e", "'; DROP TABLE machines; --", "%s%n", "../../etc/passwd", "x" * 5000,
    "NaN", "{{7*7}}", "<script>", "\n", " ", "", "🙂" * 300, 0, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308,
    True, False, None, [], {}, [[[[]]]],
])  # fmt: skip
NAMES = st.sampled_from([
    "Comment", "IsolationType", "ExternalId", "RequestSource", "Title", "Overrides", "MachineIds", "Release", "DryRun",
    "Force", "LastsSeconds", "Value", "Action", "tags", "groupId", "name", "direction", "remote", "port", "protocol",
    "process", "uses", "lastsSeconds", "role", "groups", "schema", "rows", "list", "", "\0",
])  # fmt: skip
ANY = st.recursive(
    AWKWARD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)
GOOD = [
    {"Comment": "x"},
    {"Comment": "x", "IsolationType": "Selective", "Overrides": ["cap"]},
    {"Comment": "x", "MachineIds": ["0" * 39 + "1"], "DryRun": True},
    {"Value": "x", "Action": "Add", "tags": ["x"]},
    {"groupId": 1, "name": "a name", "role": "reader", "groups": [1]},
    {"name": "vault", "direction": "out", "remote": "vault.example.com", "port": 443, "process": {"uid": 5}},
    {"uses": 1, "lastsSeconds": 60},
    REPORT,
]


@st.composite
def nearly_good(draw: st.DrawFn) -> Any:
    """A body of some call with one or two members replaced."""
    body: dict[str, Any] = dict(draw(st.sampled_from(GOOD)))
    for name in draw(st.lists(st.sampled_from(sorted(body)), max_size=2)):
        body[name] = draw(ANY)
    return body


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as made:
        yield made


LOOK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def spelled(path: str, machine_id: str) -> str:
    unknown = "00000000-0000-4000-8000-000000000000"
    names = ("action_id", "token_id", "client_id", "user_id", "exclusion_id")
    return path.format(machine_id=machine_id, **dict.fromkeys(names, unknown))


def post(who: Caller, method: str, path: str, body: Any) -> None:
    content = json.dumps(body).encode()
    headers = {**who.headers, "content-type": "application/json"}
    answer = who.world.http.request(method, f"/api{path}", content=content, headers=headers)
    if answer.status_code >= 300:
        refusal(answer)
        assert answer.status_code in (400, 403, 404, 409, 413), (path, content[:500], answer.text)


def posting(who: Caller, method: str, path: str) -> Callable[[Any], None]:
    def try_body(body: Any) -> None:
        post(who, method, path, body)

    return try_body


def test_any_body(world: Controller) -> None:
    who = caller(world, Role.ADMINISTRATOR)
    machine = world.machine("pc-1")
    routes = [(method, path) for method, path in api_routes() if method in ("POST", "PUT", "PATCH")]
    assert len(routes) > 15
    for method, path in routes:
        call = spelled(path, machine.id)

        LOOK(given(ANY | nearly_good())(posting(who, method, call)))()
        for each in GOOD:
            post(who, method, call, each)
    with world.services.database.read() as session:
        assert audit.verify(session, world.services, ACME).whole


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 100_000, b'{"Comment":"x","a":' + b"[" * 50_000])
def test_bodies_nested_too_deep(world: Controller, deep: bytes) -> None:
    who = caller(world, Role.ADMINISTRATOR)
    for path in ("/machines/pc-1/isolate", "/preflights", "/bulk/isolate"):
        for content in (deep, deep + b"]" * 100_000):
            headers = {**who.headers, "content-type": "application/json"}
            answer = world.http.post(f"/api{path}", content=content, headers=headers)
            assert refusal(answer)[0] in (400, 413), path
