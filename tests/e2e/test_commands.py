"""The installed commands, as a person or a playbook meets them: on a real kernel, in the lab."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, world
from tests.lab.agent import Agent, Outcome
from tests.lab.ground import ROOT

pytestmark = [pytest.mark.netns, pytest.mark.e2e]

ONE_SENTENCE = 600
"""No error is longer than this, and none has a second line."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def agent(lab: Lab) -> Iterator[Agent]:
    """A fresh agent directory; whatever a test leaves isolated is released."""
    agent = lab.agent()
    yield agent
    agent.config.write_text("{}\n")
    assert agent.isolator("release").exit_code == 0
    _gone(agent)
    assert _tables(lab) == ""


def _tables(lab: Lab) -> str:
    return lab.device.run(["nft", "list", "tables"], 10.0, check=True).stdout.strip()


def _gone(agent: Agent, within_s: float = 8.0) -> None:
    """Wait until a standalone agent has left."""
    deadline = time.monotonic() + within_s
    while agent.listens():
        assert time.monotonic() < deadline, "the standalone agent stays"
        time.sleep(0.05)


def refused(outcome: Outcome, code: int, *said: str) -> None:
    """One sentence on stderr with these words in it, the documented exit code, nothing on stdout."""
    assert (outcome.exit_code, outcome.stdout) == (code, ""), outcome
    assert outcome.stderr.startswith("isolator: "), outcome.stderr
    assert outcome.stderr.count("\n") == 1, outcome.stderr
    assert len(outcome.stderr) < ONE_SENTENCE
    for word in said:
        assert word in outcome.stderr


STATUS_KEYS = {
    "state", "isolation_type", "lists", "since", "expires_at", "generation", "enforcement",
    "control_channel", "learned", "counters", "alerts", "refused", "refused_forgotten",
}  # fmt: skip


def test_a_whole_life(lab: Lab, agent: Agent) -> None:
    """Without a running agent: isolate starts one, it goes after release; each command twice is harmless."""
    first = agent.isolator("isolate", "--comment", "INC-1", "--json")
    assert first.exit_code == 0, first
    assert first.json()["changed"] is True
    again = agent.isolator("isolate", "--comment", "INC-1")
    assert (again.exit_code, again.stdout.split(":")[0]) == (0, "already isolated, verified")
    status = agent.isolator("status", "--json").json()
    assert set(status) >= STATUS_KEYS
    assert (status["state"], status["isolation_type"], status["comment"]) == ("isolated", "full", "INC-1")
    assert set(status["enforcement"]) >= {"backend", "layers", "verified", "verified_at", "repairs"}
    assert status["enforcement"]["verified"] is True
    assert status["lists"][0].keys() == {"id", "version", "entries"}
    assert lab.reach.tls(world.WILDCARD).ok
    assert not lab.reach.tls(world.UNLISTED).ok
    released = agent.isolator("release", "--json")
    assert (released.exit_code, released.json()["changed"]) == (0, True)
    assert released.json()["status"]["state"] == "connected"
    _gone(agent)
    assert _tables(lab) == ""
    assert lab.reach.tls(world.UNLISTED).ok


def test_release_of_a_free_host_is_no_error(agent: Agent) -> None:
    outcome = agent.isolator("release")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert "already released" in outcome.stdout


def test_status_without_an_agent(agent: Agent) -> None:
    refused(agent.isolator("status"), 3, "no agent answers", "isolator agent")


def test_an_end_that_comes_by_itself(lab: Lab, agent: Agent) -> None:
    assert agent.isolator("isolate", "--for", "2s").exit_code == 0
    assert agent.isolator("status", "--json").json()["expires_at"]
    deadline = time.monotonic() + 10
    while _tables(lab):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert lab.reach.tls(world.UNLISTED).ok


def test_selective_opens_the_exclusions(lab: Lab, agent: Agent) -> None:
    agent.config.write_text(
        "exclusions:\n- {name: wiki, direction: out, remote: www.example.com, port: 443, protocol: tcp}\n"
    )
    assert agent.isolator("isolate").exit_code == 0
    assert not lab.reach.tls(world.UNLISTED).ok
    assert agent.isolator("isolate", "--type", "selective").exit_code == 0
    assert lab.reach.tls(world.UNLISTED).ok
    assert not lab.reach.tls("github.com").ok


