"""P4, fail closed: whatever of ours is gone or stuck, what was shut stays shut and what was open by address stays.

Each attempt to use the failure is made once on the released host too, where it succeeds.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.ruleset import APPROVED_BIT
from tests.e2e import orders
from tests.e2e.marked_queries import SO_MARK, MarkedQueries
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, topology, world
from tests.lab.agent import Agent
from tests.lab.ports import ECHO

pytestmark = pytest.mark.netns

NAMED, BY_NAME, BY_NETWORK = "api.vendor.example", "20.91.0.1", "20.90.0.7"
ROUTER = topology.ADDRESSES[topology.ROUTER]
ROWS = (Row("20.90.0.0/24", ECHO), Row(NAMED, ECHO))


@dataclass(frozen=True, slots=True)
class Scene:
    """An isolated device."""

    lab: Lab
    agent: Agent
    policy: str

    def signal(self, number: signal.Signals) -> None:
        """To the agent."""
        assert self.agent.process is not None
        os.kill(self.agent.process.pid, number)

    def assert_closed_and_open(self, *, judged: bool = True) -> None:
        """By address what was open is open, nothing else, and no name that is not listed leaves.

        `judged`: somebody hears the names that new connections say, and opens to those that are listed.
        """
        far, neighbour = world.UNLISTED_ADDRESS, self.lab.neighbour.addresses
        assert self.lab.reach.tcp(BY_NETWORK).ok
        assert self.lab.reach.tcp(BY_NAME).ok is judged
        for address in (far.v4, far.v6, neighbour.v4, neighbour.v6):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            assert not self.lab.reach.tcp(address, family=family).ok, address
            assert not self.lab.reach.udp(address, family=family).ok, address
        for server in (ROUTER.v4, ROUTER.v6):
            queries = MarkedQueries(self.lab)
            queries.send(server=server)
            queries.send(server=server, mark=APPROVED_BIT)
            assert queries.arrived() == 0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.resolver.put(Host(NAMED, (BY_NAME,)))
        yield made


@pytest.fixture
def scene(lab: Lab) -> Iterator[Scene]:
    """Isolated; whatever the test did to the agent, the device is free afterwards."""
    policy = write_list(lab.directory / "own.yaml", ROWS)
    agent = lab.agent(f"lists: [{policy}]\n")
    with agent:
        orders.isolate(agent)
        made = Scene(lab, agent, policy)
        yield made
        assert agent.process is not None
        if agent.process.poll() is not None:
            agent.start()
        made.signal(signal.SIGCONT)
        orders.release(agent)


def test_the_attempts_succeed_when_not_isolated(lab: Lab) -> None:
    """Positive control of everything below."""
    far, neighbour = world.UNLISTED_ADDRESS, lab.neighbour.addresses
    for address in (far.v4, far.v6, neighbour.v4, neighbour.v6):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        assert lab.reach.tcp(address, family=family).ok
        assert lab.reach.udp(address, family=family).ok
    for server in (ROUTER.v4, ROUTER.v6):
        queries = MarkedQueries(lab)
        queries.send(100, server=server)
        queries.send(server=server, mark=APPROVED_BIT)
        assert queries.arrived() == 101


def test_a_mark_of_ones_own_opens_nothing(scene: Scene) -> None:
    """The gate's approval cannot be brought along: it is removed before the gate looks."""
    scene.assert_closed_and_open()
    queries = MarkedQueries(scene.lab)
    for mark in (APPROVED_BIT, 0xFFFFFFFF, APPROVED_BIT | 1):
        queries.send(10, mark=mark)
    assert queries.arrived() == 0
    for mark in (APPROVED_BIT, 0xFFFFFFFF):
        with scene.lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark.to_bytes(4, sys.byteorder))
            with pytest.raises(PermissionError):
                sock.sendto(b"marked", (world.UNLISTED_ADDRESS.v4, ECHO))


def test_the_agent_is_killed(scene: Scene) -> None:
    """Flows by address go on, open ones and new ones; those that named a host go on; no other is opened."""
    with scene.lab.reach.session(BY_NAME) as old:
        scene.agent.kill()
        assert old.echoes()
        scene.assert_closed_and_open(judged=False)
        assert old.echoes()
        assert not scene.lab.reach.dns(NAMED).ok
        scene.agent.start()
        assert old.echoes()
        assert scene.lab.reach.dns(NAMED).ok
        scene.assert_closed_and_open()


