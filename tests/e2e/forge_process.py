"""The process that forks agents on request and lets them die at a chosen step. Started by forge.py.

Everything an agent imports is loaded once, so an agent is up in milliseconds. In the agent each thing it does
to the world outside (a journal write, a kernel commit, a queue, a notice) has two points, before and after;
at the point whose number the fault file holds it kills itself with SIGKILL. Points are counted from the
moment the file is there, and anew when its second number has changed.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isolator import cli

EFFECTS = (
    ("os", "fsync"),
    ("os", "replace"),
    ("isolator.adapters.nftables.engine:Library", "run"),
    ("isolator.adapters.nftables.engine:Library", "listing"),
    ("isolator.adapters.nftables.batch:NetfilterSocket", "send"),
    ("isolator.adapters.nfqueue:NfqueueQueue", "open"),
    ("isolator.adapters.nfqueue:NfqueueQueue", "close"),
    ("isolator.adapters.nfqueue:FlowNfqueue", "open_flows"),
    ("isolator.adapters.nfqueue:FlowNfqueue", "close"),
    ("isolator.adapters.flow_table:LinuxFlowTable", "end"),
    ("isolator.adapters.control_probe:TcpControlProbe", "reachable"),
    ("isolator.adapters.notify:PersonNotifier", "tell"),
)
PRELOADED = (
    "allowlists.files",
    "isolator.adapters.agent_config",
    "isolator.adapters.clock",
    "isolator.adapters.host_facts",
    "isolator.adapters.resolver",
    "isolator.adapters.state_file",
    "isolator.service.agent",
    "isolator.service.controller",
    "isolator.service.dns_learner",
)


class FatalPoint:
    """Counts the points an agent passes and ends it at the chosen one."""

    def __init__(self, fault: Path) -> None:
        self._fault = fault
        self._passed = 0
        self._serial = 0

    def meet(self) -> None:
        """One more point."""
        try:
            chosen, serial = map(int, self._fault.read_text().split())
        except FileNotFoundError:
            return
        if serial != self._serial:
            self._serial, self._passed = serial, 0
        if self._passed == chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        self._passed += 1


def surround(point: FatalPoint) -> None:
    """Put a point before and after each effect."""
    for place, name in EFFECTS:
        module, _, owner = place.partition(":")
        holder: Any = importlib.import_module(module)
        if owner:
            holder = getattr(holder, owner)
        setattr(holder, name, _surrounded(getattr(holder, name), point))


def _surrounded(effect: Callable[..., Any], point: FatalPoint) -> Callable[..., Any]:
    @functools.wraps(effect)
    def surrounded(*arguments: Any, **options: Any) -> Any:
        point.meet()
        result = effect(*arguments, **options)
        point.meet()
        return result

    return surrounded


def fork_agent(arguments: list[str], log: str, fault: str) -> int:
    """Fork an agent; gives its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, out), (2, out)):
            os.dup2(source, target)
        surround(FatalPoint(Path(fault)))
        code = cli.main(arguments)
        sys.stderr.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Commands, a JSON line each: start, wait."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for place, _ in EFFECTS:
        importlib.import_module(place.partition(":")[0])
    for name in PRELOADED:
        importlib.import_module(name)
    _say({"ready": True})
    agents: set[int] = set()
    while line := _read_line():
        message = json.loads(line)
        if message["do"] == "start":
            pid = fork_agent(message["arguments"], message["log"], message["fault"])
            agents.add(pid)
            _say({"pid": pid})
        else:
            _, status = os.waitpid(message["pid"], 0)
            agents.discard(message["pid"])
            _say({"exit": os.waitstatus_to_exitcode(status)})
    for pid in agents:
        os.kill(pid, signal.SIGKILL)


def _read_line() -> bytes:
    """One line from the owner, unbuffered: what is not read must not be inherited by an agent."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            return b""
        line += piece
    return line


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
