"""Starting and stopping the product in the lab, with a stand-in that does what an agent does at its edges."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.lab import Lab, LabError

pytestmark = pytest.mark.netns

STAND_IN = """
import json, os, pathlib, signal, socket, sys
if sys.argv[1] != "agent":
    names = ("ISOLATOR_CONFIG", "ISOLATOR_STATE_DIR", "ISOLATOR_SOCKET", "EXTRA")
    told = {name: os.environ.get(name) for name in names}
    links = [name for _, name in socket.if_nameindex()]
    print(json.dumps({"arguments": sys.argv[1:], "told": told, "links": links}))
    print("one sentence", file=sys.stderr)
    raise SystemExit(3)
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if "refuse" in pathlib.Path(options["--config"]).read_text():
    raise SystemExit("bad config, line 1")
pathlib.Path(options["--state-dir"], "journal").write_text("here")
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
listener = socket.socket(socket.AF_UNIX)
pathlib.Path(options["--socket"]).unlink(missing_ok=True)
listener.bind(options["--socket"])
listener.listen()
while True:
    with listener.accept()[0] as client:
        client.recv(100)
        client.sendall(b"{}\\n")
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> tuple[str, ...]:
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    return (sys.executable, str(program))


def test_an_agent_starts_stops_dies_and_starts_again(module_lab: Lab, stand_in: tuple[str, ...]) -> None:
    agent = module_lab.agent(command=stand_in)
    assert not agent.listens()
    agent.start()
    assert agent.listens()
    assert (agent.state_dir / "journal").read_text() == "here"
    with pytest.raises(RuntimeError, match="running already"):
        agent.start()
    assert agent.stop() == 0
    assert not agent.listens()
    agent.start()
    agent.kill()
    assert agent.process is not None
    assert agent.process.returncode == -signal.SIGKILL
    with agent:
        assert agent.listens()
    assert not agent.listens()


def test_two_agents_have_nothing_in_common(module_lab: Lab, stand_in: tuple[str, ...]) -> None:
    one, two = (module_lab.agent(command=stand_in) for _ in range(2))
    assert {one.config, one.state_dir, one.socket}.isdisjoint({two.config, two.state_dir, two.socket})
    with one:
        assert not two.listens()


def test_an_agent_that_refuses_is_reported_with_its_words(module_lab: Lab, stand_in: tuple[str, ...]) -> None:
    agent = module_lab.agent("refuse\n", command=stand_in)
    with pytest.raises(LabError, match=r"lab\.agent_not_up.*bad config, line 1"):
        agent.start()


def test_a_command_gives_exit_code_and_both_outputs(module_lab: Lab, stand_in: tuple[str, ...]) -> None:
    agent = module_lab.agent(environment={"EXTRA": "hook"}, command=stand_in)
    outcome = agent.isolator("status", "--json")
    assert (outcome.exit_code, outcome.stderr) == (3, "one sentence\n")
    told = {
        "ISOLATOR_CONFIG": str(agent.config),
        "ISOLATOR_STATE_DIR": str(agent.state_dir),
        "ISOLATOR_SOCKET": str(agent.socket),
        "EXTRA": "hook",
    }
    assert outcome.json() == {"arguments": ["status", "--json"], "told": told, "links": ["lo", "eth0"]}


def test_an_agent_never_started_cannot_be_stopped(module_lab: Lab) -> None:
    with pytest.raises(RuntimeError, match="never started"):
        module_lab.agent().stop()
