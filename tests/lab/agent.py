"""The product inside the lab: an agent in a namespace, and the ``isolator`` command beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.lab.failure import LabError
from tests.lab.ground import python_path
from tests.lab.namespace import Namespace


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command ended."""

    exit_code: int
    stdout: str
    stderr: str
    took_ms: float

    def json(self) -> Any:
        """Its output, parsed; ValueError when it is no JSON."""
        return json.loads(self.stdout)


@dataclass(slots=True)
class Agent:
    """Config, state and socket of one agent in a directory of its own; the process comes with ``start``.

    ``command`` is what stands for ``isolator``. ``environment`` is added to that of every process started.
    Those see the namespace's own /run, so a notification reaches neither terminals nor motd nor desktop of
    the machine.
    """

    namespace: Namespace
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = (sys.executable, "-m", "isolator")
    process: subprocess.Popen[Any] | None = field(default=None, repr=False)

    @property
    def config(self) -> Path:
        return self.directory / "agent.yaml"

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def socket(self) -> Path:
        return self.directory / "agent.sock"

    @property
    def log(self) -> Path:
        """What the agent writes to stdout and stderr, of all its runs."""
        return self.directory / "agent.log"

    def prepare(self, config: str = "{}\n") -> None:
        """Make the directories and write agent.yaml."""
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.config.write_text(config)

    def start(self, timeout_s: float = 10.0) -> None:
        """Start ``isolator agent`` and wait until its socket answers; LabError with its log if not."""
        if self.process is not None and self.process.poll() is None:
            raise RuntimeError("this agent is running already")
        where = ["--config", self.config, "--state-dir", self.state_dir, "--socket", self.socket]
        with self.log.open("ab") as log:
            self.process = self.namespace.popen(
                [*self.command, "agent", *map(str, where)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
            )
        deadline = time.monotonic() + timeout_s
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise LabError("lab.agent_not_up", "start the agent", self._said())
            time.sleep(0.005)

    def listens(self) -> bool:
        """Does an agent answer on the agent's socket?

        Being connected is not enough: for a moment a program that a killed agent was starting has its socket.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"\n")
                return bool(probe.recv(1))
            except OSError:
                return False

    def isolator(self, *arguments: str, timeout_s: float = 30.0, stdin: str | None = None) -> Outcome:
        """Run ``isolator ARGUMENTS`` in the namespace; paths of this agent come by the environment."""
        started = time.monotonic()
        done = self.namespace.run(
            [*self.command, *arguments], timeout_s, stdin=stdin, env=self._environment()
        )
        took_ms = (time.monotonic() - started) * 1000
        return Outcome(done.returncode, done.stdout, done.stderr, took_ms)

    def stop(self, timeout_s: float = 10.0) -> int:
        """Ask it to end (SIGTERM) and give its exit code; LabError when it does not end."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LabError("lab.agent_stays", "stop the agent", self._said()) from error

    def kill(self) -> None:
        """End it at whatever instruction it is (SIGKILL), and wait until it is gone."""
        process = self._running()
        process.kill()
        process.wait()

    def _running(self) -> subprocess.Popen[Any]:
        if self.process is None:
            raise RuntimeError("this agent was never started")
        return self.process

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": python_path(),
            "ISOLATOR_CONFIG": str(self.config),
            "ISOLATOR_STATE_DIR": str(self.state_dir),
            "ISOLATOR_SOCKET": str(self.socket),
            **self.environment,
        }

    def _said(self) -> str:
        return self.log.read_text(errors="replace").strip()[-2000:] or "it said nothing"

    def __enter__(self) -> Agent:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
