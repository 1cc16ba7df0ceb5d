"""The preflight of 98 endpoints: against curl when all are well, against the clock when some are dropped."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from bench.figure import Figure, Spread, at_most
from bench.pairs import in_turn
from bench.preflight_ground import COUNT, TIMEOUT_S, Checked, Ground, ground

MEASURING, COMMAND = 2.0, 4.0
"""What the measuring and the whole command may take, in times of curl."""
DEAD = (0, 10, 49, COUNT)
DEAD_LIMIT = 1.25
"""What a run may take, in times of the deadline of a row."""
NEIGHBOUR_LIMIT = 2.0
MEMORY_MIB = 100


def run(*, quick: bool) -> list[Figure]:
    """All healthy, then with dropped servers, then memory."""
    with ground() as made:
        _must_be_well(made.check("--direct"))
        made.curl(made.lab.ca_pem)
        figures = _healthy(made, 4 if quick else 20)
        figures += _dead(made, 1 if quick else 3)
        figures += _neighbours(made, 2 if quick else 7)
        return figures + _memory(made)


def _must_be_well(checked: Checked) -> None:
    """A row that fails costs more or less than one that is well; neither is what is asked for."""
    if len(checked.done_ms) != COUNT:
        outcomes = {row["failure"] for row in checked.document["rows"]}
        raise RuntimeError(f"only {len(checked.done_ms)} of {COUNT} endpoints are well: {outcomes}")


def _healthy(made: Ground, rounds: int) -> list[Figure]:
    measuring: list[float] = []

    def command() -> float:
        checked = made.check("--direct")
        _must_be_well(checked)
        measuring.append(checked.measuring_s)
        return checked.wall_s

    ways: Mapping[str, Callable[[], float]] = {
        "curl": lambda: made.curl(made.lab.ca_pem),
        "command": command,
        "curl again": lambda: made.curl(made.lab.ca_pem),
    }
    found = in_turn(ways, rounds)
    curl = found.samples["curl"]
    default = Spread.of([made.curl(made.store) for _ in range(max(2, rounds // 5))])
    return [
        Figure(
            f"preflight of {COUNT} healthy endpoints, measuring, to curl -Z",
            Spread.of([a / b for a, b in zip(measuring, curl, strict=True)]),
            "x",
            at_most(MEASURING),
            f"{_ms(measuring)} ms and {_ms(curl)} ms; curl is given the lab's authority alone, the preflight "
            f"has the public ones besides (curl with them: {1000 * default.median:.0f} ms)",
        ),
        Figure(
            f"preflight of {COUNT} healthy endpoints, whole command, to curl -Z",
            found.ratios("command", "curl"),
            "x",
            at_most(COMMAND),
            f"{_ms(found.samples['command'])} ms, from the start of Python to the JSON report on the disk",
        ),
        Figure("  curl -Z to itself", found.ratios("curl again", "curl"), "x", None, "the noise"),
    ]


def _ms(seconds: list[float] | tuple[float, ...]) -> str:
    return f"{1000 * statistics.median(seconds):.0f}"


def _dead(made: Ground, rounds: int) -> list[Figure]:
    figures = []
    for count in DEAD:
        made.drop(count)
        runs = [made.check("--direct") for _ in range(rounds)]
        well = {len(each.done_ms) for each in runs}
        if well != {COUNT - count}:
            raise RuntimeError(f"with {count} servers dropped {well} endpoints are well")
        figures.append(
            Figure(
                f"preflight with {count} of {COUNT} dropped, command to the deadline of a row",
                Spread.of([each.wall_s / TIMEOUT_S for each in runs]),
                "x",
                at_most(DEAD_LIMIT),
                f"--timeout {TIMEOUT_S}, controls included; "
                f"{statistics.median(each.wall_s for each in runs):.2f} s",
            )
        )
    made.drop(0)
    return figures


def _neighbours(made: Ground, rounds: int) -> list[Figure]:
    """Each row that is well in both cases against itself, the median of its times each."""
    alone: list[dict[str, float]] = []
    beside: list[dict[str, float]] = []
    for _ in range(rounds):
        made.drop(0)
        alone.append(made.check("--direct").done_ms)
        made.drop(DEAD[2])
        beside.append(made.check("--direct").done_ms)
    made.drop(0)
    names = sorted(beside[0])
    ratios = [_median(beside, name) / _median(alone, name) for name in names]
    return [
        Figure(
            f"slowest healthy row beside {DEAD[2]} dropped ones, to the same row without them",
            Spread.exactly(max(ratios)),
            "x",
            at_most(NEIGHBOUR_LIMIT),
            f"{len(names)} rows, medians of {rounds} runs; the middle row {statistics.median(ratios):.2f}; "
            f"a row is done after {statistics.median(_median(alone, name) for name in names):.0f} ms "
            f"without and {statistics.median(_median(beside, name) for name in names):.0f} ms with them",
        )
    ]


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in runs)


def _memory(made: Ground) -> list[Figure]:
    pac = made.lab.directory / "direct.pac"
    pac.write_text('function FindProxyForURL(url, host) { return "DIRECT"; }\n')
    plain, _ = made.peaks("--direct")
    made.drop(COUNT)
    dead, _ = made.peaks("--direct")
    made.drop(0)
    with_pac, worker = made.peaks("--pac", str(pac))
    if not worker:
        raise RuntimeError("the PAC file was not read by a process of its own")
    return [
        Figure(
            "preflight, peak memory of the command",
            Spread.of([plain, dead, with_pac]),
            "MiB",
            at_most(MEMORY_MIB),
            f"all healthy {plain:.0f}, all dropped {dead:.0f}, with a PAC file {with_pac:.0f}",
        ),
        Figure(
            "preflight, peak memory of the PAC worker", Spread.exactly(worker), "MiB", at_most(MEMORY_MIB)
        ),
    ]
