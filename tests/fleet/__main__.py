"""`python -m tests.fleet`: load a controller with simulated agents, or kill it again and again."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.fleet.agent import Agent
from tests.fleet.places import Place, limits_of_open_files, place
from tests.fleet.scenario import Found, run
from tests.fleet.seed import seed


def measure(agents: int, *, isolate: int, backend: str = "sqlite") -> Found:
    """The scenario with a controller of its own."""
    limits_of_open_files(2 * agents + 1000)
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory, place(Path(directory), backend) as made:
        made.controller.console("enrolment", "list")  # makes database and keys
        fleet = seed(made.database, made.controller.directory, agents)
        made.controller.start()
        try:
            return asyncio.run(_signed_in(made, fleet, isolate))
        finally:
            made.controller.end()


async def _signed_in(made: Place, fleet: Sequence[Agent], isolate: int) -> Found:
    await made.controller.sign_in()
    return await run(made.controller, made.database, fleet, isolate=isolate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 when nothing was lost, doubled or disbelieved."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=5000)
    parser.add_argument("--isolate", type=int, default=1000, help="how many of them")
    parser.add_argument("--backend", choices=("sqlite", "postgresql"), default="sqlite")
    args = parser.parse_args(arguments)
    found = measure(args.agents, isolate=args.isolate, backend=args.backend)
    for name, value in asdict(found).items():
        print(f"{name:14} {value:.2f}" if isinstance(value, float) else f"{name:14} {value}")
    return 1 if found.wrong or found.disbelieved else 0


if __name__ == "__main__":
    sys.exit(main())
