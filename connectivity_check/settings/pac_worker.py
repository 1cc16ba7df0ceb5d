"""The process that runs a PAC file: `python -m connectivity_check.settings.pac_worker`, lines of JSON.

In: `{"pac": text}` once, then `{"id", "url", "host"}` for each question. Out: `{"event": "ready"}`;
`{"event": "loaded"}`, with `error` and `line` when the file is no good; for each question `start` before the
script runs, then `wait` (names are looked up, the script runs again) or `done` with `result` or with `error`
and `line`.
The process has no deadline of its own for a script: its parent kills it.

A script that asks for a name that is not known yet goes on with "unknown"; when it has ended, all names
it asked for are looked up at once and it runs again. So many questions wait for slow DNS side by side, and
the answer is that of a run in which every name was known.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from connectivity_check.settings.pac_script import Addresses, Names, Script

MEMORY_BYTES = 256 * 1024 * 1024
"""Address space of the process (Linux): a script that hoards gets an out-of-memory error."""
CPU_S = 60
"""Time on the processor (Linux): a loop does not outlive a parent that was killed."""
LOOK_UP_S = 2.0
"""How long a name may take; it counts as unknown then, for the rest of the run."""
ROUNDS = 8
"""Runs of a script whose names depend on each other."""
_THREADS = 128
_STACK_BYTES = 512 * 1024
"""Of a thread: 128 of the usual 8 MiB would be more than the process may have."""


@dataclass(slots=True)
class Question:
    """One target that the script is asked about."""

    id: int
    url: str
    host: str
    rounds: int = 0
    missing: set[str] = field(default_factory=set)


def look_up(name: str) -> Addresses:
    """Ask the system, hosts file and all; no address for whatever goes wrong."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


class Worker:
    """The loop: one script, any number of questions, look-ups in threads."""

    def __init__(
        self, send: Callable[[dict[str, Any]], None], resolve: Callable[[str], Addresses] = look_up
    ) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._send = send
        self._resolve = resolve
        self._names = Names()
        self._script: Script | None = None
        self._waiting: list[Question] = []
        self._due: dict[str, float] = {}
        """Names that are looked up, and when each counts as unknown."""
        self._slots = threading.Semaphore(_THREADS)

    def run(self) -> None:
        """Serve until the other side closes the pipe."""
        self._send({"event": "ready"})
        while (message := self._next()) is not None:
            if isinstance(message, tuple):
                self._learn(*message)
            elif "pac" in message:
                self._load(message["pac"])
            else:
                self._answer(Question(message["id"], message["url"], message["host"]))

    def _next(self) -> Any:
        """Give what came in; a name that is due with no address, when nothing came before its time."""
        name = next(iter(self._due), None)  # they are due in the order in which they were asked for
        wait_s = None if name is None else max(0.0, self._due[name] - time.monotonic())
        try:
            return self.inbox.get(timeout=wait_s)
        except queue.Empty:
            return (name, ())

    def _load(self, text: str) -> None:
        self._script = Script(self._names)
        self._send({"event": "loaded"} | self._script.load(text))

    def _answer(self, question: Question) -> None:
        assert self._script is not None, "the file comes before the questions"
        self._send({"event": "start", "id": question.id})
        answer = self._script.ask(question.url, question.host)
        question.rounds += 1
        lacking = set(self._names.lacking)
        if lacking and question.rounds < ROUNDS:
            question.missing = lacking
            self._waiting.append(question)
            self._send({"event": "wait", "id": question.id})
            for name in lacking - self._due.keys():
                self._begin_look_up(name)
            return
        self._send({"event": "done", "id": question.id} | answer)

    def _begin_look_up(self, name: str) -> None:
        self._due[name] = time.monotonic() + LOOK_UP_S
        try:
            threading.Thread(target=self._look_up, args=(name,), daemon=True).start()
        except (RuntimeError, MemoryError):
            self._due[name] = 0.0  # no thread to be had: unknown at once

    def _look_up(self, name: str) -> None:
        with self._slots:
            # The system's look-up cannot be ended; whoever waits for it can.
            self.inbox.put((name, self._resolve(name)))

    def _learn(self, name: str, addresses: Addresses) -> None:
        # The first word counts: an answer after its time must not change what other targets were told.
        self._names.known.setdefault(name, addresses)
        self._due.pop(name, None)
        ready = [q for q in self._waiting if not q.missing - self._names.known.keys()]
        self._waiting = [q for q in self._waiting if q not in ready]
        for question in ready:
            self._answer(question)


def _limit() -> None:
    # Ctrl-C reaches the whole process group; when to end is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Serve on stdin and stdout."""
    _limit()
    threading.stack_size(_STACK_BYTES)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing but the protocol may reach the parent

    def send(message: dict[str, Any]) -> None:
        out.write(json.dumps(message).encode("ascii") + b"\n")

    worker = Worker(send)

    def read() -> None:
        for line in sys.stdin.buffer:
            worker.inbox.put(json.loads(line))
        worker.inbox.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        worker.run()
    finally:
        os._exit(0)  # look-ups that hang must not hold the process


if __name__ == "__main__":
    main()
