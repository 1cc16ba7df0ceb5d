"""A PAC file in an interpreter of its own, with the functions of `data/pac_functions.js`.

Runs in the worker process only: nothing here limits how long a script takes.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Protocol

from connectivity_check.core.ip_text import ip_of

NAMES_PER_CALL = 64
"""Names one run of the script may ask for: a script that uses DNS to tell things outwards comes not far."""
MAX_RESULT = 4096

Addresses = tuple[str, ...]


class Interpreter(Protocol):
    """What is used of dukpy."""

    def evaljs(self, code: str) -> Any:
        """Run a script and give its last value."""

    def export_function(self, name: str, func: Callable[..., Any]) -> None:
        """Let scripts call a function."""


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
        address = ip_of(host.strip("[]"))
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
