"""From POST to packet through the real stack: API, database, long poll, signature, agent, kernel, report."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import Lab, world
from tests.lab.agent import Agent
from tests.lab.controller import LabController

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def controller(lab: Lab) -> Iterator[LabController]:
    with LabController(lab) as made:
        yield made


@pytest.fixture(scope="module")
def agent(lab: Lab, controller: LabController) -> Iterator[Agent]:
    made = lab.agent(controller.agent_config())
    made.start()
    yield made
    made.stop()


def is_cut_off(lab: Lab) -> bool:
    return not lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


def test_isolate_and_release_as_a_playbook_does(lab: Lab, controller: LabController, agent: Agent) -> None:
    caller = controller.caller()
    machine = caller.machine_id()
    assert not is_cut_off(lab)
    status, action = caller.post(
        f"/api/machines/{machine}/isolate", {"Comment": "INC-4711", "IsolationType": "Full"}
    )
    assert (status, action["status"], action["type"]) == (201, "Pending", "Isolate")
    ended = caller.until_ended(action["id"])
    assert (ended["status"], ended["failure"]) == ("Succeeded", None)
    assert ended["creationDateTimeUtc"] < ended["appliedDateTimeUtc"] <= ended["verifiedDateTimeUtc"]
    assert is_cut_off(lab)
    seen = caller.get(f"/api/machines/{machine}")[1]
    assert (seen["isolationState"], seen["observed"]["state"], seen["observed"]["verified"]) == (
        "isolated",
        "isolated",
        True,
    )
    status, again = caller.post(f"/api/machines/{machine}/unisolate", {"Comment": "done"})
    assert status == 201
    assert caller.until_ended(again["id"])["status"] == "Succeeded"
    assert not is_cut_off(lab)
    assert lab.device.run(["nft", "list", "ruleset"], check=True).stdout == ""
    caller.close()


def test_an_isolated_device_keeps_its_line_when_the_controller_comes_back(
    lab: Lab, controller: LabController, agent: Agent
) -> None:
    caller = controller.caller()
    machine = caller.machine_id()
    ordered = caller.post(f"/api/machines/{machine}/isolate", {"Comment": "restart"})[1]
    assert caller.until_ended(ordered["id"])["status"] == "Succeeded"
    caller.close()
    controller.stop()
    assert is_cut_off(lab)
    controller.start()
    caller = controller.caller()
    ordered = caller.post(f"/api/machines/{machine}/unisolate", {"Comment": "restart"})[1]
    assert caller.until_ended(ordered["id"], 60)["status"] == "Succeeded"
    assert not is_cut_off(lab)
    assert controller.console("audit", "verify")["tenants"]["default"]["whole"]
    caller.close()
