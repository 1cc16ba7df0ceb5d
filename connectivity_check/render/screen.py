"""What a terminal can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

_NEEDED = "─│✓✕…"


@dataclass(frozen=True, slots=True)
class Screen:
    """Width in columns, and whether colours and characters beyond ASCII may be used."""

    width: int = 100
    colour: bool = False
    ascii_only: bool = False


PLAIN = Screen()
"""A file: no colours, room enough."""


def screen_of(stream: TextIO, width: int, *, no_colour: bool = False, dumb: bool = False) -> Screen:
    """Give the screen behind a stream: no colours unless it is a terminal, ASCII when its encoding has no
    more.

    `no_colour`: NO_COLOR is set (no-color.org); `dumb`: TERM is "dumb" or missing.
    """
    try:
        _NEEDED.encode(stream.encoding or "ascii")
        ascii_only = False
    except (UnicodeEncodeError, LookupError):
        ascii_only = True
    return Screen(max(width, 20), stream.isatty() and not no_colour and not dumb, ascii_only)
