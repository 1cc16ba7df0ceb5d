"""The handle on the lab's resolver: edit the zone, read which names arrived."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.namespace import Namespace
from tests.lab.service import Service
from tests.lab.zone import Host


@dataclass(frozen=True, slots=True)
class Arrival:
    """One query as the resolver received it."""

    at_ns: int
    """CLOCK_MONOTONIC, the clock of time.monotonic_ns() in every process."""
    name: str
    qtype: int
    source: str
    port: int
    transport: str


class Resolver:
    """The resolver process in the router's namespace."""

    def __init__(
        self, router: Namespace, addresses: Iterable[str], hosts: Iterable[Host], log: Path, *, port: int = 53
    ) -> None:
        setting = {"addresses": list(addresses), "port": port}
        self._first = tuple(hosts)
        self.known: dict[str, str] = {}
        """A name of each address; of several the one that was put last, of the first hosts the first."""
        self._service = Service(router, "tests.lab.resolver_process", [json.dumps(setting)], log)

    def ready(self) -> None:
        """Wait until it listens and knows its first names."""
        self._service.hear()
        self.put(*reversed(self._first))

    def put(self, *hosts: Host) -> None:
        """Add or replace names; in force when this returns."""
        self._service.ask({"do": "put", "hosts": [asdict(host) for host in hosts]})
        self.known.update(_names_of(hosts))

    def drop(self, *names: str) -> None:
        """Take names out: NXDOMAIN from now on."""
        self._service.ask({"do": "drop", "names": list(names)})

    def log(self) -> tuple[Arrival, ...]:
        """Every query since the start or the last ``clear``, oldest first."""
        answer = self._service.ask({"do": "log"}, timeout_s=60)
        return tuple(Arrival(*entry) for entry in answer["log"])

    def names(self) -> frozenset[str]:
        """The names that arrived, in lower case."""
        return frozenset(arrival.name for arrival in self.log())

    def arrived(self) -> int:
        """How many packets or TCP messages arrived, unreadable ones included."""
        return int(self._service.ask({"do": "count"})["arrived"])

    def clear(self) -> None:
        """Forget the log."""
        self._service.ask({"do": "clear"})

    def close(self) -> None:
        """Stop answering: from now on queries meet a closed port."""
        self._service.close()


def _names_of(hosts: Iterable[Host]) -> dict[str, str]:
    named = (host for host in hosts if not host.name.startswith("*"))
    return {address: host.name for host in named for address in (*host.v4, *host.v6)}
