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
from tests.fleet.kills import Result, stream
from tests.fleet.places import Place, limits_of_open_files, place, place_to_kill, serve_tls
from tests.fleet.postmaster import Postmaster
from tests.fleet.scenario import Found, run
from tests.fleet.seed import seed


def measure(agents: int, *, isolate: int, backend: str = "sqlite", tls: bool = False) -> Found:
    """The scenario with a controller of its own."""
    limits_of_open_files(2 * agents + 1000)
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory, place(Path(directory), backend) as made:
        made.controller.console("enrolment", "list")  # makes database and keys
        if tls:
            serve_tls(made)
        fleet = seed(made.database, made.controller.directory, agents)
        made.controller.start()
        try:
            return asyncio.run(_signed_in(made, fleet, isolate))
        finally:
            made.controller.end()


def kill(kills: int, *, agents: int = 24, backend: str = "sqlite") -> Result:
    """A stream of orders during which controller or database are killed that often."""
    with tempfile.TemporaryDirectory(prefix="fleet-") as name:
        directory = Path(name)
        if backend == "sqlite":
            with place(directory, backend) as made:
                return _killed(made, agents, kills, None)
        with place_to_kill(directory) as (made, postmaster):
            return _killed(made, agents, kills, postmaster)


def _killed(made: Place, agents: int, kills: int, postmaster: Postmaster | None) -> Result:
    made.controller.console("enrolment", "list")
    fleet = seed(made.database, made.controller.directory, agents)
    made.controller.preload = True
    made.controller.start()
    return asyncio.run(stream(made, fleet, kills, postmaster))


async def _signed_in(made: Place, fleet: Sequence[Agent], isolate: int) -> Found:
    await made.controller.sign_in()
    return await run(made.controller, made.database, fleet, isolate=isolate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 when nothing was lost, doubled or disbelieved."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=5000)
    parser.add_argument("--isolate", type=int, default=1000, help="how many of them")
    parser.add_argument("--backend", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--tls", action="store_true", help="measure over TLS")
    parser.add_argument("--kills", type=int, default=0, help="kill that often instead of measuring")
    args = parser.parse_args(arguments)
    if args.kills:
        result = kill(args.kills, backend=args.backend)
        print(
            f"{result.acknowledged} orders acknowledged, {result.retried} tried again, {result.took_s:.0f} s"
        )
        print(f"kills: {dict(result.kills)}; wrong: {len(result.wrong)}", *result.wrong[:20], sep="\n  ")
        return 1 if result.wrong else 0
    found = measure(args.agents, isolate=args.isolate, backend=args.backend, tls=args.tls)
    for name, value in asdict(found).items():
        print(f"{name:14} {value:.2f}" if isinstance(value, float) else f"{name:14} {value}")
    return 1 if found.wrong or found.disbelieved else 0


if __name__ == "__main__":
    sys.exit(main())
