"""When the kernel carried out an agent's commits: a wrapper round sendmsg(2), preloaded into the agent.

A netlink monitor tells of a commit after it; the promise counts from its beginning.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("netlink_times.c")
NEWTABLE, NEWCHAIN = 0, 3


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction: when the kernel began and ended it (CLOCK_MONOTONIC, ns), and its first message."""

    began_ns: int
    ended_ns: int
    first: int


@dataclass(frozen=True, slots=True)
class CommitTimes:
    """The commits of every process started with ``environment``."""

    library: Path
    log: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What the agent has to be started with."""
        return {"LD_PRELOAD": str(self.library), "NETLINK_TIMES": str(self.log)}

    def commits(self) -> tuple[Commit, ...]:
        """Everything committed so far, oldest first; dry runs are left out."""
        rows = (line.split() for line in self.log.read_text().splitlines())
        return tuple(Commit(int(a), int(b), int(kind)) for a, b, committed, kind in rows if committed == "1")

    def hooking(self) -> tuple[Commit, ...]:
        """The commits that begin with a base chain: arm, and the opening up at a release."""
        return tuple(each for each in self.commits() if each.first == NEWCHAIN)


def build(directory: Path) -> CommitTimes:
    """Compile the wrapper into a directory."""
    library = directory / "netlink_times.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return CommitTimes(library, directory / "commits.log")