def test_a_dry_run_changes_nothing(lab: Lab, agent: Agent) -> None:
    outcome = agent.isolator("isolate", "--dry-run", "--list", "standard", "--geo", "EU", "--json")
    assert outcome.exit_code == 0, outcome
    shown = outcome.json()
    assert {"entry", "pattern", "ports"} == set(shown["open_names"][0])
    assert _tables(lab) == ""


def test_explain_before_and_during(lab: Lab, agent: Agent) -> None:
    before = agent.isolator("explain", f"tcp://{world.UNLISTED}:443", "--json").json()
    assert (before["verdict"], before["if_isolated"]["verdict"]) == ("accept", "reject")
    assert _tables(lab) == ""
    assert agent.isolator("isolate").exit_code == 0
    during = agent.isolator("explain", f"tcp://{world.WILDCARD}:443", "--json").json()
    assert (during["verdict"], during["entry"]) == ("accept", "mde-streamlined-commercial#1")
    assert "learned4" in during["rule"] or "learned6" in during["rule"]
    assert [(each["at"], each["how"]) for each in during["first_bytes"]] == [
        ("tcp/443", "tls_server_name"), ("udp/443", "refused"),
    ]  # fmt: skip
    assert during["refused"] == []
    assert not lab.reach.tls(world.UNLISTED).ok
    refused = agent.isolator("explain", world.UNLISTED, "--json").json()["refused"]
    assert {(each["name"], each["reason"]) for each in refused} == {(world.UNLISTED, "dns_name_not_allowed")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ("empty",)),
        ("header: {list_id: own}\nentries: []\n", ("own.yaml:2",)),
        ("header: {list_id: own}\nentries:\n- {pattern: 'not a host!'}\n", ("own.yaml:3",)),
        ("header: {list_id: own}\nentries:\n- {pattern: a.test, port: 70000}\n", ("own.yaml:3", "70000")),
        ("header: {list_id: own}\nentries:\n- {pattern: a.test, colour: red}\n", ("own.yaml:3", "colour")),
        ("header: {list_id: own\n", ("own.yaml:",)),
        (
            "header: {list_id: own}\nentries:\n- {pattern: a.test, isolation: false}\n",
            ("leave nothing open",),
        ),
    ],
)
def test_a_bad_list_names_file_line_and_reason(
    lab: Lab, agent: Agent, text: str, said: tuple[str, ...]
) -> None:
    own = agent.directory / "own.yaml"
    own.write_text(text)
    refused(agent.isolator("isolate", "--list", str(own)), 2, *said)
    assert _tables(lab) == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("isolate", "--list", "./absent.yaml"), 2, "absent.yaml"),
        (("isolate", "--list", "nonsense"), 2, "nonsense"),
        (("isolate", "--geo", "XX"), 2, "XX"),
        (("isolate", "--for", "soon"), 2, "soon"),
        (("isolate", "--for", "0s"), 2, "0s"),
        (("explain", "ftp://x"), 2, "tcp"),
        (("explain", "tcp://a..b:1"), 2, "a..b"),
    ],
)
def test_bad_arguments(lab: Lab, agent: Agent, arguments: tuple[str, ...], code: int, said: str) -> None:
    refused(agent.isolator(*arguments), code, said)
    assert _tables(lab) == ""


def test_an_unknown_option_is_a_usage_error(agent: Agent) -> None:
    outcome = agent.isolator("isolate", "--colour", "red")
    assert outcome.exit_code == 2
    assert "--colour" in outcome.stderr


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("colour: red\n", ("agent.yaml:1", "colour")),
        ("geo: [EU]\nresolvers: [not-an-address]\n", ("agent.yaml:2", "not-an-address")),
        ("proxies:\n- {address: 127.0.0.1, port: 3128}\n", ("agent.yaml:2", "this host itself")),
    ],
)
def test_a_bad_configuration_does_not_touch_the_host(
    lab: Lab, agent: Agent, config: str, said: tuple[str, ...]
) -> None:
    agent.config.write_text(config)
    refused(agent.isolator("isolate"), 2, *said)
    assert _tables(lab) == ""


def test_a_bad_configuration_does_not_touch_an_isolation(lab: Lab, agent: Agent) -> None:
    assert agent.isolator("isolate").exit_code == 0
    rules = lab.device.run(["nft", "-s", "-t", "list", "ruleset"], 10.0).stdout
    agent.config.write_text("colour: red\n")
    refused(agent.isolator("isolate", "--list", "standard"), 2, "agent.yaml:1")
    assert lab.device.run(["nft", "-s", "-t", "list", "ruleset"], 10.0).stdout == rules
    assert agent.isolator("status", "--json").json()["enforcement"]["verified"] is True


