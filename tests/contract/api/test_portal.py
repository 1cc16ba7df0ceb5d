"""The portal's pages and their queries on both databases, without a browser."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.exceptions import StarletteDeprecationWarning

from api.core.roles import Role
from api.portal import sessions
from api.portal.machine_filter import ATTENTION, DESIRED, OBSERVED, ORDERS
from api.portal.site import install
from api.services import groups, preflights, users
from api.store.database import Database
from api.store.tables import Action
from api.store.tables import Session as SessionRow
from isolator.core.signed import decode_envelope, open_envelope
from isolator.model.signed import Kind
from tests.contract.api.agents_world import World, make_world
from tests.fleet.agent import Agent

with warnings.catch_warnings():
    # It prefers another HTTP library than the one we have; both do.
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient

REPORT = Path(__file__).resolve().parents[2] / "golden/preflight/company.json"


@dataclass
class Portal:
    """A signed-in administrator's browser, as far as HTTP goes."""

    world: World
    http: TestClient
    agent: Agent
    csrf: str

    def get(self, path: str) -> tuple[int, str]:
        answer = self.http.get(f"/portal{path}")
        return answer.status_code, answer.text

    def post(self, path: str, **fields: str) -> int:
        answer = self.http.post(
            f"/portal{path}", data={"csrf": self.csrf, **fields}, headers={"Origin": "https://testserver"}
        )
        return int(answer.status_code)


@pytest.fixture
def portal(database: Database, tmp_path: Path) -> Iterator[Portal]:
    world = make_world(database, tmp_path)
    agent = world.agent("host-1")
    world.take(agent.check_in())
    user = users.create(world.services, world.admin, "admin", Role.ADMINISTRATOR).user
    with database.write() as session:
        session.merge(user).must_change_password = False
    app = FastAPI()
    install(app, world.services)
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as http:
        http.cookies.set(sessions.COOKIE, sessions.begin(world.services, user))
        with database.read() as session:
            csrf = session.scalars(select(SessionRow.csrf_token)).one()
        yield Portal(world, http, agent, csrf)
    world.services.wake.close()  # type: ignore[attr-defined]


def test_every_page_opens(portal: Portal) -> None:
    report = preflights.take_report(
        portal.world.services, portal.world.admin, json.loads(REPORT.read_text("utf-8")), "host-1"
    )
    action = portal.world.isolate(portal.agent)
    machine = f"/machines/{portal.agent.machine_id}"
    paths = [
        *(
            "/machines",
            machine,
            f"{machine}/isolate",
            f"{machine}/release",
            "/actions",
            f"/actions/{action.id}",
        ),
        *(
            "/preflights",
            f"/preflights/{report.id}",
            "/audit",
            "/enrolment",
            "/clients",
            "/exclusions",
            "/groups",
        ),
        *("/users", "/account", "/password", "/sign-in"),
        *(f"/actions?machine={portal.agent.machine_id}&status=Pending", f"{machine}/live?seen=x"),
        "/audit?target=abc&actor=ad%25min&action=machine&before=99",
    ]
    assert {path: portal.get(path)[0] for path in paths} == dict.fromkeys(paths, 200)


def test_every_filter_and_order_is_a_query_of_this_database(portal: Portal) -> None:
    groups.create_group(portal.world.services, portal.world.admin, "Lab")
    links = [
        *(f"desired={each}" for each in DESIRED),
        *(f"observed={each}" for each in OBSERVED),
        *(f"attention={each}" for each in ATTENTION),
        *(f"order={each}" for each in ORDERS),
        *("q=HOST", "q=%25%5C_", "q=192.0.2", "group=1", "group=none", "group=999999999", "page=100000"),
        "q=host&group=none&desired=connected&observed=connected&order=group",
    ]
    assert {each: portal.get(f"/machines?{each}")[0] for each in links} == dict.fromkeys(links, 200)
    assert "host-1" in portal.get("/machines?q=HOST")[1]
    assert "host-1" not in portal.get("/machines?q=%25x")[1]


def test_the_audit_log_is_narrowed_by_who_did_it_not_by_what_it_names(portal: Portal) -> None:
    users.create(portal.world.services, portal.world.admin, "suzuki", Role.READER)
    assert "suzuki" not in portal.get("/audit?actor=suzuki")[1].partition("<tbody>")[2]
    assert "user.create" in portal.get("/audit?actor=admin&action=user.create")[1]


@pytest.mark.parametrize(
    "path",
    [
        "/machines/%00",
        "/machines/%00/live?seen=",
        "/actions/%00",
        "/preflights/%00",
        "/actions?machine=%00",
        "/audit?target=%00",
        "/machines/%ED%A0%80",
        "/machines/" + "a" * 5000,
        "/actions/00000000-0000-0000-0000-000000000000",
        "/sign-in?next=%00",
    ],
)
def test_odd_addresses_are_no_failure(path: str, portal: Portal) -> None:
    assert portal.get(path)[0] < 500


def test_a_release_file_is_for_one_machine_and_signed(portal: Portal) -> None:
    path = f"/machines/{portal.agent.machine_id}/forced-release"
    assert portal.get(path)[0] == 200
    assert portal.post(path, comment="offline since Monday", hours="0") == 400
    assert portal.post(path, comment=" ", hours="72") == 400
    answer = portal.http.post(
        f"/portal{path}",
        data={"csrf": portal.csrf, "comment": "offline since Monday", "hours": "72"},
        headers={"Origin": "https://testserver"},
    )
    assert answer.headers["content-disposition"].startswith('attachment; filename="forced-release-')
    document = open_envelope(
        decode_envelope(answer.json()), Kind.FORCED_RELEASE, portal.world.services.keys.order_keys
    )
    assert document["machine_id"] == portal.agent.machine_id
    assert "machine.forced_release" in portal.world.audited()


def test_orders_cancels_and_forms(portal: Portal) -> None:
    machine = f"/machines/{portal.agent.machine_id}"
    assert portal.post(f"{machine}/isolate", comment="why", scope="full", generation="0") == 303
    with portal.world.services.database.read() as session:
        action = session.scalars(select(Action)).one()
    assert portal.post(f"/actions/{action.id}/cancel", comment="not that one") == 303
    assert portal.world.action(action).status == "Cancelled"
    assert portal.post(f"/actions/{action.id}/cancel", comment="again") == 400
    assert portal.post("/groups", name="Lab") == 303
    assert portal.post(f"{machine}/place", group="1", tags="a, b ,a") == 303
    assert portal.world.machine(portal.agent).tags == ["a", "b"]
    assert portal.post("/enrolment", uses="0", hours="1") == 400
    assert portal.post("/clients", name="x", role="emperor") == 400
    assert portal.post("/users", name="x", role="reader", groups="999") == 400
    assert portal.post("/audit/check") == 200
