"""A program run with a limit on its time and its output."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from isolator.render.notice import clean

OUTPUT_LIMIT = 4096
"""Bytes of a program's output that are kept for the log; the rest is read and thrown away."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for, whatever environment the agent was started in."""


def run_bounded(
    argv: Sequence[str], data: bytes, limit_s: float, *, leave_children: bool = True
) -> tuple[str, str]:
    """Run a program in a process group of its own; give how it ended ("exit 0", "killed after 10 s", ...)
    and the first OUTPUT_LIMIT bytes of its output, cleaned to one line.

    `data` must fit into a pipe (64 KiB). At the limit the whole group is killed; a child that outlives the
    program is let go when `leave_children`, killed otherwise. Raises OSError when it cannot be started.
    """
    environ = {"PATH": PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        cwd="/",
        env=environ,
        start_new_session=True,
    ) as process:
        in_time = False
        try:
            _feed(process, data)
            output = _watch(process, time.monotonic() + limit_s)
            in_time = _is_over(process)
        finally:
            if not in_time or not leave_children:
                _kill_group(process)
    ended = f"exit {process.returncode}" if in_time else f"killed after {limit_s:g} s"
    return ended, clean(output.decode("utf-8", "replace"), OUTPUT_LIMIT)


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    # It may not want to read; its exit code says whether that is bad.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(data)
    process.stdin.close()


def _watch(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Read output until the program ends or the deadline, whoever keeps the pipe open."""
    assert process.stdout is not None
    kept = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            over = _is_over(process)
            if selector.get_map() and selector.select(0 if over else min(left, 0.05)):
                chunk = os.read(process.stdout.fileno(), 65_536)
                kept += chunk[: OUTPUT_LIMIT - len(kept)]
                if not chunk:
                    selector.unregister(process.stdout)
            elif over:
                break
            elif not selector.get_map():
                time.sleep(min(left, 0.05))
    return kept


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    """Say whether the program has ended, without reaping it: its group is still to be killed by number."""
    if sys.platform != "win32":
        over = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    else:
        over = process.poll() is not None
    return over


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program's group. Only before the program is reaped: then the number may be another's."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
