"""From a wish to a report and from a report to bytes: the one file that knows the edges and the runner.

Everything heavy is imported where it is needed, so that a usage error and --help come at once.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from connectivity_check.cli_options import Wish
from connectivity_check.model import (
    Expectation,
    InputError,
    Kind,
    ListInfo,
    PathKind,
    PathSettings,
    ProxyAuth,
    Report,
    Target,
)
from connectivity_check.render.screen import PLAIN, Screen, screen_of

if TYPE_CHECKING:
    import asyncio

    from connectivity_check.core.plan import Expect
    from connectivity_check.ports import Capture
    from connectivity_check.runner import RunOptions
    from connectivity_check.settings import consumers

MAX_REPORT_BYTES = 256 * 1024 * 1024
"""A report of 500 rows with every control has some 5 MB."""


@dataclass(frozen=True, slots=True)
class Result:
    """A rendered report; `exit_code` when the format has codes of its own."""

    data: bytes
    exit_code: int | None = None


async def measure(wish: Wish, stop: asyncio.Event) -> Report:
    """Measure what is wanted; `stop` ends it early, with a partial report.

    Raises InputError for what cannot be used (list, file, address) and MeasureError when nothing can be
    measured here. A progress bar is shown when standard error is a terminal.
    """
    import asyncio

    from connectivity_check.probes import trust

    with trust.reading(wish.ca or None, wish.public_ca or None) as stores:
        from connectivity_check import files, runner
        from connectivity_check.probes import network
        from connectivity_check.render.progress import LiveProgress
        from connectivity_check.settings import consumers

        targets, lists = _targets(wish, files.load_expectations(wish.expectations or None).of)
        _check_source(wish.source_address)
        clock = runner.SystemClock()
        net = network.build(
            clock,
            stores(),
            servers=wish.resolvers,
            source_address=wish.source_address or None,
            revocation=any(each.expectation.kind in (Kind.CRL, Kind.OCSP) for each in targets),
        )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(net.close)
        capture = _capture() if wish.trace else None
        if capture:
            stack.push_async_callback(capture.finish)
        path, way = await consumers.find_way(_way_wish(wish))
        stack.push_async_callback(way.close)
        options = _run_options(wish, lists, path, stop)
        progress = LiveProgress(len(targets), sys.stderr or io.StringIO(), wish.language)
        stack.callback(progress.done)
        # At the first Ctrl-C the bar goes and the cursor comes back: a second one ends the process as it is.
        stack.callback(asyncio.create_task(_then(stop, progress.done)).cancel)
        on_row = progress.on_row if progress.shown else None
        return await runner.run(targets, runner.Tools(net, way, clock, capture), options, on_row)


def _capture() -> Capture:
    from connectivity_check.probes.capture import open_capture

    return open_capture()


async def _then(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()


def _way_wish(wish: Wish) -> consumers.Wish:
    from connectivity_check.settings import consumers

    auth = ProxyAuth(wish.proxy_auth) if wish.proxy_auth else None
    return consumers.Wish(
        proxy=wish.proxy,
        pac=wish.pac,
        wpad=wish.wpad,
        direct=wish.direct,
        auth=auth,
        settings=wish.settings,
        budget_s=wish.timeout_s,
    )


def _run_options(
    wish: Wish, lists: tuple[ListInfo, ...], path: PathSettings, stop: asyncio.Event
) -> RunOptions:
    from connectivity_check.core.plan import own_target
    from connectivity_check.runner import RunOptions
    from connectivity_check.settings.proxy_url import parse_proxy_url

    control = parse_proxy_url(wish.control_proxy, where="--control-proxy") if wish.control_proxy else None
    if wish.control_host:
        own_target(wish.control_host, lambda *_: Expectation(), 0)  # refuses what is no HOST[:PORT]
    proxies = {each.proxy: each for each in path.consumers if each.kind is PathKind.PROXY}
    return RunOptions(
        timeout_s=wish.timeout_s,
        deadline_s=wish.deadline_s,
        concurrency=wish.concurrency,
        control_proxy=control,
        control_resolver=wish.control_resolver or None,
        control_host=wish.control_host or None,
        lists=lists,
        path=path,
        other_proxies=tuple(parse_proxy_url(url, where=each.source) for url, each in proxies.items()),
        source_address=wish.source_address or None,
        host=socket.gethostname(),
        stop=stop,
    )


def _targets(wish: Wish, expect: Expect) -> tuple[tuple[Target, ...], tuple[ListInfo, ...]]:
    """Give what to try, rows of lists first; an empty choice is refused, it would be "all reachable"."""
    from allowlists import files, merge
    from connectivity_check.core import plan

    lists = [files.load(name) for name in wish.lists]
    entries = merge.rows(lists, geo=wish.geo, os=wish.os, required_only=wish.required_only)
    found = plan.targets(entries, expect)
    own = tuple(plan.own_target(text, expect, n) for n, text in enumerate(wish.targets, 1))
    if not found and not own:
        raise InputError(
            "no row is left to check: --geo, --os and --required-only leave out every row of the list"
        )
    counts = {each.list_id: sum(entry.list_id == each.list_id for entry in entries) for each in lists}
    infos = tuple(ListInfo(each.list_id, each.version, counts[each.list_id]) for each in lists)
    return found + own, infos


def _check_source(address: str) -> None:
    """Refuse a source address that this host does not have; otherwise every row would blame the network."""
    if not address:
        return
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"--source-address {address} is no address of this host: {reason}") from None


def check_output(path: str) -> None:
    """Refuse an output that cannot be written now, and not after a minute of measuring. "" is fine."""
    from connectivity_check.render import output

    if path:
        output.check_writable(path)


def read_report(path: str) -> Report:
    """Give the report of a JSON file. Raises InputError, which names the file."""
    from connectivity_check.core.document_reader import read_report as parse

    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path} is no regular file")  # a pipe that nobody writes to would block for ever
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_REPORT_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    if len(data) > MAX_REPORT_BYTES:
        raise InputError(f"{path} is longer than {MAX_REPORT_BYTES} bytes, so it is no report")
    try:
        return parse(data)
    except InputError as error:
        raise InputError(f"{path}: {error.reason}") from None


def judge_again(path: str) -> Report:
    """Give the report of a recorded run, judged by what this version knows."""
    from connectivity_check.core.analyze import judge

    recorded = read_report(path)
    return replace(judge(recorded.recording), interrupted=recorded.interrupted)


def compared(before: Report, report: Report) -> Report:
    """Give the report with what changed since an earlier one."""
    from connectivity_check.core.baseline import changes

    return replace(report, changes=changes(before, report))


def rendered(report: Report, wish: Wish) -> Result:
    """Give the report in the format that is wanted, without secrets; a table as the terminal can show it."""
    from connectivity_check.render import formats

    kind = wish.format
    screen = PLAIN if wish.output or sys.stdout is None else _screen()
    data = formats.render_report(report, kind, wish.language, screen)
    if kind is not formats.Format.NAGIOS:
        return Result(data)
    from connectivity_check.render.as_nagios import nagios_state

    return Result(data, nagios_state(report))


def _screen() -> Screen:
    width = shutil.get_terminal_size((PLAIN.width, 24)).columns if sys.stdout.isatty() else PLAIN.width
    no_colour, dumb = bool(os.environ.get("NO_COLOR")), os.environ.get("TERM", "dumb") == "dumb"
    return screen_of(sys.stdout, width, no_colour=no_colour, dumb=dumb)


def document(report: Report) -> bytes:
    """Give the report as JSON, without secrets."""
    from connectivity_check.render.formats import Format, render_report

    return render_report(report, Format.JSON)


def write_file(path: str, data: bytes) -> None:
    """Write a report, whole or not at all. Raises InputError."""
    from connectivity_check.render import output

    output.write_report(path, data)
