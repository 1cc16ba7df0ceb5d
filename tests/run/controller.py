"""The controller of `make run`: the real command, everything it writes in one directory that goes with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.failure import LabError
from tests.lab.ground import python_path
from tests.run.relay import SOURCE

START_S = 60.0
_API = (sys.executable, "-m", "api")


@dataclass(frozen=True, slots=True)
class Controller:
    """A controller and what an administrator's console says to it."""

    config: Path
    log: Path
    port: int

    @property
    def url(self) -> str:
        """What a person opens."""
        return f"http://127.0.0.1:{self.port}"

    def console(self, *words: str) -> Any:
        """What a command of the console prints as JSON; LabError when it fails."""
        done = subprocess.run(
            [*_API, *words, "--config", str(self.config), "--json"],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError("run.console", " ".join(words), done.stderr.strip())
        return json.loads(done.stdout)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve for the length of the block. It also ends when this process dies."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                # A session of its own: Ctrl-C is for us, and we end it when the device is gone.
                ["setpriv", "--pdeathsig=TERM", "--", *_API, "serve", "--config", str(self.config)],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait(process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_S
        while "listening on" not in self.log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > until:
                raise LabError("run.controller", "start the controller", self.log.read_text(errors="replace"))
            time.sleep(0.05)


def make_controller(directory: Path, wanted_port: int) -> Controller:
    """Settings for a controller in this directory; the wanted port, or a free one when it is taken."""
    directory.mkdir()
    config, log = directory / "controller.yaml", directory / "controller.log"
    log.touch()
    port = _free(wanted_port)
    settings = {
        "state_dir": str(directory / "state"),
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "trusted_proxies": [f"{SOURCE}/32"],
        "log_format": "text",
    }
    config.write_text(yaml.safe_dump(settings))
    return Controller(config, log, port)


def _free(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LabError("run.no_port", "find a port", "loopback has none left")


def _environment() -> dict[str, str]:
    """Ours without settings for another controller that somebody may have in their shell."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISOLATOR_")}
    return {**kept, "PYTHONPATH": python_path()}
