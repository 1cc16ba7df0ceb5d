"""The process that sends numbered datagrams at a steady rate and writes down what the kernel said to each.

Bounded in count and in time, whatever happens. Started by sender.py.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
import time
from collections import Counter
from typing import Any

from tests.lab.stamp import stamp

_NAP_S = 0.00005
_LONGEST_CATCH_UP = 256


class Pacer:
    """Sends to its destinations in turn, each with its own count."""

    def __init__(self, destinations: list[tuple[str, int]], run: int) -> None:
        self._targets = [(_unbound(address), (address, port)) for address, port in destinations]
        self._run = run
        self.attempted = [0] * len(destinations)
        self.refused: list[Counter[str]] = [Counter() for _ in destinations]
        self._turn = 0

    def send_one(self) -> None:
        """One datagram to the destination whose turn it is; a refusal by the kernel is counted."""
        turn = self._turn
        sock, target = self._targets[turn]
        payload = stamp(self._run, turn, self.attempted[turn], time.monotonic_ns())
        self.attempted[turn] += 1
        self._turn = (turn + 1) % len(self._targets)
        try:
            sock.sendto(payload, target)
        except OSError as error:
            self.refused[turn][errno.errorcode.get(error.errno or 0, str(error.errno))] += 1


def pace(pacer: Pacer, *, rate: float, count: int, seconds: float) -> dict[str, Any]:
    """Send until the count, the time or the owner (a line or the end of standard input) says stop."""
    started = time.monotonic_ns()
    end = started + int(seconds * 1e9)
    sent = 0
    longest_gap = 0
    before = started
    rounds = 0
    while sent < count:
        now = time.monotonic_ns()
        if now >= end:
            break
        rounds += 1
        if rounds % 64 == 0 and select.select([0], [], [], 0)[0]:
            break
        due = min(count, int((now - started) * rate / 1e9) + 1)
        if due <= sent:
            time.sleep(_NAP_S)
            continue
        longest_gap = max(longest_gap, now - before)
        before = now
        # After a stall, catch up in portions, so that the clock and the owner are looked at in between.
        for _ in range(min(due - sent, _LONGEST_CATCH_UP)):
            pacer.send_one()
            sent += 1
    return {
        "attempted": pacer.attempted,
        "refused": [dict(counter) for counter in pacer.refused],
        "started_ns": started,
        "ended_ns": time.monotonic_ns(),
        "longest_gap_ns": longest_gap,
    }


def _unbound(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def main(arguments: list[str]) -> None:
    """Entry: one argument, JSON with destinations, run, rate, count and seconds; starts at the first line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who then closes our input
    setting = json.loads(arguments[0])
    pacer = Pacer([(address, port) for address, port in setting["destinations"]], setting["run"])
    _say({"ready": True})
    if not os.read(0, 65536):
        return
    result = pace(pacer, rate=setting["rate"], count=setting["count"], seconds=setting["seconds"])
    _say(result)
    while os.read(0, 65536):  # a late "stop" must not find the pipe broken
        pass


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
