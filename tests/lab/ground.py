"""Can this process make network namespaces, and how does it get to where it can?

``probe()`` tries for real and answers with a code. ``python -m tests.lab.ground COMMAND...`` runs a command
where labs are possible: as root directly, as a plain user inside a user namespace of its own (``unshare
-Urnm``).
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.lab.leftovers import NETNS_DIRECTORY, own_name

ROOT = Path(__file__).resolve().parents[2]
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_NEEDED = ("ip", "nsenter", "unshare", "mount")


@dataclass(frozen=True, slots=True)
class Ground:
    """Whether labs are possible here; ``code`` is None when they are, ``detail`` is what the system said."""

    code: str | None
    detail: str = ""

    @property
    def possible(self) -> bool:
        return self.code is None


@functools.cache
def probe() -> Ground:
    """Make a network namespace and delete it again, and say with a code why it did not work."""
    if sys.platform != "linux":
        return Ground("lab.not_linux", sys.platform)
    widen_path()
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        return Ground("lab.program_missing", ", ".join(missing))
    if os.geteuid() != 0:
        return Ground("lab.plain_user", "run it through: python -m tests.lab.ground COMMAND...")
    name = own_name(0).of("probe")
    added = _ip("netns", "add", name)
    if added.returncode != 0:
        return Ground("lab.netns_refused", added.stderr.strip())
    try:
        # A veth pair, because a kernel without veth or a seccomp profile would only show there.
        linked = _ip("-n", name, "link", "add", "probe0", "type", "veth", "peer", "name", "probe1")
        return Ground(None) if linked.returncode == 0 else Ground("lab.veth_refused", linked.stderr.strip())
    finally:
        _ip("netns", "del", name)


def widen_path() -> None:
    """Put the sbin directories on PATH: plain users often lack them, ip and nft live there."""
    present = os.environ.get("PATH", "").split(":")
    os.environ["PATH"] = ":".join([*present, *(p for p in _SYSTEM_PATH.split(":") if p not in present)])


def python_path() -> str:
    """PYTHONPATH for processes that import the checkout: its root, then what the caller's own had."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def run_on_ground(command: list[str]) -> NoReturn:
    """Replace this process by ``command`` where labs are possible; exit 4 and say why if nowhere."""
    widen_path()
    os.environ["PYTHONPATH"] = python_path()
    if os.geteuid() == 0:
        os.execvp(command[0], command)
    inside = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--"]
    tried = subprocess.run([*inside, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        said = tried.stderr.strip() or f"exit {tried.returncode}"
        sys.stderr.write(
            f"lab.userns_refused: this kernel gives plain users no user namespace: {said}; use root\n"
        )
        raise SystemExit(4)
    os.execvp("unshare", [*inside, sys.executable, "-m", "tests.lab.ground", "--inside", *command])


def _enter(command: list[str]) -> NoReturn:
    """Inside a fresh user namespace: a private /run for the names of ``ip netns``, then the command."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "lab-run", "/run"], check=True)
    NETNS_DIRECTORY.mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.execvp(command[0], command)


def main(arguments: list[str]) -> NoReturn:
    """Entry of ``python -m tests.lab.ground``."""
    if arguments[:1] == ["--inside"] and len(arguments) > 1:
        _enter(arguments[1:])
    if not arguments or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m tests.lab.ground COMMAND [ARGUMENT...]\n")
        raise SystemExit(2)
    run_on_ground(arguments)


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    main(sys.argv[1:])
