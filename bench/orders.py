"""How long an order takes until it is verified: over the agent's socket, and as a whole command."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bench.figure import Figure, Spread, at_most
from isolator.adapters.order_socket import ask
from isolator.core.policy_document import encode_order
from isolator.model.order import IsolationOrder
from tests.lab import Lab

ISOLATE = {"do": "isolate", "order": encode_order(IsolationOrder())}
RELEASE = {"do": "release", "comment": ""}
_WARM_UP_S = 2.5
"""A running agent has asked for the listed names by then."""


def run(*, quick: bool) -> list[Figure]:
    """Isolate and release in turn, by socket and then by command."""
    with Lab() as lab:
        agent = lab.agent()
        agent.start()
        time.sleep(_WARM_UP_S)
        by_socket: dict[str, list[float]] = {"isolate": [], "release": []}
        parts: list[Mapping[str, float]] = []
        for _ in range(10 if quick else 40):
            started = time.perf_counter()
            answer: Any = ask(agent.socket, ISOLATE, 30.0)
            by_socket["isolate"].append((time.perf_counter() - started) * 1000)
            assert answer["status"]["enforcement"]["verified"], "an order that is done is verified"
            parts.append(answer["took_ms"])
            started = time.perf_counter()
            ask(agent.socket, RELEASE, 30.0)
            by_socket["release"].append((time.perf_counter() - started) * 1000)
        by_command: dict[str, list[float]] = {"isolate": [], "release": []}
        for _ in range(3 if quick else 10):
            for verb, times in by_command.items():
                outcome = agent.isolator(verb)
                assert outcome.exit_code == 0, outcome.stderr
                times.append(outcome.took_ms)
        agent.stop()
    shares = {key: Spread.of([part[key] for part in parts]).median for key in parts[0]}
    how = "of which " + ", ".join(
        f"{key.removesuffix('_ms')} {value:.1f} ms" for key, value in shares.items()
    )
    return [
        Figure("order to isolate, verified", Spread.of(by_socket["isolate"]), "ms", at_most(50.0), how),
        Figure("order to release, verified", Spread.of(by_socket["release"]), "ms", at_most(50.0)),
        Figure(
            "command `isolator isolate` as a whole", Spread.of(by_command["isolate"]), "ms", at_most(300.0)
        ),
        Figure(
            "command `isolator release` as a whole", Spread.of(by_command["release"]), "ms", at_most(300.0)
        ),
    ]
