"""From a portal's call to packets: real API, database, TLS, signature, agent and kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab import Lab, world
from tests.lab.agent import Agent
from tests.lab.controller import Caller, LabController

pytestmark = pytest.mark.e2e


@dataclass
class Fleet:
    """One controller and its one device."""

    lab: Lab
    controller: LabController
    caller: Caller
    agent: Agent
    machine_id: str

    def order(self, what: str, **body: object) -> Any:
        """The ended action of a call; an agent whose controller was away takes up to half a minute."""
        status, action = self.caller.post(
            f"/api/machines/{self.machine_id}/{what}", {"Comment": "INC-7", **body}
        )
        assert status == 201, action
        return self.caller.until_ended(action["id"], 60)

    def reaches_anybody(self) -> bool:
        return self.lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Lab() as lab, LabController(lab) as controller:
        caller = controller.caller()
        with lab.agent(controller.agent_config()) as agent:
            yield Fleet(lab, controller, caller, agent, caller.machine_id(60))
        caller.close()


def test_a_portal_s_call_isolates_and_releases(fleet: Fleet) -> None:
    assert fleet.reaches_anybody()
    action = fleet.order("isolate", IsolationType="Full")
    assert (action["status"], action["type"], action["failure"]) == ("Succeeded", "Isolate", None)
    assert action["creationDateTimeUtc"] < action["appliedDateTimeUtc"] <= action["verifiedDateTimeUtc"]
    assert not fleet.reaches_anybody()
    assert fleet.lab.reach.tls(world.WILDCARD).ok
    machine = fleet.caller.get(f"/api/machines/{fleet.machine_id}")[1]
    assert (machine["isolationState"], machine["observed"]["state"]) == ("isolated", "isolated")
    assert machine["observed"]["verified"]
    assert fleet.agent.isolator("release").exit_code == 1
    assert fleet.order("unisolate")["status"] == "Succeeded"
    assert fleet.reaches_anybody()
    assert fleet.lab.device.run(["nft", "list", "ruleset"], check=True).stdout == ""


def test_a_controller_that_was_killed_finds_its_device_as_it_left_it(fleet: Fleet) -> None:
    fleet.order("isolate", IsolationType="Selective")
    fleet.controller.kill()
    assert not fleet.reaches_anybody()
    fleet.controller.start()
    assert fleet.order("unisolate")["status"] == "Succeeded"
    assert fleet.reaches_anybody()


def test_a_file_releases_while_the_controller_is_away(fleet: Fleet) -> None:
    fleet.order("isolate")
    fleet.controller.stop()
    file = fleet.controller.directory / "release.json"
    fleet.controller.console("forced-release", fleet.machine_id, "--comment", "INC-7", "-o", str(file))
    done = fleet.agent.isolator("release", "--file", str(file))
    assert done.exit_code == 0, done.stderr
    assert fleet.reaches_anybody()
    assert fleet.agent.isolator("release", "--file", str(file)).exit_code == 2
    fleet.controller.start()
    newest = fleet.caller.get("/api/machineactions?$top=1")[1]["value"][0]
    assert fleet.caller.until_ended(newest["id"], 60)["status"] == "Succeeded"


def test_new_order_keys_are_followed(fleet: Fleet) -> None:
    fleet.controller.stop()
    fleet.controller.console("keys", "rotate", "--retire")
    fleet.controller.start()
    assert fleet.order("isolate")["status"] == "Succeeded"
    assert fleet.order("unisolate")["status"] == "Succeeded"
    link = json.loads((fleet.agent.state_dir / "link.json").read_text())
    assert link["holds"] is False
    assert fleet.controller.console("audit", "verify")["tenants"]["default"]["whole"]
