"""Files that are not what they should be: refused at once with the file's name, whatever they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, list_text
from tests.lab import Lab, world
from tests.lab.agent import Agent

pytestmark = [pytest.mark.netns, pytest.mark.e2e]

GOOD = list_text("own", [Row("20.90.0.0/24", 7)])
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


ODD: dict[str, Callable[[Path], object]] = {
    "absent": lambda path: None,
    "directory": Path.mkdir,
    "pipe nobody writes to": os.mkfifo,
    "link to itself": link_to_itself,
    "link to an endless device": lambda path: path.symlink_to("/dev/zero"),
    "not UTF-8": lambda path: path.write_bytes(b"header: {list_id: own}\n\xff\xfe\n"),
    "NUL bytes": lambda path: path.write_bytes(b"\0" * 100),
    "YAML bomb": lambda path: path.write_text(BOMB),
    "deep nesting": lambda path: path.write_text("[" * 50_000),
    "another document's shape": lambda path: path.write_text("- just\n- a list\n"),
    "key given twice": lambda path: path.write_text(GOOD + "header: {list_id: other}\n"),
    "python object": lambda path: path.write_text("!!python/object/apply:os.system ['true']\n"),
    "number without an end": lambda path: path.write_text(GOOD.replace("port: 7", "port: .inf")),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def running(lab: Lab) -> Iterator[Agent]:
    with lab.agent() as agent:
        yield agent


def is_free(lab: Lab) -> bool:
    empty = lab.device.run(["nft", "list", "ruleset"], check=True).stdout == ""
    return empty and lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok


@pytest.mark.parametrize("what", ODD)
def test_an_odd_list_is_refused(lab: Lab, running: Agent, tmp_path: Path, what: str) -> None:
    path = tmp_path / "own.yaml"
    ODD[what](path)
    outcome = running.isolator("isolate", "--list", str(path), timeout_s=10)
    assert (outcome.exit_code, outcome.stdout) == (2, ""), outcome
    assert outcome.stderr.startswith("isolator: ")
    assert outcome.stderr.count("\n") == 1
    assert str(path) in outcome.stderr
    assert is_free(lab)
    good = path.with_name("good.yaml")
    good.write_text(GOOD)
    assert running.isolator("isolate", "--list", str(good)).exit_code == 0, "control"
    orders.release(running)


@pytest.mark.parametrize("what", [what for what in ODD if what != "number without an end"])
def test_an_odd_configuration_is_refused(lab: Lab, what: str) -> None:
    agent = lab.agent()
    agent.config.unlink()
    ODD[what](agent.config)
    for command in ("isolate", "release"):
        outcome = agent.isolator(command, timeout_s=10)
        assert (outcome.exit_code, outcome.stdout) == (2, ""), outcome
        assert outcome.stderr.startswith("isolator: ")
        assert outcome.stderr.count("\n") == 1
        assert str(agent.config) in outcome.stderr
    assert is_free(lab)


def test_a_configuration_that_others_can_write_is_refused(lab: Lab) -> None:
    """What it names is run with our rights."""
    agent = lab.agent()
    agent.config.chmod(0o666)
    outcome = agent.isolator("isolate")
    assert outcome.exit_code == 2
    assert "can be written by others" in outcome.stderr
    assert is_free(lab)


JOURNALS = {
    "empty": "",
    "cut off": "{",
    "no object": "[]",
    "of a later version": '{"schema": 99}',
    "without its order": '{"schema": 1, "state": "isolated"}',
    "NUL bytes": "\0" * 50,
}


@pytest.mark.parametrize("what", JOURNALS)
def test_a_damaged_journal_lets_nobody_out_and_locks_nobody_in(lab: Lab, what: str) -> None:
    agent = lab.agent()
    with agent:
        orders.isolate(agent)
        agent.kill()
    (agent.state_dir / "journal.json").write_text(JOURNALS[what])
    assert not lab.reach.tcp(world.UNLISTED_ADDRESS.v4).ok
    outcome = agent.isolator("release", timeout_s=20)
    assert outcome.stderr.count("\n") <= 1, outcome
    assert "Traceback" not in outcome.stderr
    assert outcome.exit_code == 0, outcome
    assert is_free(lab)


def test_orders_given_twice_change_nothing_the_second_time(lab: Lab, running: Agent) -> None:
    first = orders.isolate(running)
    rules = lab.device.run(["nft", "-s", "-t", "list", "ruleset"], check=True).stdout
    again = orders.isolate(running)
    assert (first["changed"], again["changed"]) == (True, False)
    assert again["status"]["generation"] == first["status"]["generation"]
    assert again["status"]["since"] == first["status"]["since"]
    assert lab.device.run(["nft", "-s", "-t", "list", "ruleset"], check=True).stdout == rules
    released, twice = orders.release(running), orders.release(running)
    assert (released["changed"], twice["changed"]) == (True, False)
    assert twice["status"]["generation"] == released["status"]["generation"]
    assert is_free(lab)
