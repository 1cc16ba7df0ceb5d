"""A signed order over real TLS becomes rules in a real kernel, and a verified report; a signed release ends it."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from isolator.adapters.order_socket import ask
from isolator.core.policy_document import encode_order
from isolator.model.order import IsolationOrder
from tests.fakes.controller import TOKEN, FakeController
from tests.fakes.controller_server import ControllerServer
from tests.lab import Host, Lab, world
from tests.lab.agent import Agent

pytestmark = pytest.mark.netns

NAME, ADDRESS, PORT = "controller.vendor.example", "20.99.0.5", 9443


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab() as lab:
        lab.resolver.put(Host(NAME, (ADDRESS,)))
        yield lab


@dataclass
class Scene:
    """A device with its controller on the internet."""

    lab: Lab
    controller: FakeController
    server: ControllerServer
    agent: Agent

    def enrolled(self) -> None:
        self.controller.wait_for(lambda: self.controller.machines and self.controller.machine.check_ins)

    def reported(self, generation: int) -> dict[str, object]:
        """The first verified or failed report for that generation."""

        def found() -> list[dict[str, object]]:
            return [each for each in self.controller.machine.reports if each["generation"] == generation]

        self.controller.wait_for(found)
        return found()[0]

    def is_isolated(self) -> bool:
        listed = self.lab.device.run(["nft", "list", "tables"], check=True).stdout
        return bool(listed) and not self.lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok

    def is_free(self) -> bool:
        listed = self.lab.device.run(["nft", "list", "ruleset"], check=True).stdout
        return not listed and self.lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


@pytest.fixture
def scene(shared: Lab) -> Iterator[Callable[[str], Scene]]:
    listener = shared.internet.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ADDRESS, PORT))
    listener.listen(16)
    pem = shared.authority.issue("controller", (ADDRESS, NAME)).pem
    controller = FakeController()
    started: list[Agent] = []
    with ControllerServer(controller, listener, pem) as server:

        def make(host: str) -> Scene:
            agent = shared.agent(
                f"controller: {{url: 'https://{host}:{PORT}', ca: {shared.ca_pem}, enrolment_token: {TOKEN}}}\n"
            )
            agent.start()
            started.append(agent)
            made = Scene(shared, controller, server, agent)
            made.enrolled()
            return made

        yield make
        for agent in started:
            if controller.machine.order is not None:
                controller.order("connected")
                deadline = time.monotonic() + 5
                while "isolat" in agent.isolator("status", "--json").json()["state"]:
                    assert time.monotonic() < deadline
            agent.stop()
            deadline = time.monotonic() + 10
            while agent.listens():  # one that was started for an order ends by itself
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.parametrize("host", [ADDRESS, NAME], ids=["by_address", "by_name"])
def test_from_a_signed_order_to_a_verified_report_and_back(scene: Callable[[str], Scene], host: str) -> None:
    here = scene(host)
    assert here.is_free()
    report = here.reported(here.controller.order("isolated"))
    assert (report["state"], report["verified"], report["error"]) == ("isolated", True, None)
    assert here.is_isolated()
    status = here.agent.isolator("status", "--json").json()
    assert status["controller"]["enrolled"]
    assert status["controller"]["url"] == f"https://{host}:{PORT}"
    assert status["control_channel"]["ok"]
    report = here.reported(here.controller.order("connected"))
    assert (report["state"], report["verified"]) == ("connected", True)
    assert here.is_free()


def test_no_way_out_but_the_controller_s_word(scene: Callable[[str], Scene]) -> None:
    here = scene(ADDRESS)
    here.reported(here.controller.order("isolated"))
    refused = here.agent.isolator("release")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "the controller holds this host" in refused.stderr
    assert here.agent.isolator("isolate", "--for", "1s").exit_code == 1
    here.agent.kill()
    assert here.agent.isolator("release").exit_code == 1  # by an agent that is started for it
    assert here.is_isolated()


def test_the_order_outlives_agent_and_controller_and_the_line_comes_back(
    scene: Callable[[str], Scene],
) -> None:
    here = scene(NAME)  # the name has to be found anew, from inside the isolation
    here.reported(here.controller.order("isolated"))
    before = len(here.controller.machine.check_ins)
    here.agent.kill()
    here.server.cut()
    here.agent.start()
    assert here.is_isolated()
    here.controller.wait_for(lambda: len(here.controller.machine.check_ins) > before)
    latest = here.controller.machine.reports[-1]
    assert (latest["state"], latest["verified"]) == ("isolated", True)


def test_a_release_by_file_works_once_and_without_the_controller(
    scene: Callable[[str], Scene], shared: Lab
) -> None:
    here = scene(ADDRESS)
    here.reported(here.controller.order("isolated"))
    (machine_id,) = here.controller.machines
    silence = f"table ip silence {{\nchain c {{\ntype filter hook forward priority 0\nip daddr {ADDRESS} drop\nip saddr {ADDRESS} drop\n}}\n}}\n"
    shared.router.run(["nft", "-f", "-"], stdin=silence, check=True)
    try:
        path = here.agent.directory / "release.json"
        path.write_text(json.dumps(here.controller.release_file(machine_id)))
        wrong = here.agent.directory / "wrong.json"
        wrong.write_text(json.dumps(here.controller.release_file("cd" * 20)))
        refused = here.agent.isolator("release", "--file", str(wrong))
        assert (refused.exit_code, "another machine" in refused.stderr) == (2, True)
        assert here.is_isolated()
        assert here.agent.isolator("release", "--file", str(path)).exit_code == 0
        assert here.is_free()
        again = here.agent.isolator("release", "--file", str(path))
        assert (again.exit_code, "good" in again.stderr) == (2, True)
    finally:
        shared.router.run(["nft", "delete", "table", "ip", "silence"], check=True)


def test_an_order_costs_little_more_than_a_local_one(
    scene: Callable[[str], Scene], record_property: Callable[[str, object], None]
) -> None:
    """In turn on the same device, so that a busy machine is busy for both."""
    here = scene(ADDRESS)
    remote, local = [], []
    for _ in range(12):
        started = time.monotonic()
        here.reported(here.controller.order("isolated"))
        remote.append((time.monotonic() - started) * 1000)
        here.reported(here.controller.order("connected"))
        started = time.monotonic()
        ask(here.agent.socket, {"do": "isolate", "order": encode_order(IsolationOrder())}, 30.0)
        local.append((time.monotonic() - started) * 1000)
        ask(here.agent.socket, {"do": "release"}, 30.0)
    found = statistics.median(remote), statistics.median(local)
    print("order to verified report {:.0f} ms, local order {:.0f} ms (medians)".format(*found))
    record_property("order_to_verified_report_ms", round(found[0], 1))
    record_property("local_order_ms", round(found[1], 1))
    assert found[0] < 3 * found[1] + 50
