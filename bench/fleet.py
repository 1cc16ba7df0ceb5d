"""A fleet on one controller process: memory, isolation of many, restart."""

from __future__ import annotations

import os

from bench.figure import Figure, Spread, at_most
from tests.fleet.__main__ import measure
from tests.fleet.scenario import Found

AGENTS, ISOLATED = 5000, 1000
MEMORY_MIB = 400
VERIFIED_S = 10.0
BACK_S = 60.0


def run(*, quick: bool) -> list[Figure]:
    """5,000 agents (quick: 500), a thousand of them isolated, the controller restarted under them."""
    scale = 10 if quick else 1
    return [
        figure
        for backend, tls in (("sqlite", True), ("sqlite", False), ("postgresql", False))
        for figure in _figures(
            measure(AGENTS // scale, isolate=ISOLATED // scale, backend=backend, tls=tls),
            f"{backend}, {'TLS' if tls else 'plain'}",
        )
    ]


def _figures(found: Found, ground: str) -> list[Figure]:
    fleet = f"{found.agents} agents, {ground}"
    return [
        Figure(
            f"{fleet}: memory of the controller",
            Spread.exactly(found.memory_mib),
            "MiB",
            at_most(MEMORY_MIB),
            "resident, all of them waiting",
        ),
        Figure(
            f"{fleet}: {found.isolated} isolated, until the last is verified",
            Spread.exactly(found.verified_s),
            "s",
            at_most(VERIFIED_S),
            f"from the one call that orders them; the call itself {found.ordered_s:.1f} s; agents simulated "
            f"on the same {_processors()} processors, {found.controller_cpu_s:.1f} s of the controller's",
        ),
        Figure(
            f"{fleet}: restart, until all are back",
            Spread.exactly(found.back_s),
            "s",
            at_most(BACK_S),
            f"SIGTERM with {found.isolated} fresh orders; ended after {found.drained_s:.1f} s",
        ),
        Figure(
            f"{fleet}: orders lost, doubled or not believed",
            Spread.exactly(len(found.wrong) + len(found.disbelieved)),
            "orders",
            at_most(0),
            f"of {2 * found.isolated}",
        ),
    ]


def _processors() -> int:
    return os.cpu_count() or 1
