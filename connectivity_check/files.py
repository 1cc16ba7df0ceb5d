"""The data files: expected answers, the shipped ones or a file of one's own."""

from __future__ import annotations

import os
import stat

from connectivity_check.core.expectations import Expectations, parse_expectations
from connectivity_check.model import InputError

MAX_BYTES = 1024 * 1024
"""The shipped file has some 12 kB."""

_SHIPPED = os.path.join(os.path.dirname(__file__), "data", "expectations.yaml")


def load_expectations(path: str | None = None) -> Expectations:
    """Give the expected answers: the shipped ones, or those of a file (YAML) instead.

    Raises InputError for a file that cannot be read, is no YAML or not as core/expectations.py has it.
    """
    import yaml

    source = path or "expectations.yaml"
    text = _read(path or _SHIPPED)
    # The loader in C is ten times faster, and ends the process on thousands of nested brackets.
    loader = yaml.SafeLoader if path else getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise InputError(f"{source}{line}: this is no YAML: {reason}") from None
    return parse_expectations(data, source)


def _read(path: str) -> str:
    """Give a file's text; devices and pipes are refused, they might never end."""
    if "\0" in path:
        raise InputError("a file name cannot hold a NUL character")
    try:
        with open(path, "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: this is no regular file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path} is longer than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None


def _open(path: str, flags: int) -> int:
    """Open without waiting: a pipe that nobody writes to would otherwise block for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
