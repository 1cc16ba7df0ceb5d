"""Lists by name or path: the shipped ones, their dated editions, and files of one's own; exports to files."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import cache

from allowlists.document import MAX_CHARACTERS
from allowlists.edition import edition, editions
from allowlists.model import EndpointList, ListError
from allowlists.parse import parse_list

SHIPPED = ("collaboration", "standard", "streamlined")
"""The lists that come with the package; a plain name means the first edition (see docs/lists.md)."""


def load(name_or_path: str) -> EndpointList:
    """Give a list: "streamlined", a dated edition "streamlined@2025-04", or a file.

    A shipped name wins over a file of that name; write ./standard for the file. A shipped list is parsed
    once per process. Raises ListError for a file that is not there, cannot be read, is too long or not
    UTF-8, for an unknown edition, and for whatever `parse_list` refuses.
    """
    name, at, date = name_or_path.partition("@")
    if name in SHIPPED:
        shipped = _shipped(name)
        return edition(shipped, date) if at else shipped
    return parse_list(_read(name_or_path), name_or_path)


def available() -> tuple[str, ...]:
    """Give every name that `load` knows without a file, dated editions included."""
    found: list[str] = []
    for name in SHIPPED:
        found.append(name)
        found.extend(f"{name}@{date}" for date in editions(_shipped(name)))
    return tuple(found)


@cache
def _shipped(name: str) -> EndpointList:
    # Not importlib.resources: importing it takes as long as parsing a list.
    text = _read(os.path.join(os.path.dirname(__file__), "data", f"{name}.yaml"))
    return parse_list(text, f"{name}.yaml")


def write_whole(path: str, text: str) -> None:
    """Write a file whole or not at all. ListError when the place refuses; what was there stays then."""
    fresh = f"{path}.new"
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            os.unlink(fresh)
        reason = getattr(error, "strerror", None) or str(error)
        raise ListError(f"the file cannot be written: {reason}", file=ascii(path)[1:-1]) from None


def _read(path: str) -> str:
    """Give a file's text; devices and pipes are refused, they might never end."""
    if "\0" in path:
        raise ListError("a file name cannot hold a NUL character", file=ascii(path))
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ListError("this is no regular file", file=path)
            data = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "" if os.sep in path else f"; shipped lists are {', '.join(SHIPPED)}"
        raise ListError(f"the list cannot be read: {reason}{hint}", file=path) from None
    return _decode(data, path)


def _open(path: str, flags: int) -> int:
    """Open without waiting: a pipe that nobody writes to would otherwise block for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decode(data: bytes, path: str) -> str:
    if len(data) > MAX_CHARACTERS:
        raise ListError(f"the file is longer than {MAX_CHARACTERS} bytes", file=path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ListError("the file is not UTF-8 text", file=path, line=line) from None
