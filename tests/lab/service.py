"""A helper process of the lab that answers JSON lines on its standard input, one line each way.

It ends when its input closes, so it never outlives its owner, however the owner ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.failure import LabError
from tests.lab.ground import python_path
from tests.lab.namespace import Namespace


class Service:
    """One running helper process inside a namespace (``None``: the one of the caller)."""

    def __init__(self, namespace: Namespace | None, module: str, arguments: Sequence[str], log: Path) -> None:
        """Start it; it comes up in parallel until ``hear`` waits for its greeting."""
        self._module = module
        self._log = log
        self._lock = threading.Lock()
        argv = [sys.executable, "-m", module, *arguments]
        environment = {**os.environ, "PYTHONPATH": python_path(), "PYTHONDONTWRITEBYTECODE": "1"}
        command = argv if namespace is None else namespace.command(argv)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment
            )
        self._buffer = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self, timeout_s: float = 15.0) -> dict[str, Any]:
        """Wait for the next line it says by itself: its greeting, a result."""
        with self._lock:
            return self._read_line(timeout_s)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a command that has no answer of its own."""
        with self._lock:
            self._send(message)

    def ask(self, message: dict[str, Any], timeout_s: float = 15.0) -> dict[str, Any]:
        """Send one command and wait for its answer; LabError with the service's words on "error"."""
        with self._lock:
            self._send(message)
            answer = self._read_line(timeout_s)
        if "error" in answer:
            raise LabError("lab.service_refused", f"{self._module} {message.get('do')}", str(answer["error"]))
        return answer

    def close(self) -> None:
        """End it: close its input, kill it if that does not help. A second call does nothing."""
        process = self._process
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._gone() from error

    def _read_line(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        fd = self._process.stdout.fileno()
        pieces = [self._buffer]
        while b"\n" not in pieces[-1]:
            readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise LabError(
                    "lab.service_silent", f"wait for {self._module}", f"{timeout_s:g} s; {self._said()}"
                )
            piece = os.read(fd, 1 << 20)
            if not piece:
                raise self._gone()
            pieces.append(piece)
        line, _, self._buffer = b"".join(pieces).partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _gone(self) -> LabError:
        return LabError("lab.service_ended", f"talk to {self._module}", self._said())

    def _said(self) -> str:
        return self._log.read_text(errors="replace").strip()[-2000:] or "it said nothing"
