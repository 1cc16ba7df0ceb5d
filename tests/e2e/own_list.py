"""List files of the tests' own: what a person writes who has other endpoints than Microsoft's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a list file."""

    pattern: str
    port: int = 443
    protocol: str = "tcp"


def list_text(list_id: str, rows: Iterable[Row]) -> str:
    """A list file with these rows."""
    lines = (f'  - {{pattern: "{r.pattern}", port: {r.port}, protocol: {r.protocol}}}\n' for r in rows)
    return f"header: {{list_id: {list_id}}}\nentries:\n{''.join(lines)}"


def write_list(path: Path, rows: Iterable[Row]) -> str:
    """Write a list file, named after the file; gives its path as an order wants it."""
    path.write_text(list_text(path.stem, rows))
    return str(path)
