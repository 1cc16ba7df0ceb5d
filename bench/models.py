"""Short models of what people use today: a linear list, a queue to Python for every packet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab import Lab
from tests.lab.ground import python_path

LINEAR_RULES = 2_000
_QUEUE = 17_054


class LinearList:
    """iptables with one accept rule per address, the flow's own last, then drop."""

    def __init__(self, lab: Lab, allowed: str) -> None:
        self._device = lab.device
        addresses = [f"20.200.{n // 250}.{1 + n % 250}" for n in range(LINEAR_RULES - 1)] + [allowed]
        rules = [f"-A LISTED -d {address}/32 -j ACCEPT" for address in addresses]
        text = ["*filter", ":LISTED - [0:0]", *rules, "-A LISTED -j DROP", "COMMIT", ""]
        self._run("iptables-legacy-restore", "--noflush", stdin="\n".join(text))

    def on(self) -> None:
        """Every packet out walks the list."""
        self._run("iptables-legacy", "-I", "OUTPUT", "-j", "LISTED")

    def off(self) -> None:
        """No packet walks the list."""
        self._run("iptables-legacy", "-D", "OUTPUT", "-j", "LISTED")

    def _run(self, *command: str, stdin: str | None = None) -> None:
        self._device.run(list(command), stdin=stdin, check=True)


class QueueEverything:
    """An NFQUEUE rule for every packet out, and a Python process that accepts."""

    def __init__(self, lab: Lab) -> None:
        self._device = lab.device

    def on(self) -> None:
        """Every packet out goes to Python."""
        self._rule("-I")

    def off(self) -> None:
        """None does."""
        self._rule("-D")

    def _rule(self, verb: str) -> None:
        rule = ["iptables-legacy", verb, "OUTPUT", "-j", "NFQUEUE", "--queue-num", str(_QUEUE)]
        self._device.run(rule, check=True)


@contextmanager
def queue_everything(lab: Lab) -> Iterator[QueueEverything]:
    """The model with its process running; it ends with the block."""
    process = lab.device.popen(
        [sys.executable, "-m", "bench.queue_model_process", str(_QUEUE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": python_path(), "PATH": "/usr/bin:/bin"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        yield QueueEverything(lab)
    finally:
        process.stdin.close()
        process.wait(5)
