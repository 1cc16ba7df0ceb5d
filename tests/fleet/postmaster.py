"""A PostgreSQL that is killed: as a whole or one of its backends, and started again on what is left.

What is committed must be with the kernel before it is acknowledged, so `synchronous_commit` is on; `fsync` is
not: processes are killed here, not machines.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from tests.contract.api import postgresql
from tests.contract.api.postgresql import Server

_SETTINGS = ("listen_addresses=", "fsync=off", "max_connections=100", "restart_after_crash=on")


class Postmaster:
    """One server's life: `start`, `kill`, `kill_backend`, `end`."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self.server = Server(directory)
        self._data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        postgresql.initialise(programs, self._data)

    def start(self, within_s: float = 60.0) -> None:
        """Start it, again and again while the last one's processes still hold its memory."""
        until = time.monotonic() + within_s
        while True:
            self._launch()
            while self._process is not None and self._process.poll() is None:
                if self.answers():
                    return
                if time.monotonic() > until:
                    raise RuntimeError("PostgreSQL does not answer")
                time.sleep(0.05)
            if time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log().read_text()[-2000:]}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            self.server.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to the postmaster; its children find out and end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_backend(self, database: str) -> bool:
        """SIGKILL to one connection's process; the postmaster then throws everybody out and recovers."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        victims = [each for each in children if f" {database} " in _command(each)]
        if not victims:
            return False
        os.kill(int(random.choice(victims)), signal.SIGKILL)
        return True

    def end(self) -> None:
        """Fast shutdown, if it runs."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=30)

    def _launch(self) -> None:
        options = [part for each in _SETTINGS for part in ("-c", each)]
        with self._log().open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *postgresql.as_account(),
                    f"{self._programs}/postgres",
                    "-D",
                    str(self._data),
                    "-k",
                    str(self.server.directory),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def _log(self) -> Path:
        return self.server.directory / "log"


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
