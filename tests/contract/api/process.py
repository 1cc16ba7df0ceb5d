"""The real command as a process: started with settings of its own, told to end, asked over its socket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

START_S = 40.0
API = (sys.executable, "-m", "api")


@dataclass
class Running:
    """A controller that serves."""

    process: subprocess.Popen[bytes]
    log_file: Path
    url: str

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def log(self) -> str:
        """All it has written."""
        return self.log_file.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """The same as values."""
        return [json.loads(each) for each in self.log().splitlines()]

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 40) -> int:
        """Tell it to end; gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(within_s)


def write_settings(directory: Path, **settings: Any) -> Path:
    """A settings file; port 0 and a state directory of the test's own unless said otherwise."""
    file = directory / "controller.yaml"
    given = {"state_dir": str(directory / "state"), "port": 0, **settings}
    file.write_text(yaml.safe_dump({key: _plain(value) for key, value in given.items()}))
    return file


def refused(directory: Path, **settings: Any) -> tuple[int, str]:
    """Exit code and standard error of a start that ends by itself."""
    done = command("serve", "--config", str(write_settings(directory, **settings)))
    return done.returncode, done.stderr


def command(
    *words: str, env: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """One command of the console."""
    return subprocess.run(
        [*API, *words],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        **options,
    )


@contextmanager
def running(directory: Path, env: Mapping[str, str] | None = None, **settings: Any) -> Iterator[Running]:
    """A controller for the length of the block; killed when it is still there then."""
    config, log = write_settings(directory, **settings), directory / "log"
    log.touch()
    with log.open("ab") as written:
        process = subprocess.Popen(
            [*API, "serve", "--config", str(config)],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
    try:
        yield Running(process, log, _listening(process, log))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(condition: Any, within_s: float = 20.0) -> None:
    """Wait for the condition; AssertionError when it does not come."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if found := re.search(r"listening on (https?://[^\s\"]+)", log.read_text(errors="replace")):
            return found[1]
        assert process.poll() is None, log.read_text(errors="replace")
        time.sleep(0.05)
    raise AssertionError(f"it does not listen:\n{log.read_text(errors='replace')}")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
