"""From a wish to a report and from a report to bytes: the one file that knows the edges and the runner.

Everything heavy is imported where it is needed, so that a usage error and --help come at once.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from connectivity_check.cli_options import Wish
from connectivity_check.model import InputError, ListInfo, ProxyAuth, ProxyServer, Report, Target

if TYPE_CHECKING:
    import asyncio

    from connectivity_check.core.plan import Expect

MAX_REPORT_BYTES = 256 * 1024 * 1024
"""A report of 500 rows with every control has some 5 MB."""


@dataclass(frozen=True, slots=True)
class Result:
    """A rendered report; `exit_code` when the format has codes of its own."""

    data: bytes
    exit_code: int | None = None


async def measure(wish: Wish, stop: asyncio.Event) -> Report:
    """Measure what is wanted; `stop` ends it early, with a partial report.

    Raises InputError for what cannot be used (list, PAC file, address) and MeasureError when nothing can be
    measured here. A progress bar is shown when standard error is a terminal.
    """
    from connectivity_check import files, runner
    from connectivity_check.probes import network
    from connectivity_check.render.progress import LiveProgress

    expect = files.load_expectations(wish.expectations or None).of
    targets, lists = _targets(wish, expect)
    _check_source(wish.source_address)
    control = _control_proxy(wish)
    path, ways = await _way(wish)
    try:
        net = network.build(wish)
        progress = LiveProgress(len(targets), sys.stderr)
        try:
            return await runner.run(targets, runner.Tools(net, ways, clock), options, progress.on_row)
        finally:
            progress.done()
            await net.close()
    finally:
        await ways.close()


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


def _control_proxy(wish: Wish) -> ProxyServer | None:
    from connectivity_check.settings.proxy_url import parse_proxy_url

    return parse_proxy_url(wish.control_proxy, where="--control-proxy") if wish.control_proxy else None


def check_output(path: str) -> None:
    """Refuse an output that cannot be written now, and not after a minute of measuring. "" is fine."""
    if not path:
        return
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise InputError(f"-o {path} is a directory; name a file in it")
    if not os.path.isdir(folder):
        raise InputError(f"-o {path} cannot be written: there is no directory {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"-o {path} cannot be written: no permission to make a file in {folder}")


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
    """Give the report in the format that is wanted, without secrets."""
    raise NotImplementedError


def document(report: Report) -> bytes:
    """Give the report as JSON, without secrets."""
    raise NotImplementedError


def write_file(path: str, data: bytes) -> None:
    """Write a report, whole or not at all. Raises InputError."""
    raise NotImplementedError