def test_the_agent_is_stopped_and_its_queue_overflows(scene: Scene) -> None:
    """20,000 queries wait for nobody; those that do not fit are dropped, and later ones are judged as ever."""
    flood = MarkedQueries(scene.lab)
    scene.signal(signal.SIGSTOP)
    flood.send(20_000)
    assert flood.arrived() == 0
    scene.assert_closed_and_open(judged=False)
    scene.signal(signal.SIGCONT)
    deadline = time.monotonic() + 20
    while not scene.lab.reach.dns(NAMED).ok:
        assert time.monotonic() < deadline, "the gate did not come back to work"
    assert orders.status(scene.agent)["queue"]["dropped_full"] > 0
    assert scene.lab.reach.dns(world.UNLISTED).detail == "refused"
    assert flood.arrived() == 0


def test_the_rule_that_feeds_the_queue_is_flushed(scene: Scene) -> None:
    """Queries nobody judges are refused at once, with a forged mark as well; the watch puts the rule back."""
    scene.signal(signal.SIGSTOP)
    scene.lab.device.run(["nft", "flush", "chain", "inet", "isolator", "dns_queue"], check=True)
    queries = MarkedQueries(scene.lab)
    assert queries.send(10) == 10
    assert queries.send(10, mark=APPROVED_BIT) == 10
    scene.assert_closed_and_open(judged=False)
    scene.signal(signal.SIGCONT)
    deadline = time.monotonic() + 20
    # The rule is back before the repair is counted.
    while not scene.lab.reach.dns(NAMED).ok or orders.status(scene.agent)["enforcement"]["repairs"] == 0:
        assert time.monotonic() < deadline, "the rule was not put back"
    assert queries.arrived() == 0
    scene.assert_closed_and_open()


def test_another_program_that_takes_over_the_queue_cannot_be_started_beside_us(scene: Scene) -> None:
    """A second agent in the same network must not take the queue, nor the first one's isolation."""
    other = scene.lab.agent(f"lists: [{scene.policy}]\n")
    with other:
        with pytest.raises(IsolatorError) as refused:
            orders.isolate(other)
        assert refused.value.code in (FailureCode.NO_QUEUE, FailureCode.IN_PROGRESS)
    scene.assert_closed_and_open()
    assert scene.lab.reach.dns(NAMED).ok


class FullDisk:
    """A small file system on the agent's state directory, in the device's own mounts."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        self._directory = directory
        lab.device.run(["mount", "-t", "tmpfs", "-o", "size=1m", "full", str(directory)], check=True)

    def fill(self) -> None:
        done = self._lab.device.run(["dd", "if=/dev/zero", f"of={self._directory}/ballast", "bs=4k"])
        assert "No space left" in done.stderr

    def empty(self) -> None:
        self._lab.device.run(["rm", "-f", f"{self._directory}/ballast"], check=True)


def test_a_full_disk_refuses_the_order_and_leaves_the_host_alone(lab: Lab) -> None:
    policy = write_list(lab.directory / "own.yaml", ROWS)
    agent = lab.agent(f"lists: [{policy}]\n")
    disk = FullDisk(lab, agent.state_dir)
    with agent:
        disk.fill()
        outcome = agent.isolator("isolate")
        assert outcome.exit_code == 1
        assert outcome.stderr.startswith("isolator: ")
        assert outcome.stderr.count("\n") == 1
        assert "No space left" in outcome.stderr
        assert lab.device.run(["nft", "list", "ruleset"], check=True).stdout == ""
        assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
        disk.empty()
        orders.isolate(agent)
        disk.fill()
        scene = Scene(lab, agent, policy)
        for arguments in (("release",), ("isolate", "--list", "streamlined")):
            outcome = agent.isolator(*arguments)
            assert outcome.exit_code == 1, outcome
            assert "No space left" in outcome.stderr
            scene.assert_closed_and_open()
            found = orders.status(agent)
            assert (found["state"], found["enforcement"]["verified"]) == ("isolated", True)
            assert [each["id"] for each in found["lists"]] == ["own"]
        disk.empty()
        orders.release(agent)
        assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
