"""A controller process for the fleet: the real command, a state directory of its own, a client, a token."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.fleet.wire import Answer, Wire

START_S = 120.0
_API = (sys.executable, "-m", "api")


@dataclass
class Forked:
    """A process that another one forked and nobody has to wait for."""

    pid: int

    def poll(self) -> int | None:
        """None while it lives."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing when it is gone already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 30.0) -> int:
        """Until it is gone. TimeoutExpired when that takes longer."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return 0


@dataclass
class Controller:
    """A controller that can be started, ended and killed again and again, on one port and one database."""

    directory: Path
    database: str = ""
    """Its address; empty: SQLite in the directory."""
    settings: Mapping[str, object] = field(default_factory=dict)
    port: int = field(default_factory=lambda: free_port())
    tls: ssl.SSLContext | None = None
    """What its callers believe; the certificate itself is among the settings. None: plain HTTP."""
    preload: bool = False
    """Fork it from a process that has imported everything: for many starts, not for measuring one."""
    process: subprocess.Popen[bytes] | Forked | None = None
    parent: subprocess.Popen[bytes] | None = None
    token: str = ""
    """An access token, made by `sign_in`."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers. RuntimeError with its log when it does not.

        One that ends at once, its database being in recovery for example, is started again, as systemd does.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        arguments = ["serve", "--port", str(self.port), *self._where()]
        self.process = self._fork(arguments) if self.preload else self._spawn(arguments)
        until = time.monotonic() + START_S
        while not answers(self.url, self.tls):
            if time.monotonic() > until:
                raise RuntimeError(f"the controller did not start:\n{self.log()[-3000:]}")
            time.sleep(0.05)
            if self.process.poll() is not None:
                self.process = self._fork(arguments) if self.preload else self._spawn(arguments)
                time.sleep(0.5)

    def end(self, how: signal.Signals = signal.SIGTERM, within_s: float = 30.0) -> float:
        """Tell it to end (or kill it); gives how long it took. Nothing when it is not running."""
        if self.process is None:
            return 0.0
        started = time.monotonic()
        self.process.send_signal(how)
        try:
            self.process.wait(within_s)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None
        return time.monotonic() - started

    def close(self) -> None:
        """End it, and the process it was forked from."""
        self.end()
        if self.parent is not None:
            self.parent.communicate()
            self.parent = None

    def _spawn(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [*_API, *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _fork(self, arguments: list[str]) -> Forked:
        if self.parent is None:
            with (self.directory / "log").open("ab") as log:
                self.parent = subprocess.Popen(
                    [sys.executable, "-m", "tests.fleet.preloaded"],
                    env=self._environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(json.dumps(arguments).encode() + b"\n")
        self.parent.stdin.flush()
        return Forked(int(self.parent.stdout.readline()))

    def memory_mib(self) -> float:
        """Resident memory of the process and the ones it started."""
        assert self.process is not None
        return sum(_rss_mib(each) for each in (self.process.pid, *_children(self.process.pid)))

    def cpu_s(self) -> float:
        """Processor time the process has used."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def console(self, *words: str) -> Any:
        """What a command of the console prints as JSON."""
        done = subprocess.run(
            [*_API, *words, *self._where(), "--json"],
            env=self._environment(),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.decode()}")
        return json.loads(done.stdout)

    async def sign_in(self, role: str = "administrator") -> None:
        """Make an API client and get its access token."""
        made = await asyncio.to_thread(
            self.console, "client", "create", "--name", f"fleet-{time.time_ns()}", "--role", role
        )
        form = {
            "grant_type": "client_credentials",
            "client_id": made["client_id"],
            "client_secret": made["client_secret"],
            "scope": f"{self.url}/.default",
        }
        wire = Wire(self.url, self.tls)
        answer = await wire.post(
            f"/{made['tenant_id']}/oauth2/v2.0/token",
            urlencode(form).encode(),
            20,
            content_type="application/x-www-form-urlencoded",
        )
        wire.close()
        self.token = answer.json()["access_token"]

    async def call(self, path: str, body: Mapping[str, Any], *, timeout_s: float = 60.0) -> Answer:
        """One POST to the API with the access token, on its own connection. Gone when there is no answer."""
        wire = Wire(self.url, self.tls)
        try:
            return await wire.post(
                path,
                json.dumps(body).encode(),
                timeout_s,
                content_type="application/json",
                authorization=f"Bearer {self.token}",
            )
        finally:
            wire.close()

    def log(self) -> str:
        """What it has written."""
        return (self.directory / "log").read_text(errors="replace")

    def _where(self) -> list[str]:
        return ["--state-dir", str(self.directory), *(["--database", self.database] if self.database else [])]

    def _environment(self) -> dict[str, str]:
        given = {f"ISOLATOR_API_{name.upper()}": str(value) for name, value in self.settings.items()}
        return {**os.environ, **given}


def answers(url: str, context: ssl.SSLContext | None) -> bool:
    """Whether a web server answers there, whatever it says."""
    try:
        urllib.request.urlopen(url, timeout=5, context=context).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _children(pid: int) -> list[int]:
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [deeper for each in found for deeper in _children(each)]
