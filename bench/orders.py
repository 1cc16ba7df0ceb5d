"""How long an order takes: over the socket to a running agent, as a command, and where the time goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.figure import Figure, Spread, at_most
from isolator.adapters.order_socket import ask
from tests.lab import Lab
from tests.lab.agent import Agent
from tests.lab.ground import python_path

ORDER: Mapping[str, Any] = {
    "do": "isolate",
    "order": {
        "scope": "full",
        "lists": None,
        "geo": None,
        "profile": None,
        "duration_s": None,
        "comment": "bench",
        "on_silence": "roll_back",
    },
}
RELEASE: Mapping[str, Any] = {"do": "release", "comment": "bench"}
_STEPS_SHOWN = 8
_WARM_UP_S = 2.5
"""A running agent has asked for the listed names by then."""


def run(*, quick: bool) -> list[Figure]:
    """Orders by socket and by command in turn, then one agent whose every step is timed."""
    rounds = 5 if quick else 20
    with Lab(servers=False) as lab:
        agent = lab.agent("lists: [streamlined]\n")
        agent.start()
        time.sleep(_WARM_UP_S)
        first = _asked(agent, ORDER, verified=True)
        _asked(agent, RELEASE, verified=True)
        times: dict[str, list[float]] = {
            name: [] for name in ("isolate", "release", "c-isolate", "c-release")
        }
        for _ in range(rounds):
            times["isolate"].append(_asked(agent, ORDER, verified=True))
            times["release"].append(_asked(agent, RELEASE, verified=True))
            times["c-isolate"].append(_commanded(agent, "isolate"))
            times["c-release"].append(_commanded(agent, "release"))
        agent.stop()
        figures = [
            Figure(
                f"order {name} to a running agent, verified", Spread.of(times[name]), "ms", at_most(50), how
            )
            for name, how in (
                ("isolate", f"asked over the socket; the first order after its start took {first:.0f} ms"),
                ("release", "asked over the socket"),
            )
        ]
        figures += [
            Figure(
                f"command isolator {name}, running agent",
                Spread.of(times[f"c-{name}"]),
                "ms",
                at_most(300),
                "process start to exit",
            )
            for name in ("isolate", "release")
        ]
        figures += _command_parts(agent, 3 if quick else 10)
        return figures + _steps(lab, rounds)


def _asked(agent: Agent, request: Mapping[str, Any], *, verified: bool) -> float:
    """Milliseconds until the answer; it must say that something changed and is verified in the kernel."""
    started = time.perf_counter()
    answer: Any = ask(agent.socket, request, 30.0)
    took = (time.perf_counter() - started) * 1000
    if not answer["changed"] or answer["status"]["enforcement"]["verified"] is not verified:
        raise RuntimeError(f"the order was not carried out and verified: {answer}")
    return took


def _commanded(agent: Agent, word: str) -> float:
    return _process([sys.executable, "-m", "isolator", word, "--json"], agent)


def _process(command: list[str], agent: Agent) -> float:
    environment = {
        **os.environ,
        "PYTHONPATH": python_path(),
        "ISOLATOR_CONFIG": str(agent.config),
        "ISOLATOR_STATE_DIR": str(agent.state_dir),
        "ISOLATOR_SOCKET": str(agent.socket),
    }
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return (time.perf_counter() - started) * 1000


def _command_parts(agent: Agent, rounds: int) -> list[Figure]:
    """What of a command is Python's start, and what our imports."""
    parts: dict[str, Callable[[], float]] = {
        "Python alone": lambda: _process([sys.executable, "-c", "pass"], agent),
        "Python and the command's modules": lambda: _process(
            [sys.executable, "-c", "import isolator.cli, isolator.wiring"], agent
        ),
    }
    return [
        Figure(f"  of a command: {name}", Spread.of([part() for _ in range(rounds)]), "ms")
        for name, part in parts.items()
    ]


def _steps(lab: Lab, rounds: int) -> list[Figure]:
    """The dearest steps inside an agent, timed from within (the nesting is in the names)."""
    directory: Path = lab.directory / "steps"
    directory.mkdir()
    (directory / "agent.yaml").write_text("lists: [streamlined]\n")
    done = lab.device.run(
        [sys.executable, "-m", "bench.order_steps_process", str(directory), str(rounds)],
        60.0,
        env={**os.environ, "PYTHONPATH": python_path()},
        check=True,
    )
    found: dict[str, dict[str, list[float]]] = json.loads(done.stdout)
    figures = []
    for order, steps in found.items():
        ranked = sorted(steps.items(), key=lambda each: -Spread.of(each[1]).median)
        figures += [
            Figure(f"  of {order}: {step}", Spread.of(samples), "ms")
            for step, samples in ranked[: _STEPS_SHOWN + 1]
        ]
    return figures
