"""An agent without its socket whose every call to the outside is timed; run in the lab's device.

Arguments: a directory with agent.yaml, the number of rounds. Its output is a JSON object: order -> step ->
milliseconds in each round, summed over the calls of that step.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.orders import ORDER, RELEASE
from isolator.wiring import Places, make_agent

Times = defaultdict[str, float]


class Timed:
    """Stands for one object: its methods are passed on, and their time is added up by name."""

    def __init__(self, target: Any, label: str, times: Times) -> None:
        self._target = target
        self._label = label
        self._times = times

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def timed(*arguments: Any, **options: Any) -> Any:
            purpose = getattr(arguments[0], "purpose", "") if arguments else ""
            started = time.perf_counter()
            try:
                return value(*arguments, **options)
            finally:
                step = f"{self._label}.{name}" + (f"({purpose})" if purpose else "")
                self._times[step] += (time.perf_counter() - started) * 1000

        return timed


def main(directory: Path, rounds: int) -> None:
    """Isolate and release by turns and print the times."""
    logging.disable(logging.CRITICAL)
    where = Places(directory / "agent.yaml", directory / "state", directory / "sock", named_config=True)
    agent = make_agent(where, standalone=False)
    times: Times = defaultdict(float)
    controller = agent.controller
    outside = controller.outside
    controller.outside = dataclasses.replace(
        outside,
        **{
            field.name: Timed(getattr(outside, field.name), field.name, times)
            for field in dataclasses.fields(outside)
            if field.name != "clock"
        },
    )
    controller.enforcement.backend = controller.outside.backend
    controller.enforcement.flows = controller.outside.flows
    controller.names = Timed(controller.names, "names", times)  # type: ignore[assignment]
    controller.gate = Timed(controller.gate, "gate", times)
    for name in ("load_config", "load_list"):
        setattr(controller, name, getattr(Timed(controller, "controller", times), name))
    checks: Any = controller
    checks._check_control = Timed(controller, "controller", times)._check_control
    found: dict[str, defaultdict[str, list[float]]] = {
        "isolate": defaultdict(list),
        "release": defaultdict(list),
    }
    for number in range(rounds + 1):
        for order, request in (("isolate", ORDER), ("release", RELEASE)):
            times.clear()
            started = time.perf_counter()
            answer: Any = agent.answer(request)
            took = (time.perf_counter() - started) * 1000
            if not answer["ok"]:
                raise SystemExit(str(answer))
            if number:  # the first round is warm-up
                found[order]["everything"].append(took)
                for step, spent in times.items():
                    found[order][step].append(spent)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
