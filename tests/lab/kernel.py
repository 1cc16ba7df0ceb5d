"""The few kernel calls Python 3.11 has no name for: setns(2), unshare(2) and namespaced sysctls.

All of them act on the calling *thread*, so they are only ever called in a thread that ends afterwards.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

CLONE_FS = 0x0000_0200
CLONE_NEWNS = 0x0002_0000
CLONE_NEWNET = 0x4000_0000

_libc = ctypes.CDLL(None, use_errno=True)


def setns(fd: int, kind: int) -> None:
    """Move the calling thread into the namespace behind ``fd``; OSError with the kernel's errno."""
    if _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "setns")


def unshare(flags: int) -> None:
    """Give the calling thread its own copy of what ``flags`` names; OSError with the kernel's errno."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "unshare")


def write_sysctls(settings: Mapping[str, str]) -> None:
    """Write ``/proc/sys`` entries as seen by the calling thread; absent ones (no IPv6) are an OSError."""
    for name, value in settings.items():
        Path("/proc/sys", *name.split("/")).write_text(value)


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (proc(5), stat field 22); None when it is gone.

    Together with the pid it names one process for the whole uptime: pids come back, this pair does not.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold spaces and brackets, so count from its last closing bracket.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
