"""One run in virtual time: a world and targets in; the report, the network and the times out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from connectivity_check.core.analyze import judge
from connectivity_check.core.document import report_document
from connectivity_check.core.document_reader import read_report
from connectivity_check.model import Expectation, Kind, Outcome, ProxyServer, Report, Role, Row, Target
from connectivity_check.ports import WayFinder
from connectivity_check.runner import RunOptions, Tools, run
from tests.fakes.network import FakeNetwork
from tests.fakes.network_world import Door, World
from tests.fakes.virtual_time import LoopClock, in_virtual_time
from tests.fakes.way_finder import FakeWayFinder

PROXY = ProxyServer("10.0.0.80", 3128)
PORTAL = "www.msftconnecttest.com"


@dataclass(slots=True)
class Ran:
    """What became of a run. `rows` and `times`: what `on_row` got, and when."""

    network: FakeNetwork
    report: Report
    took_s: float
    rows: list[Row] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def row(self, n: int = 0) -> Row:
        """The row of a target."""
        return self.report.rows[n]

    def verdicts(self) -> list[str]:
        """Outcome, or failure where there is one, of every row."""
        return [row.failure.value if row.failure else row.outcome.value for row in self.report.rows]

    def time_of(self, host: str) -> float:
        """When a host's row was given out."""
        return next(t for row, t in zip(self.rows, self.times, strict=True) if row.target.host == host)


def target(host: str | None, n: int = 1, port: int = 443, kind: Kind = Kind.API, **more: object) -> Target:
    """A row; a plain one on port 80 unless said otherwise."""
    expectation = more.pop("expectation", Expectation(kind=kind))
    pattern = more.pop("pattern", host or "*")
    return Target(n=n, pattern=pattern, host=host, port=port, expectation=expectation, **more)  # type: ignore[arg-type]


def nothing() -> tuple[World, list[Target]]:
    """A world and a list to fill."""
    return World(), []


def open_world(count: int) -> tuple[World, list[Target]]:
    """Names ok0.site0.example ... that all work."""
    world, targets = nothing()
    for n in range(count):
        name = f"ok{n}.site{n}.example"
        world.add(name, f"20.0.{n // 200}.{n % 200 + 1}")
        targets.append(target(name, n + 1))
    return world, targets


def add_dead(world: World, targets: list[Target], count: int, door: Door | None = None) -> None:
    """More names, behind doors that drop everything (or the one given)."""
    for n in range(count):
        name = f"dead{n}.lost{n}.example"
        address = f"20.9.{n // 200}.{n % 200 + 1}"
        world.add(name, address, 443, door or world.other_doors)
        targets.append(target(name, len(targets) + 1))


def check(
    world: World,
    targets: Sequence[Target],
    *,
    ways: WayFinder | None = None,
    options: RunOptions | None = None,
    stop_at: float | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> Ran:
    """Run, and hold every run to what all must keep: nothing open, no task left, every row, replay."""

    async def main() -> Ran:
        clock = LoopClock()
        network = FakeNetwork(world, clock)
        wanted = options or RunOptions()
        rows: list[Row] = []
        times: list[float] = []

        def given(row: Row) -> None:
            rows.append(row)
            times.append(clock.now())
            if on_row:
                on_row(row)

        if stop_at is not None:
            assert wanted.stop is not None
            asyncio.get_running_loop().call_later(stop_at, wanted.stop.set)
        began = clock.now()
        report = await run(targets, Tools(network, ways or FakeWayFinder(), clock), wanted, given)
        return Ran(network, report, clock.now() - began, rows, times)

    ran = in_virtual_time(main())
    hold(ran, targets)
    return ran


def hold(ran: Ran, targets: Sequence[Target]) -> None:
    """What is true of every run, whatever the world and however it ended."""
    assert ran.network.open_streams == 0
    assert [(r.target.n, r.target.host) for r in ran.report.rows] == [(t.n, t.host) for t in targets]
    assert len(ran.rows) == len(targets) - len(ran.report.recording.unfinished)
    assert ran.report.interrupted == bool(ran.report.recording.unfinished)
    assert judge(ran.report.recording).rows == ran.report.rows
    reread = read_report(json.dumps(report_document(ran.report)).encode())
    assert [judged(r) for r in judge(reread.recording).rows] == [judged(r) for r in ran.report.rows]


def judged(row: Row) -> tuple[object, ...]:
    """What a verdict says."""
    return (row.outcome, row.finding, row.others, row.partial)


def roles(ran: Ran, role: Role, n: int = 0) -> list[str]:
    """What a row saw in one role, as `step: seen`."""
    return [f"{o.step}: {o.seen or 'ok'}" for o in ran.row(n).observations if o.role is role]


def outcomes(ran: Ran) -> set[Outcome]:
    """Every outcome of the run."""
    return {row.outcome for row in ran.report.rows}


async def cancelled_at(
    moment: float, work: Callable[[], Awaitable[object]], again_after: float | None = None
) -> float:
    """Cancel the work at a moment (and once more); give how long it took to end after that."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work())
    loop.call_later(moment, task.cancel)
    if again_after is not None:
        loop.call_later(moment + again_after, task.cancel)
    await asyncio.wait([task])
    assert task.cancelled() or loop.time() <= moment
    if task.cancelled():
        return loop.time() - moment
    task.result()
    return 0.0