def test_no_resolver(lab: Lab, agent: Agent) -> None:
    before = lab.device.resolv_conf.read_text()
    lab.set_resolvers([])
    try:
        refused(agent.isolator("isolate"), 2, "resolver")
        assert _tables(lab) == ""
    finally:
        lab.device.resolv_conf.write_text(before)


def test_a_list_that_would_cut_the_control_channel(lab: Lab, agent: Agent) -> None:
    agent.config.write_text("control_channel: [{host: nowhere.example.net, port: 443}]\n")
    refused(agent.isolator("isolate"), 2, "nowhere.example.net", "nothing was changed")
    assert _tables(lab) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="lab.plain_user: needs another user to become")
def test_no_permission(lab: Lab, agent: Agent) -> None:
    """A plain user is told so, and nothing is written anywhere."""
    for directory in (agent.directory, agent.directory.parent):
        directory.chmod(0o755)
    setpriv = shutil.which("setpriv")
    assert setpriv
    python = _readable_python()
    command = (setpriv, "--reuid", "65534", "--clear-groups", "--", python, "-m", "isolator")
    stranger = Agent(agent.namespace, agent.directory, {}, command)
    refused(stranger.isolator("isolate"), 4, "root")
    refused(stranger.isolator("release"), 4, "root")
    assert agent.isolator("isolate").exit_code == 0
    refused(stranger.isolator("status"), 4, "root")
    refused(stranger.isolator("release"), 4, "root")
    assert agent.isolator("status", "--json").json()["state"] == "isolated"


def _readable_python() -> str:
    """An interpreter that another user can run: ours, else Debian's (the command needs nothing installed)."""
    for interpreter in (Path(sys.executable), Path("/usr/bin/python3")):
        real = interpreter.resolve()
        if real.exists() and all(
            part.stat().st_mode & 0o001 for part in (real, *real.parents, ROOT, *ROOT.parents)
        ):
            return str(interpreter)
    pytest.skip("lab.private_python: another user can run neither this interpreter nor /usr/bin/python3")


def test_without_the_right_to_change_the_network(lab: Lab, agent: Agent) -> None:
    """Root without CAP_NET_ADMIN, as in a container."""
    setpriv = shutil.which("setpriv")
    assert setpriv
    command = (setpriv, "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "--", sys.executable, "-m", "isolator")  # fmt: skip
    weak = Agent(agent.namespace, agent.directory, {}, command)
    refused(weak.isolator("isolate"), 4, "CAP_NET_ADMIN")
    doctor = weak.isolator("doctor", "--json")
    assert doctor.exit_code == 4
    found = {each["code"]: each["available"] for each in doctor.json()["capabilities"]}
    assert found["permission"] is False
    assert _tables(lab) == ""


def test_doctor_finds_what_isolation_needs(lab: Lab, agent: Agent) -> None:
    doctor = agent.isolator("doctor", "--json")
    assert doctor.exit_code == 0, doctor
    answer = doctor.json()
    assert answer["ok"] is True
    for each in answer["capabilities"]:
        assert set(each) == {"code", "available", "required", "detail", "lost_without"}
    assert json.dumps(answer)
    assert _tables(lab) == ""


def test_two_agents_side_by_side(lab: Lab, agent: Agent) -> None:
    with Lab() as other:
        second = other.agent()
        assert agent.isolator("isolate").exit_code == 0
        assert second.isolator("isolate").exit_code == 0
        assert agent.isolator("release").exit_code == 0
        assert lab.reach.tls(world.UNLISTED).ok
        assert not other.reach.tls(world.UNLISTED).ok
        assert second.isolator("release").exit_code == 0


def test_a_second_agent_on_the_same_socket_is_refused(agent: Agent) -> None:
    agent.start()
    second = agent.isolator("agent")
    refused_line = second.stderr.splitlines()[-1]
    assert second.exit_code == 1
    assert refused_line.startswith("isolator: another agent answers")
    agent.stop()


@pytest.mark.parametrize(
    "command", [(), ("agent",), ("isolate",), ("release",), ("status",), ("explain",), ("doctor",)]
)
def test_every_command_helps_with_an_example(agent: Agent, command: tuple[str, ...]) -> None:
    outcome = agent.isolator(*command, "--help")
    assert outcome.exit_code == 0
    assert "example" in outcome.stdout
