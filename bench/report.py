"""The figures as a table for a person and as a document for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.figure import Figure, Spread

_VERDICTS = {True: "ok", False: "MISSED", None: ""}
_STYLES = {True: "green", False: "bold red", None: ""}


def number(value: float) -> str:
    """Three significant digits, thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def shown_range(spread: Spread) -> str:
    """min-max, or nothing for a single count."""
    return "" if spread.count == 1 else f"{number(spread.low)}-{number(spread.high)}"


def show(figures: Sequence[Figure]) -> None:
    """A table on a terminal, tab-separated lines otherwise."""
    if not sys.stdout.isatty():
        for line in plain_lines(figures):
            print(line)
        return
    table = Table(title="make bench", title_justify="left", pad_edge=False)
    for heading in ("figure", "measured", "min-max", "bound", "", "how"):
        table.add_column(heading, overflow="fold")
    for each in figures:
        measured = f"{number(each.measured.median)} {each.unit}"
        style = _STYLES[each.ok]
        verdict = f"[{style}]{_VERDICTS[each.ok]}[/{style}]" if style else ""
        bound = str(each.bound) if each.bound else ""
        table.add_row(
            escape(each.name), measured, shown_range(each.measured), bound, verdict, escape(each.detail)
        )
    Console().print(table)


def plain_lines(figures: Sequence[Figure]) -> list[str]:
    """The table as aligned text, one line a figure, the detail indented below it."""
    lines = []
    width = max((len(each.name) for each in figures), default=0)
    for each in figures:
        measured = f"{number(each.measured.median)} {each.unit}"
        bound = str(each.bound) if each.bound else ""
        line = (
            f"{each.name:<{width}}  {measured:>14}  {shown_range(each.measured):>20}  "
            f"{bound:>9}  {_VERDICTS[each.ok]}"
        )
        lines.append(line.rstrip())
        if each.detail:
            lines.append(f"    {each.detail}")
    return lines


def machine() -> dict[str, Any]:
    """What the figures were measured on, as far as it matters; nothing that names the machine."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": [float(word) for word in Path("/proc/loadavg").read_text().split()[:3]],
    }


def write(figures: Sequence[Figure], path: Path, *, took_s: float, quick: bool) -> None:
    """The document, whole or not at all."""
    document = {
        "schema": 1,
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "took_s": round(took_s, 1),
        "quick": quick,
        "machine": machine(),
        "figures": [each.document() for each in figures],
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document, indent=2) + "\n")
    new.replace(path)
