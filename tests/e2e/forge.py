"""Agents that start in milliseconds and die at a chosen step of an order."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path
from types import TracebackType

from tests.lab import Lab, LabError
from tests.lab.agent import Agent
from tests.lab.service import Service


class Forge:
    """One agent at a time in the lab's device, forked from a process that has everything loaded."""

    def __init__(self, lab: Lab, config: str = "{}\n") -> None:
        self.agent: Agent = lab.agent(config)
        self._fault = self.agent.directory / "fault"
        self._service = Service(lab.device, "tests.e2e.forge_process", (), self.agent.directory / "forge.log")
        self._service.hear(30.0)
        self._serials = itertools.count(1)
        self.pid: int | None = None

    def start(self) -> None:
        """Start an agent on this directory and wait until it answers."""
        if not self.starts():
            raise LabError("lab.agent_not_up", "fork an agent", self.agent.log.read_text()[-2000:])

    def starts(self) -> bool:
        """Start an agent: did it live to answer?"""
        agent = self.agent
        where = ("--config", agent.config, "--state-dir", agent.state_dir, "--socket", agent.socket)
        message = {
            "do": "start",
            "arguments": ["agent", *map(str, where)],
            "log": str(agent.log),
            "fault": str(self._fault),
        }
        self.pid = int(self._service.ask(message)["pid"])
        deadline = time.monotonic() + 20
        while not agent.listens():
            if not self._lives():
                return False
            if time.monotonic() > deadline:
                raise LabError("lab.agent_not_up", "fork an agent", agent.log.read_text()[-2000:])
            time.sleep(0.003)
        return True

    def _lives(self) -> bool:
        """Is it more than a zombie (proc(5))?"""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"

    def kill(self) -> None:
        """SIGKILL, at whatever instruction it is."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end: the exit code, negative for a signal."""
        code = int(self._service.ask({"do": "wait", "pid": self.pid})["exit"])
        self.pid = None
        return code

    def die_at(self, point: int) -> None:
        """Let the agent die at this point from now on, counted from 0."""
        new = self._fault.with_suffix(".new")
        new.write_text(f"{point} {next(self._serials)}")
        new.replace(self._fault)

    def live(self) -> None:
        """Take the fault away."""
        self._fault.unlink(missing_ok=True)

    def __enter__(self) -> Forge:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live()
        if self.pid is not None:
            self.kill()
            self.wait()
        self._service.close()
