"""The run: routes, rows side by side, an end that holds, and the report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

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
from connectivity_check.runner.row import RowRun
from connectivity_check.runner.session import RunOptions, Session, Tools
from connectivity_check.runner.walk import Journey, Walk

__all__ = ["RunOptions", "Tools", "run"]


async def run(
    targets: Sequence[Target],
    tools: Tools,
    options: RunOptions,
    on_row: Callable[[Row], None] = lambda row: None,
) -> Report:
    """Check every target and give the report.

    `on_row` gets each row when it is done, with a verdict by what is known then; the report's verdicts are
    by what is known at the end. When `options.deadline_s` is over or `options.stop` is set, what is not
    done is marked so: the report has every row all the same.
    """
    begun = datetime.fromtimestamp(tools.clock.utc(), UTC)
    routed = await _routes(targets, tools.ways)
    ledger = Ledger(routed, tools.clock)
    session = Session(tools, options, ledger)
    unfinished = await _all_rows(session, on_row)
    shared = tuple(ledger.shared)
    recording = Recording(
        targets=routed,
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


async def _routes(targets: Sequence[Target], ways: WayFinder) -> tuple[Target, ...]:
    async def routed(target: Target) -> Target:
        host = target.host or target.wildcard
        if not host:
            return target
        return replace(target, route=await ways.route(target_url(target, host), host))

    return tuple(await asyncio.gather(*(routed(target) for target in targets)))


def _source(ledger: Ledger) -> str:
    """The address that packets left from: IPv4 first, that is what forms ask for."""
    found = [
        text(each, "source")
        for row in ledger.rows
        for each in row
        if each.step is Step.CONNECT and each.evidence.get("source")
    ]
    return next((each for each in found if ":" not in each), found[0] if found else "")


async def _all_rows(session: Session, on_row: Callable[[Row], None]) -> set[int]:
    """Run every row; give the indexes of those that were cut off."""
    options, ledger = session.options, session.ledger
    places = asyncio.Semaphore(options.concurrency)
    open_rows = set(range(len(ledger.targets)))

    async def one(index: int) -> None:
        async with places:
            await RowRun(session, index).go()
        open_rows.discard(index)
        row = judge_row(ledger.targets[index], ledger.rows[index], ledger.known(), options.timeout_s)
        on_row(row)

    tasks = [asyncio.create_task(one(index)) for index in sorted(open_rows)]
    if any(each.host and each.route.proxy is None for each in ledger.targets):
        session.begin_random_name()
    tasks.append(asyncio.create_task(_echo(session)))
    try:
        await _until_done(tasks, options)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await _last_controls(session)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return open_rows


async def _until_done(tasks: Sequence[asyncio.Task[None]], options: RunOptions) -> None:
    stopped = asyncio.create_task(options.stop.wait()) if options.stop else None
    everything = asyncio.ensure_future(asyncio.wait(tasks))
    waiting: set[asyncio.Future[object]] = {everything}  # type: ignore[arg-type]  # results are not read
    if stopped:
        waiting.add(stopped)  # type: ignore[arg-type]  # the same
    try:
        await asyncio.wait(waiting, timeout=options.deadline_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _last_controls(session: Session) -> None:
    """A name that does not exist is answered at once or not soon: nobody waits long for it."""
    try:
        async with asyncio.timeout(0.1):
            await session.rewrites_names()
    except TimeoutError:
        pass
    await session.end()


async def _echo(session: Session) -> None:
    """Ask a helper of one's own what it got of our headers (--control-host)."""
    wanted = session.options.control_host
    if not wanted:
        return
    host, _, port = wanted.partition(":")
    journey = Journey(
        name=host,
        port=int(port or 80),
        tls=False,
        role=Role.HEADER_ECHO,
        request=HttpRequest(f"http://{wanted}/", echo=True),
        expectation=Expectation(html_allowed=True),
        last_only=True,
    )
    budget = Budget(session.clock, session.clock.now(), session.options.timeout_s)
    await Walk(session.network, budget, journey, session.note_shared, session.proxy_addresses).go()
