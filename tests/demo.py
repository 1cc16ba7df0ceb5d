"""`make demo`: a device in a lab is isolated and released; what it reaches is measured each time.

Every cell of the table comes from a probe in this run. Exit code 0 only if all are as promised.
"""

from __future__ import annotations

import re
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.lab import Lab, topology, world
from tests.lab.agent import Agent, Outcome
from tests.lab.failure import LabError
from tests.lab.ports import ECHO
from tests.lab.reach import Result
from tests.lab.session import Session, describe

PHASES = ("before", "isolated", "released")
OPEN_THROUGHOUT = (True, True, True)
SHUT_WHILE_ISOLATED = (True, False, True)
CUT_FOR_GOOD = (True, False, False)
"""A session that was open before, forbidden or to an address that only a name opens: whom it named nobody
heard, so it ends at isolation and its socket does not come back."""

V4, V6 = socket.AF_INET, socket.AF_INET6


@dataclass(frozen=True, slots=True)
class Cell:
    """What one probe said."""

    ok: bool
    detail: str


@dataclass
class Row:
    """One destination, the probe that measures it, and what is promised in each phase."""

    name: str
    probe: Callable[[], Cell]
    promised: tuple[bool, bool, bool]
    cells: list[Cell] = field(default_factory=list)

    def right(self, phase: int) -> bool:
        """Is the cell of that phase as promised?"""
        return self.cells[phase].ok is self.promised[phase]


class Sessions:
    """Connections opened before isolation, to be tried again in each phase."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._open: dict[tuple[str, int], Session] = {}

    def echo(self, host: str, family: int) -> Cell:
        """Does the old connection to an echo port still carry a word there and back?"""
        key = (host, family)
        if key not in self._open:
            self._open[key] = self._lab.reach.session(host, ECHO, family=family)
        ok = self._open[key].echoes(0.3)
        return Cell(ok, "echoes" if ok else self._open[key].told(0.2) or "silent")

    def http(self, host: str, family: int) -> Cell:
        """Does the old keep-alive connection to port 80 of a host still answer requests?"""
        return self._asks(host, family, lambda: self._lab.reach.open(host, 80, family=family))

    def https(self, address: str) -> Cell:
        """Does the old connection with TLS to an address still answer requests?"""

        def open_it() -> socket.socket:
            context = ssl.create_default_context(cafile=str(self._lab.ca_pem))
            context.check_hostname = False  # the address stands for a network of the list, not for a host
            sock = self._lab.reach.open(address, 443, family=V4)
            return context.wrap_socket(sock)

        return self._asks(address, V4, open_it)

    def _asks(self, host: str, family: int, open_it: Callable[[], socket.socket]) -> Cell:
        key = (host, family)
        if key not in self._open:
            self._open[key] = Session(open_it())
        connection = self._open[key].socket
        try:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = connection.recv(4096)
        except OSError as error:
            return Cell(False, describe(error))
        return Cell(answer.startswith(b"HTTP/1.1 200"), "answers" if answer else "closed")


def rows(lab: Lab) -> list[Row]:
    """The table's rows, each destination with its IPv6 twin."""
    sessions = Sessions(lab)
    made: list[Row] = []
    for family, twin in ((V4, ""), (V6, ", IPv6")):
        made += [
            Row(
                f"listed host, {world.CERTIFICATES}:80{twin}",
                _http(lab, world.CERTIFICATES, family),
                OPEN_THROUGHOUT,
            ),
            Row(
                f"listed wildcard, two labels deep, {world.WILDCARD}:443{twin}",
                _tls(lab, world.WILDCARD, family),
                OPEN_THROUGHOUT,
            ),
            Row(
                f"the address of {world.WILDCARD}, another server name{twin}",
                _elsewhere(lab, family),
                SHUT_WHILE_ISOLATED,
            ),
            Row(
                f"session open since before, to a listed name{twin}",
                partial(sessions.http, world.CERTIFICATES, family),
                CUT_FOR_GOOD,
            ),
            Row(
                f"unlisted name, {world.UNLISTED}:443{twin}",
                _tls(lab, world.UNLISTED, family),
                SHUT_WHILE_ISOLATED,
            ),
            Row(
                f"unlisted address, TCP {_unlisted(family)}:{ECHO}{twin}",
                _tcp(lab, _unlisted(family), family),
                SHUT_WHILE_ISOLATED,
            ),
            Row(
                f"unlisted address, UDP {_unlisted(family)}:{ECHO}{twin}",
                _udp(lab, _unlisted(family), family),
                SHUT_WHILE_ISOLATED,
            ),
            Row(
                f"LAN neighbour {_neighbour(family)}:445{twin}",
                _tcp(lab, _neighbour(family), family, 445),
                SHUT_WHILE_ISOLATED,
            ),
            Row(
                f"session open since before, unlisted{twin}",
                partial(sessions.echo, _unlisted(family), family),
                CUT_FOR_GOOD,
            ),
            Row(
                f"DNS for an unlisted name arrives at the resolver{twin}",
                _dns(lab, family),
                SHUT_WHILE_ISOLATED,
            ),
        ]
    made.append(
        Row(
            f"session open since before, listed network, {world.STATIC_EU}:443",
            partial(sessions.https, world.STATIC_EU),
            OPEN_THROUGHOUT,
        )
    )
    return made


def _unlisted(family: int) -> str:
    return world.UNLISTED_ADDRESS.v4 if family == V4 else world.UNLISTED_ADDRESS.v6


