"""A rendered report to a file or to standard output."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress

from connectivity_check.model import InputError

_TRIES = 8


def write_report(path: str, data: bytes) -> None:
    """Write the data whole or not at all; "-" is standard output.

    A file is written beside its place under another name and then renamed, so that a reader, a full disk or
    Ctrl-C never meet half a report. A link is followed; a device or a pipe is written to as it is. Raises
    InputError, in one sentence, when that is not possible; BrokenPipeError of standard output goes through.
    """
    if path == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        _write(_place(path), data)
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None


def check_writable(path: str) -> None:
    """Find out before a long run whether `write_report` will be able to; leaves nothing behind.

    Raises InputError as `write_report` does.
    """
    if path == "-":
        return
    try:
        place = _place(path)
        if _is_special(place):
            return
        name, file = _new_file(os.path.dirname(place))
        os.close(file)
        os.unlink(name)
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: str, error: OSError | ValueError) -> InputError:
    # ValueError: a NUL in the name.
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputError(f"the report cannot be written to {path!r}: {reason}; give another -o FILE")


def _place(path: str) -> str:
    """Give the file that is meant, links followed. Raises InputError for what is no place for a file."""
    if not path or path.endswith(("/", os.sep)) or os.path.isdir(path):
        raise InputError(f"the report cannot be written to {path!r}: that is a directory; give a file in it")
    # /dev/stdout is a link into /proc whose target has no name of its own: taken as it is.
    place = path if _is_special(path) else os.path.realpath(path)
    if not _is_special(place) and os.path.exists(place) and not os.access(place, os.W_OK):
        # Renaming would replace it all the same, which is not what a read-only file is for.
        raise InputError(
            f"the report cannot be written to {path!r}: the file is read-only; give another -o FILE"
        )
    return place


def _is_special(path: str) -> bool:
    """Whether it is there and neither a regular file nor a directory: a device, a pipe, a socket."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write(place: str, data: bytes) -> None:
    if _is_special(place):
        with open(place, "wb") as device:
            device.write(data)
        return
    name, number = _new_file(os.path.dirname(place))
    try:
        with open(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(name, stat.S_IMODE(os.stat(place).st_mode))
        os.replace(name, place)
    except BaseException:  # Ctrl-C as well: nothing may be left over
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def _new_file(folder: str) -> tuple[str, int]:
    """Make a file that was not there, with the rights that the umask leaves."""
    tries = _TRIES
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    while True:
        name = os.path.join(folder or ".", f".report-{secrets.token_hex(6)}.part")
        try:
            return name, os.open(name, flags, 0o666)
        except FileExistsError:
            tries -= 1
            if not tries:
                raise
