"""What a terminal can show."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Screen:
    """Width in columns, and whether colours and characters beyond ASCII may be used."""

    width: int = 100
    colour: bool = False
    ascii_only: bool = False


PLAIN = Screen()
"""A file: no colours, room enough."""


def screen_of(stream: TextIO, width: int, *, no_colour: bool = False, dumb: bool = False) -> Screen:
    """Give the screen behind a stream: no colours unless it is a terminal, ASCII when its encoding is
    not UTF-8.

    `no_colour`: NO_COLOR is set (no-color.org); `dumb`: TERM is "dumb" or missing.
    """
    try:
        # Reports are written as UTF-8: in any other encoding only their ASCII part reads right.
        ascii_only = codecs.lookup(stream.encoding or "ascii").name != "utf-8"
    except LookupError:
        ascii_only = True
    return Screen(max(width, 20), stream.isatty() and not no_colour and not dumb, ascii_only)
