"""An isolation with an end (`--for`): it comes by itself, and no clock that can be set brings it or holds it up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import orders
from tests.lab import Lab, world
from tests.lab.agent import Agent

pytestmark = [pytest.mark.netns, pytest.mark.e2e]

HOUR, TEN_YEARS = 3600, 10 * 365 * 86_400
TICKS_S = 2.5
"""Time in which the agent looks at the clock twice."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def wall_clock(lab: Lab) -> dict[str, str]:
    """Environment of a program whose wall clock a test sets by writing to the file."""
    library = lab.directory / "wall_clock.so"
    source = Path(__file__).with_name("wall_clock.c")
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=60)
    return {"LD_PRELOAD": str(library), "WALL_CLOCK": str(lab.directory / "wall_clock")}


def set_wall_clock(environment: dict[str, str], seconds: int) -> None:
    file = Path(environment["WALL_CLOCK"])
    file.with_suffix(".new").write_text(str(seconds))
    file.with_suffix(".new").replace(file)


def is_isolated(lab: Lab) -> bool:
    """Judged by what is reached: listed yes, unlisted no."""
    assert lab.reach.tls(world.WILDCARD).ok
    return not lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


def wait_for_release(lab: Lab, agent: Agent, within_s: float = 15.0) -> float:
    """When (time.monotonic) the host was free on the wire; returns once the order is done; fails when it never is."""
    deadline = time.monotonic() + within_s
    while not lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok:
        assert time.monotonic() < deadline, "it is not released"
        time.sleep(0.02)
    free_at = time.monotonic()
    while orders.status(agent)["state"] != "connected":
        assert time.monotonic() < deadline, "the order does not end"
        time.sleep(0.02)
    return free_at


def tables(lab: Lab) -> str:
    return lab.device.run(["nft", "list", "tables"], check=True).stdout


def journal(agent: Agent) -> Any:
    return json.loads((agent.state_dir / "journal.json").read_text())


def test_the_end_comes_by_itself_and_the_person_is_told(lab: Lab) -> None:
    told = lab.directory / "told"
    hook = f'notify: {{command: [sh, -c, "cat >> {told}"]}}\n'
    with lab.agent(hook) as agent:
        ordered = time.monotonic()
        assert agent.isolator("isolate", "--for", "3s", "--comment", "INC-7").exit_code == 0
        assert is_isolated(lab)
        assert wait_for_release(lab, agent) - ordered >= 3, "not a moment too early"
        assert tables(lab) == ""
        end = time.monotonic() + 10
        while len(told.read_text().splitlines()) < 2:
            assert time.monotonic() < end, "the person was not told of both"
            time.sleep(0.05)
    kinds = [json.loads(line)["event"] for line in told.read_text().splitlines()]
    assert kinds == ["isolated", "expired"]


def test_an_end_may_be_put_off_and_taken_back(lab: Lab) -> None:
    with lab.agent() as agent:
        orders.isolate(agent, duration_s=2)
        orders.isolate(agent, duration_s=HOUR)
        time.sleep(2 + TICKS_S)
        assert is_isolated(lab)
        orders.isolate(agent)
        assert orders.status(agent)["expires_at"] is None
        orders.isolate(agent, duration_s=1)
        wait_for_release(lab, agent)


