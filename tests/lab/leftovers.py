"""Names of what a lab leaves in the system, and the removal of what a dead lab left behind.

A lab that is killed with SIGKILL cannot tidy up. Its namespaces and directories carry the pid and start
time of their owner, so the next lab can tell them from those of a lab that is still running, and remove
them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import kernel
from tests.lab.failure import LabError

NETNS_DIRECTORY = Path("/run/netns")
_PREFIX = "isolab"
_NAME = re.compile(rf"{_PREFIX}-(?P<pid>\d+)-(?P<start>\d+)-(?P<serial>\d+)-(?P<role>[a-z0-9_]+)")


@dataclass(frozen=True, slots=True)
class LabName:
    """Which lab: its owner's pid and start time (clock ticks since boot), and its number with that owner."""

    pid: int
    start: int
    serial: int

    @property
    def stem(self) -> str:
        return f"{_PREFIX}-{self.pid}-{self.start}-{self.serial}"

    def of(self, role: str) -> str:
        """The name of one namespace or directory of this lab."""
        return f"{self.stem}-{role}"

    def owner_lives(self) -> bool:
        return kernel.process_start(self.pid) == self.start


def own_name(serial: int) -> LabName:
    """The name for the calling process's lab number ``serial``."""
    pid = os.getpid()
    start = kernel.process_start(pid)
    if start is None:
        raise LabError("lab.no_proc", "read own start time", "/proc is not mounted for this pid namespace")
    return LabName(pid, start, serial)


def parse_name(text: str) -> LabName | None:
    """The lab a namespace or directory name belongs to; None for a name that is not ours."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    return LabName(int(found["pid"]), int(found["start"]), int(found["serial"]))


def processes_in(namespaces: Iterable[str]) -> tuple[int, ...]:
    """Pids whose network namespace is one of the named ones; the caller itself is never among them."""
    inodes = {inode for name in namespaces if (inode := _inode(NETNS_DIRECTORY / name)) is not None}
    if not inodes:
        return ()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return tuple(p for p in pids if p != os.getpid() and _inode(Path(f"/proc/{p}/ns/net")) in inodes)


def remove_namespaces(names: Iterable[str], *, patience_s: float = 2.0) -> None:
    """Kill what runs in the named namespaces and delete them; those already gone are no error."""
    present = [name for name in names if (NETNS_DIRECTORY / name).exists()]
    if not present:
        return
    deadline = time.monotonic() + patience_s
    while pids := processes_in(present):
        for pid in pids:
            _kill(pid)
        if time.monotonic() > deadline:
            break  # unkillable (in the kernel): the name goes all the same, the rest when that process ends
        time.sleep(0.005)
    batch = "".join(f"netns del {name}\n" for name in present)
    # -force: another lab may be removing the same leftovers at this moment.
    subprocess.run(["ip", "-force", "-batch", "-"], input=batch, text=True, capture_output=True, check=False)
    left = [name for name in present if (NETNS_DIRECTORY / name).exists()]
    if left:
        raise LabError("lab.namespace_left", "delete network namespaces", ", ".join(left))


def sweep() -> tuple[str, ...]:
    """Remove all that labs of dead owners left; returns the names removed (empty: nothing was there)."""
    dead = _names_of_the_dead(NETNS_DIRECTORY, lambda path: True)
    remove_namespaces(dead)
    directory = Path(tempfile.gettempdir())
    for name in (trees := _names_of_the_dead(directory, _is_own_directory)):
        shutil.rmtree(directory / name, ignore_errors=True)
    return (*dead, *trees)


def _names_of_the_dead(directory: Path, accept: Callable[[Path], bool]) -> tuple[str, ...]:
    if not directory.is_dir():
        return ()
    named = ((path, parse_name(path.name)) for path in sorted(directory.iterdir()))
    return tuple(p.name for p, lab in named if lab is not None and not lab.owner_lives() and accept(p))


def _is_own_directory(path: Path) -> bool:
    """/tmp is everybody's: only a real directory that belongs to this user is removed."""
    try:
        return path.is_dir() and not path.is_symlink() and path.lstat().st_uid == os.getuid()
    except FileNotFoundError:
        return False


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
    return status.st_dev, status.st_ino


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