def _neighbour(family: int) -> str:
    addresses = topology.ADDRESSES[topology.NEIGHBOUR]
    return addresses.v4 if family == V4 else addresses.v6


def _http(lab: Lab, host: str, family: int) -> Callable[[], Cell]:
    return lambda: _cell(lab.reach.http(host, family=family))


def _tls(lab: Lab, host: str, family: int) -> Callable[[], Cell]:
    return lambda: _cell(lab.reach.tls(host, family=family))


def _elsewhere(lab: Lab, family: int) -> Callable[[], Cell]:
    """A listed host's address, and the server name of one that is not listed."""
    host = next(host for host in world.default_hosts() if host.name == world.WILDCARD)
    address = (host.v4 if family == V4 else host.v6)[0]
    return lambda: _cell(lab.reach.tls(world.UNLISTED, family=family, address=address))


def _tcp(lab: Lab, host: str, family: int, port: int = ECHO) -> Callable[[], Cell]:
    return lambda: _cell(lab.reach.tcp(host, port, family=family))


def _udp(lab: Lab, host: str, family: int) -> Callable[[], Cell]:
    return lambda: _cell(lab.reach.udp(host, family=family))


def _dns(lab: Lab, family: int) -> Callable[[], Cell]:
    """Judged at the resolver: did the query arrive there?"""
    router = topology.ADDRESSES[topology.ROUTER]

    def probe() -> Cell:
        server = router.v4 if family == V4 else router.v6
        name = f"{time.monotonic_ns():x}.{world.TUNNEL_ZONE}"
        answer = lab.reach.dns(name, server=server)
        arrived = any(query.name == name for query in lab.resolver.log())
        return Cell(arrived, answer.detail if not answer.ok else "arrived")

    return probe


def _cell(result: Result) -> Cell:
    return Cell(result.ok, "" if result.ok else result.detail)


def measure(table: list[Row], console: Console, phase: str) -> None:
    """Run every probe once for this phase."""
    with console.status(f"measuring: {phase}"):
        for row in table:
            try:
                row.cells.append(row.probe())
            except OSError as error:
                row.cells.append(Cell(False, type(error).__name__))


def show(table: list[Row], console: Console) -> bool:
    """Print the table; True when every cell is as promised."""
    shown = Table(title="what the device reaches", title_justify="left", pad_edge=False)
    shown.add_column("destination", no_wrap=True)
    for phase in PHASES:
        shown.add_column(phase)
    for row in table:
        shown.add_row(row.name, *(_shown_cell(row, phase) for phase in range(len(PHASES))))
    console.print(shown)
    wrong = [(row.name, PHASES[p]) for row in table for p in range(len(PHASES)) if not row.right(p)]
    for name, phase in wrong:
        console.print(f"[red]not as promised:[/red] {name}, {phase}")
    return not wrong


def _shown_cell(row: Row, phase: int) -> str:
    cell = row.cells[phase]
    word = "open" if cell.ok else f"shut ({cell.detail})" if cell.detail else "shut"
    if not row.right(phase):
        return f"[bold red]{word} !![/bold red]"
    return f"[green]{word}[/green]" if cell.ok else f"[yellow]{word}[/yellow]"


def order(agent: Agent, console: Console, *arguments: str) -> Outcome:
    """Run one command in the device and show it with its answer."""
    outcome = agent.isolator(*arguments)
    console.print(f"[bold]device# isolator {' '.join(arguments)}[/bold]")
    console.print(outcome.stdout.rstrip() or outcome.stderr.rstrip(), highlight=False)
    if outcome.exit_code != 0:
        raise LabError("demo.order_failed", " ".join(arguments), outcome.stderr.strip())
    return outcome


def _without_web_fonts(svg: str) -> str:
    """The picture fetches nothing from elsewhere when it is shown."""
    return re.sub(r',?\s*url\("https?://[^"]*"\)\s*format\("[^"]*"\)', "", svg)


def main() -> int:
    """The demo from first probe to exit code."""
    picture = Path(sys.argv[2]) if sys.argv[1:2] == ["--svg"] and len(sys.argv) == 3 else None
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, record=picture is not None)
    started = time.monotonic()
    with Lab() as lab:
        agent = lab.agent("lists: [streamlined]\nnotify: {contact: 'SOC, phone 555-0100'}\n")
        table = rows(lab)
        measure(table, console, "before isolation")
        agent.start()
        isolated = order(agent, console, "isolate", "--comment", "demonstration")
        measure(table, console, "isolated")
        order(agent, console, "status")
        order(agent, console, "explain", f"tcp://{world.WILDCARD}:443")
        order(agent, console, "explain", f"tcp://{world.UNLISTED_ADDRESS.v4}:443")
        released = order(agent, console, "release", "--comment", "demonstration over")
        measure(table, console, "released")
        agent.stop()
        right = show(table, console)
    console.print(f"time to isolate: {isolated.took_ms:.0f} ms from command to verified")
    console.print(f"time to release: {released.took_ms:.0f} ms from command to verified")
    console.print(
        f"the whole demo:  {time.monotonic() - started:.1f} s, {len(table) * len(PHASES)} cells measured"
    )
    console.print("[green]all as promised[/green]" if right else "[red]NOT all as promised[/red]")
    if picture is not None:
        picture.write_text(_without_web_fonts(console.export_svg(title="make demo")))
    return 0 if right else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(1)
