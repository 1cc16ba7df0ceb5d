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

import ipaddress
import json
import os
import queue
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Protocol

MEMORY_BYTES = 256 * 1024 * 1024
"""Address space of the process (Linux): a script that hoards gets an out-of-memory error."""
CPU_S = 60
"""Time on the processor (Linux): a loop does not outlive a parent that was killed."""
LOOK_UP_S = 2.0
"""How long a name may take; it counts as unknown then, for the rest of the run."""
NAMES_PER_CALL = 64
"""Names one run of the script may ask for: a script that uses DNS to tell things outwards comes not far."""
ROUNDS = 8
"""Runs of a script whose names depend on each other."""
MAX_RESULT = 4096
_THREADS = 128
_STACK_BYTES = 512 * 1024
"""Of a thread: 128 of the usual 8 MiB would be more than the process may have."""

Addresses = tuple[str, ...]


class Interpreter(Protocol):
    """What is used of dukpy."""

    def evaljs(self, code: str) -> Any:
        """Run a script and give its last value."""

    def export_function(self, name: str, func: Callable[..., Any]) -> None:
        """Let scripts call a function."""


@dataclass(slots=True)
class Question:
    """One target that the script is asked about."""

    id: int
    url: str
    host: str
    rounds: int = 0
    missing: set[str] = field(default_factory=set)


class Names:
    """What is known of names, and which ones the run that is under way lacked."""

    def __init__(self) -> None:
        self.known: dict[str, Addresses] = {}
        self.lacking: set[str] = set()
        self._asked = 0

    def begin(self) -> None:
        """A run of the script begins."""
        self.lacking, self._asked = set(), 0

    def addresses(self, host: str) -> Addresses:
        """Give the addresses of a name; an address is its own. Unknown: none, and noted as lacking."""
        address = _address(host)
        if address is not None:
            return (str(address),)
        self._asked += 1
        if self._asked > NAMES_PER_CALL:
            raise OverflowError(f"it looks up more than {NAMES_PER_CALL} names")
        name = host.lower()
        if name not in self.known:
            self.lacking.add(name)
        return self.known.get(name, ())


class Script:
    """A PAC file in an interpreter of its own."""

    def __init__(self, names: Names) -> None:
        self._js = _interpreter()
        self._names = names
        self._js.export_function("pac.resolve4", self._guarded(self._resolve4))
        self._js.export_function("pac.resolve", self._guarded(self._resolve))
        self._js.export_function("pac.mine4", self._guarded(lambda _: _own(socket.AF_INET) or "127.0.0.1"))
        self._js.export_function("pac.mine", self._guarded(_mine))
        self._js.export_function("pac.in_net", self._guarded(self._in_net))
        self._js.export_function("pac.sort", self._guarded(_sorted_list))
        prelude = files("connectivity_check").joinpath("data/pac_functions.js").read_text("utf-8")
        self._js.evaljs(_evaluated(prelude))

    def load(self, text: str) -> dict[str, Any]:
        """Run the file's own statements; give `error` and `line` when they fail or define no function."""
        self._names.begin()
        try:
            # As a script, not by eval: `const` and `let` of the file stay visible, as in a browser.
            self._js.evaljs(text + "\n;null")
            found = self._js.evaljs(
                "typeof FindProxyForURLEx === 'function' || typeof FindProxyForURL === 'function'"
            )
        except Exception as error:  # noqa: BLE001 - whatever the engine raises is the script's doing
            fault = _fault(error)
            if "line" in fault:  # an open brace is missed in our own last line only
                fault["line"] = min(fault["line"], text.count("\n") + 1)
            return fault
        return {} if found else {"error": "it defines no function FindProxyForURL"}

    def ask(self, url: str, host: str) -> dict[str, Any]:
        """Run FindProxyForURLEx, or FindProxyForURL where there is none, for one target."""
        self._names.begin()
        call = (
            "(typeof FindProxyForURLEx === 'function' ? FindProxyForURLEx : FindProxyForURL)"
            f"({json.dumps(url)}, {json.dumps(host)})"
        )
        # What a script gives may be anything, cyclic objects and functions too: only text leaves the engine.
        code = (
            "(function (v) { return v === null || v === undefined ? null : "
            f"typeof v === 'string' ? v.slice(0, {MAX_RESULT}) : {{type: typeof v}}; }})({call})"
        )
        try:
            result = self._js.evaljs(_evaluated(code))
        except Exception as error:  # noqa: BLE001 - as above
            return _fault(error, called=True)
        if isinstance(result, dict):
            return {"error": f"it returns a value of type {result['type']}, not text"}
        return {"result": result}

    def _guarded(self, function: Callable[[str], Any]) -> Callable[[str], Any]:
        def answer(argument: str) -> dict[str, Any]:
            try:
                return {"value": function(argument)}
            except (ValueError, OSError):
                return {"value": None}
            except OverflowError as error:
                return {"error": str(error)}

        return answer

    def _resolve4(self, host: str) -> str | None:
        return next((a for a in self._names.addresses(host) if ":" not in a), None)

    def _resolve(self, host: str) -> str | None:
        return ";".join(self._names.addresses(host)) or None

    def _in_net(self, argument: str) -> bool:
        host, _, prefix = argument.partition(" ")
        network = ipaddress.ip_network(prefix, strict=False)
        return any(
            ip.version == network.version and ip in network
            for ip in map(ipaddress.ip_address, self._names.addresses(host))
        )


def _interpreter() -> Interpreter:
    from dukpy.evaljs import JSInterpreter  # type: ignore[import-untyped]

    class Bare(JSInterpreter):  # type: ignore[misc]
        """Without process (environment), console and require (files): a PAC file has no business there."""

        def _init_process(self) -> None:
            """Leave it out."""

        def _init_console(self) -> None:
            """Leave it out."""

        def _init_require(self) -> None:
            """Leave it out."""

    interpreter: Interpreter = Bare()
    return interpreter


def _evaluated(code: str) -> str:
    """Wrap code of ours: the engine then calls it <input> in traces, and <dukpy> is the PAC file alone."""
    return f"(0, eval)({json.dumps(code)})"


def _fault(error: BaseException, *, called: bool = False) -> dict[str, Any]:
    """Take the engine's message apart: its first line, and the file's line, innermost first, when it is told.

    `called`: the outermost frame, `<eval>`, is our call and no line of the file.
    """
    lines = (str(error) or type(error).__name__).strip().splitlines() or [type(error).__name__]
    answer: dict[str, Any] = {"error": lines[0][:200]}
    for line in lines[1:]:
        place = re.search(r"<dukpy>:(\d+)", line)
        if place is not None and not (called and "<eval>" in line):
            answer["line"] = int(place[1])
            break
    return answer


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _own(family: socket.AddressFamily) -> str | None:
    """The address that packets outwards leave from. A UDP connect asks the routing table, sends nothing."""
    target = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0]).partition("%")[0]
    except OSError:
        return None


def _mine(_: str) -> str:
    found = [_own(socket.AF_INET6) if socket.has_ipv6 else None, _own(socket.AF_INET)]
    return ";".join(address for address in found if address)


def _sorted_list(text: str) -> str:
    """IPv6 before IPv4, each in numeric order; an entry that is no address makes the answer empty."""
    addresses = [ipaddress.ip_address(item.strip()) for item in text.split(";") if item.strip()]
    return ";".join(str(a) for a in sorted(addresses, key=lambda a: (-a.version, int(a))))


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
