"""The run: routes, rows side by side, an end that holds, and the report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from connectivity_check.core.analyze import judge, judge_row
from connectivity_check.core.facts import text
from connectivity_check.core.plan import target_url
from connectivity_check.model import (
    Expectation,
    PathKind,
    Recording,
    Report,
    Role,
    Row,
    Step,
    Target,
)
from connectivity_check.ports import HttpRequest, WayFinder
from connectivity_check.runner.budget import Budget
from connectivity_check.runner.ledger import Ledger
from connectivity_check.runner.packets import add_packets
from connectivity_check.runner.row import RowRun
from connectivity_check.runner.session import RunOptions, Session, Tools
from connectivity_check.runner.walk import Journey, Walk

__all__ = ["RunOptions", "Tools", "run"]


async def run(
    targets: Sequence[Target],
    tools: Tools,
    options: RunOptions,
    on_row: Callable[[Row], None] | None = None,
) -> Report:
    """Check every target and give the report.

    `on_row` gets each row when it is done, with a verdict by what is known then; the report's verdicts are
    by what is known at the end. Without it no row is judged before. When `options.deadline_s` is over or
    `options.stop` is set, what is not done is marked so: the report has every row all the same.
    """
    begun = datetime.fromtimestamp(tools.clock.utc(), UTC)
    end = tools.clock.now() + options.deadline_s
    routed = await _routes(targets, tools.ways, options)
    ledger = Ledger(targets if routed is None else routed, tools.clock)
    unfinished = set(range(len(targets)))
    if routed is not None:
        left = replace(options, deadline_s=max(0.0, end - tools.clock.now()))
        unfinished = await _all_rows(Session(tools, left, ledger), on_row)
    if tools.capture:
        await tools.capture.finish()
        add_packets(ledger, tools.capture)
    shared = tuple(ledger.shared)
    recording = Recording(
        targets=ledger.targets,
        observations=tuple(tuple(each) for each in ledger.rows),
        shared=shared,
        unfinished=frozenset(unfinished),
        lists=options.lists,
        path=options.path,
        started_at=begun.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        took_s=ledger.elapsed_s,
        timeout_s=options.timeout_s,
        source_address=options.source_address or _source(ledger),
        host=options.host,
    )
    if any(each.role is Role.UNROUTABLE and each.step is Step.CONNECT and each.ok for each in shared):
        recording = replace(recording, path=replace(recording.path, kind=PathKind.TRANSPARENT))
    return judge(recording)


async def _routes(
    targets: Sequence[Target], ways: WayFinder, options: RunOptions
) -> tuple[Target, ...] | None:
    """Give the targets with their ways; None when the end of the run comes first (a PAC file that hangs)."""

    async def routed(target: Target) -> Target:
        host = target.host or target.wildcard
        if not host:
            return target
        return replace(target, route=await ways.route(target_url(target, host), host))

    tasks = [asyncio.create_task(routed(target)) for target in targets]
    if not await _all_done(tasks, options):
        return None
    return tuple(task.result() for task in tasks)


def _source(ledger: Ledger) -> str:
    """The address that packets left from: IPv4 first, that is what forms ask for."""
    found = [
        text(each, "source")
        for row in ledger.rows
        for each in row
        if each.step is Step.CONNECT and each.evidence.get("source")
    ]
    return next((each for each in found if ":" not in each), found[0] if found else "")


async def _all_rows(session: Session, on_row: Callable[[Row], None] | None) -> set[int]:
    """Run every row; give the indexes of those that were cut off."""
    options, ledger = session.options, session.ledger
    places = asyncio.Semaphore(options.concurrency)
    open_rows = set(range(len(ledger.targets)))

    async def one(index: int) -> None:
        async with places:
            await RowRun(session, index).go()
        open_rows.discard(index)
        if on_row is not None:
            on_row(judge_row(ledger.targets[index], ledger.rows[index], ledger.known(), options.timeout_s))

    tasks = [asyncio.create_task(one(index)) for index in sorted(open_rows)]
    if any((each.host or each.wildcard) and each.route.proxy is None for each in ledger.targets):
        session.begin_random_name()
    tasks.append(asyncio.create_task(_echo(session)))
    try:
        await _all_done(tasks, options)
        await _last_controls(session)
    finally:
        await session.end()
    for task in tasks:
        if not task.cancelled():
            task.result()  # an error of our own comes out
    return open_rows


async def _all_done(tasks: Sequence[asyncio.Task[Any]], options: RunOptions) -> bool:
    """Wait until all tasks are done or the run is to end; in any case none is left running."""
    stopped = asyncio.create_task(options.stop.wait()) if options.stop else None
    everything = asyncio.create_task(_wait_for(tasks))
    waiting = {everything, stopped} if stopped else {everything}
    try:
        await asyncio.wait(waiting, timeout=options.deadline_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (*waiting, *tasks):
            each.cancel()
        await asyncio.gather(*waiting, *tasks, return_exceptions=True)
    return not any(task.cancelled() for task in tasks)


async def _wait_for(tasks: Sequence[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks)


async def _last_controls(session: Session) -> None:
    """A name that does not exist is answered at once or not soon: nobody waits long for it."""
    try:
        async with asyncio.timeout(0.1):
            await session.rewrites_names()
    except TimeoutError:
        pass


async def _echo(session: Session) -> None:
    """Ask a helper of one's own what it got of our headers (--control-host)."""
    wanted = session.options.control_host
    if not wanted:
        return
    authority = f"[{wanted}]" if wanted.count(":") > 1 and not wanted.startswith("[") else wanted
    url = urlsplit(f"http://{authority}/")
    journey = Journey(
        name=url.hostname or "",
        port=url.port or 80,
        tls=False,
        role=Role.HEADER_ECHO,
        request=HttpRequest(url.geturl(), echo=True),
        expectation=Expectation(html_allowed=True),
        last_only=True,
    )
    budget = Budget(session.clock, session.clock.now(), session.options.timeout_s)
    await Walk(session.network, budget, journey, session.note_shared, session.proxy_addresses).go()
