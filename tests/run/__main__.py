"""Start everything, say where, watch the device from outside, remove everything at Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from tests.lab import Lab, world
from tests.lab.agent import Agent
from tests.lab.failure import LabError
from tests.run.controller import make_controller
from tests.run.relay import Relay

DEVICE_NAME = "lab-device"
NAME, ADDRESS, PORT = "controller.lab.example", "20.99.0.8", 9443
"""The controller as the device knows it; addresses of the lab's internet exist inside the lab only."""
LOOK_EVERY_S = 0.5

_WELCOME = """
  portal    {url}/portal/
  sign in   {name}
  password  {password}   (asked to be changed at once)
  API       {url}/docs
  files     {directory}

  Ctrl-C ends and removes everything.
"""

_NAMED = (
    "unshare",
    "--uts",
    "--",
    "sh",
    "-c",
    'hostname "$0"; exec "$@"',
    DEVICE_NAME,
    sys.executable,
    "-m",
    "isolator",
)
"""The agent with a host name of its own, so that nobody isolates "this machine" by its name."""


def main() -> int:
    """Run until told to stop; gives the exit code."""
    words = argparse.ArgumentParser(prog="make run", description=__doc__)
    words.add_argument(
        "--port", type=int, default=8443, help="port on 127.0.0.1 (default 8443, or a free one)"
    )
    port = words.parse_args().port
    signal.signal(signal.SIGINT, _interrupted)
    try:
        with Lab() as lab:
            controller = make_controller(lab.directory / "controller", port)
            made = controller.console("user", "create", "--name", "admin", "--role", "administrator")
            token = controller.console("enrolment", "create")["enrolment_token"]
            with controller.serving(), _relay(lab, controller.port), _device(lab, token) as agent:
                _wait_for_enrolment(agent)
                print(
                    _WELCOME.format(url=controller.url, directory=controller.config.parent / "state", **made),
                    flush=True,
                )
                _watch(lab)
    except KeyboardInterrupt:
        print("\nended; everything is removed", flush=True)
    return 0


def _interrupted(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C ends; impatient ones after it must not stop the removal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _relay(lab: Lab, port: int) -> Iterator[None]:
    listener = lab.internet.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ADDRESS, PORT))
    listener.listen(64)
    relay = Relay(listener, lab.authority.issue("controller", (ADDRESS, NAME)).pem, port)
    try:
        yield
    finally:
        relay.close()


@contextlib.contextmanager
def _device(lab: Lab, token: str) -> Iterator[Agent]:
    controller = f"{{url: 'https://{ADDRESS}:{PORT}', ca: {lab.ca_pem}, enrolment_token: {token}}}"
    config = f"lists: [streamlined]\ncontroller: {controller}\n"
    agent = lab.agent(config, command=_NAMED)
    agent.config.chmod(0o600)
    with agent:
        yield agent


def _wait_for_enrolment(agent: Agent) -> None:
    until = time.monotonic() + 30
    while True:
        line: dict[str, Any] = agent.isolator("status", "--json").json().get("controller") or {}
        if line.get("enrolled"):
            return
        if time.monotonic() > until:
            raise LabError(
                "run.enrolment", "enrol the device", Path(agent.log).read_text(errors="replace")[-2000:]
            )
        time.sleep(0.2)


def _watch(lab: Lab) -> None:
    """Say what the device reaches, each time that changes; from its own sockets, not from what it reports."""
    said = ""
    with ThreadPoolExecutor(2) as pool:
        while True:
            listed = pool.submit(lab.reach.tls, world.WILDCARD)
            unlisted = pool.submit(lab.reach.tcp, world.UNLISTED_ADDRESS.v4)
            names = (_word(listed.result().ok), _word(unlisted.result().ok))
            words = "{}: listed host {}, everything else {}".format(DEVICE_NAME, *names)
            if words != said:
                print(f"  {time.strftime('%H:%M:%S')}  {words}", flush=True)
                said = words
            time.sleep(LOOK_EVERY_S)


def _word(reached: bool) -> str:
    return "open" if reached else "shut"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"run: {error}", file=sys.stderr)
        sys.exit(1)
