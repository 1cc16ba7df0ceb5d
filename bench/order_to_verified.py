"""From POST to *verified* on a lab device: API, database, long poll, signature, agent, kernel, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from bench.figure import Figure, Spread, at_most
from tests.lab import Lab
from tests.lab.controller import Caller, LabController

_WARM_UP_S = 3.0


def run(*, quick: bool) -> list[Figure]:
    """Isolate and release in turn; the clock runs from sending the POST to the stored proof."""
    rounds = 10 if quick else 60
    with Lab() as lab, LabController(lab) as controller:
        agent = lab.agent(controller.agent_config())
        agent.start()
        caller = controller.caller()
        machine = caller.machine_id()
        time.sleep(_WARM_UP_S)
        isolated, released, answered = [], [], []
        for _ in range(rounds):
            for word, samples in (("isolate", isolated), ("unisolate", released)):
                verified_ms, answered_ms = _order(caller, machine, word)
                samples.append(verified_ms)
                answered.append(answered_ms)
        caller.close()
        agent.stop()
    how = "SQLite, TLS, one process; POST sent to proof stored"
    return [
        Figure("isolate: POST to verified, p50", Spread.of(isolated), "ms", at_most(300), how),
        Figure("isolate: POST to verified, p99", _p99(isolated), "ms", at_most(1000), how),
        Figure("release: POST to verified, p50", Spread.of(released), "ms", at_most(300), how),
        Figure("release: POST to verified, p99", _p99(released), "ms", at_most(1000), how),
        Figure("POST answered, p50", Spread.of(answered), "ms", None, "order signed, audited, on disk"),
    ]


def _order(caller: Caller, machine: str, word: str) -> tuple[float, float]:
    before, began = time.time(), time.monotonic()
    status, action = caller.post(f"/api/machines/{machine}/{word}", {"Comment": "bench"})
    answered_ms = (time.monotonic() - began) * 1000
    if status != 201:
        raise RuntimeError(f"{word}: {status} {action}")
    ended = caller.until_ended(action["id"])
    if ended["status"] != "Succeeded":
        raise RuntimeError(f"{word}: {ended['status']}: {ended['failure']}")
    proof = datetime.fromisoformat(ended["verifiedDateTimeUtc"]).timestamp()
    return (proof - before) * 1000, answered_ms


def _p99(samples: Sequence[float]) -> Spread:
    ordered = sorted(samples)
    return Spread(
        ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[0], ordered[-1], len(ordered)
    )
