"""Terminals of logged-in users, for machines without `wall`."""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_LOG = logging.getLogger("isolator.notify")
_LINE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9/_-]*").fullmatch


def write_terminals(utmp: Path, devices: Path, text: str) -> None:
    """Write to the terminals of logged-in users; one that does not take the text at once is passed over."""
    if sys.platform != "win32":
        data = ("\r\n\a" + text.replace("\n", "\r\n")).encode()
        flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
        for line in sorted(set(_logged_in_lines(utmp.read_bytes()))):
            try:
                terminal = os.open(devices / line, flags)
            except OSError as error:
                _LOG.info("notify terminals: %s: %s", line, error)
                continue
            try:
                if os.isatty(terminal):
                    os.write(terminal, data)
            except OSError as error:
                _LOG.info("notify terminals: %s: %s", line, error)
            finally:
                os.close(terminal)


def _logged_in_lines(records: bytes) -> Iterator[str]:
    """Give the terminal of each USER_PROCESS record of utmp(5): type at 0, ut_line at 8."""
    user_process, size = 7, 400 if platform.machine() == "aarch64" else 384
    for start in range(0, len(records) - size + 1, size):
        line = records[start + 8 : start + 40].split(b"\0")[0]
        if int.from_bytes(records[start : start + 2], sys.byteorder) == user_process and _LINE(line):
            yield line.decode()
