"""From a portal's call to packets: real API, database, TLS, signature, agent and kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.real_controller import ADDRESS, PORT, RealController, keys_of
from tests.lab import Lab, world
from tests.lab.agent import Agent

pytestmark = pytest.mark.e2e


@dataclass
class Fleet:
    """One controller and its one device."""

    lab: Lab
    controller: RealController
    agent: Agent
    machine_id: str

    def order(self, what: str, **body: object) -> Any:
        """The ended action of a call."""
        action = self.controller.post(f"/api/machines/{self.machine_id}/{what}", {"Comment": "INC-7", **body})
        return self.controller.ended(action["id"])

    def reaches_anybody(self) -> bool:
        return self.lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Lab() as lab:
        controller = RealController(lab)
        controller.start()
        try:
            token = controller.enrolment_token()
            controller.sign_in()
            url = f"https://{ADDRESS}:{PORT}"
            agent = lab.agent(f"controller: {{url: '{url}', ca: {lab.ca_pem}, enrolment_token: {token}}}\n")
            with agent:
                machine_id = _enrolled(agent)
                yield Fleet(lab, controller, agent, machine_id)
        finally:
            controller.stop()


def _enrolled(agent: Agent) -> str:
    for _ in range(100):
        shown = agent.isolator("status", "--json").json()["controller"]
        if shown["last_contact_at"]:
            return str(shown["machine_id"])
    raise AssertionError(agent.log.read_text())


def test_a_portal_s_call_isolates_and_releases(fleet: Fleet) -> None:
    assert fleet.reaches_anybody()
    action = fleet.order("isolate", IsolationType="Full")
    assert (action["status"], action["type"]) == ("Succeeded", "Isolate")
    assert not fleet.reaches_anybody()
    assert fleet.lab.reach.tls(world.WILDCARD).ok
    machine = fleet.controller.get(f"/api/machines/{fleet.machine_id}")
    assert machine["isolationState"] == "isolated"
    assert fleet.agent.isolator("release").exit_code == 1
    assert fleet.order("unisolate")["status"] == "Succeeded"
    assert fleet.reaches_anybody()


def test_a_controller_that_was_killed_finds_its_device_as_it_left_it(fleet: Fleet) -> None:
    fleet.order("isolate", IsolationType="Selective")
    fleet.controller.stop()
    assert not fleet.reaches_anybody()
    fleet.controller.start()
    assert fleet.order("unisolate")["status"] == "Succeeded"
    assert fleet.reaches_anybody()


def test_a_file_releases_while_the_controller_is_away(fleet: Fleet) -> None:
    fleet.order("isolate")
    fleet.controller.stop()
    file = fleet.controller.directory / "release.json"
    fleet.controller.command("forced-release", fleet.machine_id, "--comment", "INC-7", "-o", str(file))
    done = fleet.agent.isolator("release", "--file", str(file))
    assert done.exit_code == 0, done.stderr
    assert fleet.reaches_anybody()
    assert fleet.agent.isolator("release", "--file", str(file)).exit_code == 2
    fleet.controller.start()
    newest = fleet.controller.get("/api/machineactions?$top=1")["value"][0]
    assert fleet.controller.ended(newest["id"])["status"] == "Succeeded"


def test_new_order_keys_are_followed(fleet: Fleet) -> None:
    fleet.controller.stop()
    fleet.controller.command("keys", "rotate", "--root", str(keys_of(fleet.controller)), "--retire")
    fleet.controller.start()
    assert fleet.order("isolate")["status"] == "Succeeded"
    assert fleet.order("unisolate")["status"] == "Succeeded"
    link = json.loads((fleet.agent.state_dir / "link.json").read_text())
    assert link["holds"] is False
