"""StateStore in one JSON file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from isolator.model.failure import FailureCode, IsolatorError

_LARGEST = 8 * 1024 * 1024
"""Bytes; a journal with 100,000 learned addresses is far below, a mistaken file is not read whole."""

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", None)


class StateFile:
    """The journal at a path, readable by its owner only; a new version replaces the old one whole.

    A symbolic link in its place is refused, so that nobody redirects what root writes.
    """

    def __init__(self, path: Path, largest: int = _LARGEST) -> None:
        self._path = path
        self._largest = largest

    def load(self) -> Mapping[str, object] | None:
        """The document, None when there is no file. STATE_UNREADABLE names the file and why."""
        try:
            text = self._read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(str(error.strerror or error)) from error
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._unreadable(f"it is not JSON ({error})") from error
        if not isinstance(document, dict):
            raise self._unreadable("it is JSON, but not an object")
        return document

    def save(self, document: Mapping[str, object]) -> None:
        """Durable when it returns; when it raises, the former version is still there.

        The directory is made (0700) when it is missing.
        """
        data = json.dumps(document, allow_nan=False, sort_keys=True).encode()
        if len(data) > self._largest:
            raise self._unwritable(f"{len(data)} bytes are more than would be read back")
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_durably(new, data)
            os.replace(new, self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise self._unwritable(str(error.strerror or error)) from error

    def clear(self) -> None:
        """Remove the file, durably; no error when there is none."""
        try:
            self._path.unlink(missing_ok=True)
            if self._path.parent.is_dir():
                _sync_directory(self._path.parent)
        except OSError as error:
            raise self._unwritable(str(error.strerror or error)) from error

    def _read(self) -> bytes:
        descriptor = os.open(self._path, os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is not a regular file")
            data = file.read(self._largest + 1)
        if len(data) > self._largest:
            raise OSError(f"it is longer than {self._largest} bytes")
        return data

    def _unreadable(self, why: str) -> IsolatorError:
        sentence = f"the state file {self._path} cannot be read: {why}"
        return IsolatorError(FailureCode.STATE_UNREADABLE, "load state", sentence)

    def _unwritable(self, why: str) -> IsolatorError:
        sentence = f"the state file {self._path} cannot be written: {why}"
        return IsolatorError(FailureCode.STATE_UNWRITABLE, "save state", sentence)


def _write_durably(path: Path, data: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):  # what a crash between write and rename left behind
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    """Make a rename durable; systems that cannot open a directory have nothing to sync."""
    if _DIRECTORY is None:
        return
    descriptor = os.open(path, os.O_RDONLY | _DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