def test_a_jump_of_the_wall_clock_releases_nobody(lab: Lab, wall_clock: dict[str, str]) -> None:
    """Ten years forward, ten years back, and a start of the agent in between."""
    set_wall_clock(wall_clock, 0)
    with lab.agent(environment=wall_clock) as agent:
        orders.isolate(agent, duration_s=HOUR)
        for jump in (TEN_YEARS, -TEN_YEARS):
            set_wall_clock(wall_clock, jump)
            time.sleep(TICKS_S)
            found: Any = orders.status(agent)
            years = int(found["enforcement"]["verified_at"][:4]) - int(found["since"][:4])
            assert abs(years) >= 9, "control: the agent's clock has jumped"
            assert is_isolated(lab)
            agent.kill()
            agent.start()
            assert is_isolated(lab)
        orders.release(agent)


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS], ids=["forward", "back"])
def test_a_jump_of_the_wall_clock_holds_no_release_up(
    lab: Lab, wall_clock: dict[str, str], jump: int
) -> None:
    set_wall_clock(wall_clock, 0)
    with lab.agent(environment=wall_clock) as agent:
        ordered = time.monotonic()
        orders.isolate(agent, duration_s=3)
        set_wall_clock(wall_clock, jump)
        assert is_isolated(lab)
        assert wait_for_release(lab, agent) - ordered >= 3


def in_a_later_uptime(lab: Lab, agent: Agent, seconds: int) -> Agent:
    """The same agent on a machine whose boot clock is ahead: it slept, or ran on without the agent."""
    program = ("unshare", "--fork", "--kill-child", "-T", "--boottime", str(seconds), sys.executable)
    return Agent(lab.device, agent.directory, {}, (*program, "-m", "isolator"))


def end(agent: Agent) -> None:
    """unshare ignores SIGTERM; killed it takes the agent along, a moment later."""
    agent.kill()
    while agent.listens():
        time.sleep(0.01)


def skip_without_time_namespaces(lab: Lab) -> None:
    done = lab.device.run(["unshare", "--fork", "-T", "--boottime", "1", "true"])
    if done.returncode != 0:
        pytest.skip(f"lab.time_namespace_refused: {done.stderr.strip()}")


def test_time_in_which_no_agent_ran_or_the_machine_slept_counts(lab: Lab) -> None:
    """Positive control of the jumps: the boot clock is the one that counts."""
    skip_without_time_namespaces(lab)
    agent = lab.agent()
    agent.start()
    orders.isolate(agent, duration_s=HOUR)
    agent.kill()
    with in_a_later_uptime(lab, agent, HOUR - 120) as early:
        time.sleep(TICKS_S)
        assert is_isolated(lab)
        assert orders.status(early)["state"] == "isolated"
        end(early)
    with in_a_later_uptime(lab, agent, HOUR + 10) as late:
        wait_for_release(lab, late)
        end(late)
    assert tables(lab) == ""


def reboot(lab: Lab, agent: Agent, remaining_s: float) -> None:
    """As if the machine had gone down: no rules, and the journal is of another boot, longer up than this one."""
    lab.device.run(["nft", "flush", "ruleset"], check=True)
    document = journal(agent)
    expiry = document["isolation"]["expiry"]
    expiry |= {"boot_id": "00000000-0000-4000-8000-000000000000", "boottime": 1e9, "remaining_s": remaining_s}
    (agent.state_dir / "journal.json").write_text(json.dumps(document))


def test_a_reboot_neither_ends_it_nor_starts_the_time_anew(lab: Lab) -> None:
    agent = lab.agent()
    agent.start()
    orders.isolate(agent, duration_s=HOUR)
    agent.kill()
    reboot(lab, agent, remaining_s=5)
    assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok, "control: the rules went with the machine"
    started = time.monotonic()
    with agent:
        assert is_isolated(lab)
        agent.kill()
        agent.start()  # a crash after the reboot must not give the five seconds again
        assert wait_for_release(lab, agent) - started >= 5
        assert journal(agent)["state"] == "connected"


def test_the_time_runs_on_after_a_reboot_although_the_agent_dies_again_and_again(lab: Lab) -> None:
    agent = lab.agent()
    agent.start()
    orders.isolate(agent, duration_s=HOUR)
    agent.kill()
    reboot(lab, agent, remaining_s=4)
    deadline = time.monotonic() + 20
    while journal(agent)["state"] != "connected":
        assert time.monotonic() < deadline, "each start gives the time anew"
        agent.start()
        time.sleep(1.5)
        agent.kill()
    assert lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
