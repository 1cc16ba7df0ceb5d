"""An isolated device with one listed name; the server behind it gives back what it gets, by IPv4 and IPv6."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab

NAME, ADDRESS, ADDRESS6, PORT = "api.vendor.example", "20.91.0.1", "2603:1098::1", 8447


@contextmanager
def echo_door() -> Iterator[Lab]:
    """Isolate; the addresses are learned already."""
    with Lab() as made:
        made.resolver.put(Host(NAME, (ADDRESS,), (ADDRESS6,)))
        made.servers.listen(made.internet, [("tcp_echo", PORT)])
        policy = write_list(made.directory / "own.yaml", [Row(NAME, PORT)])
        with made.agent(f"lists: [{policy}]\n") as agent:
            orders.isolate(agent)
            for kind in ("A", "AAAA"):
                assert made.reach_from(made.device, timeout_s=5).dns(NAME, kind).ok
            yield made
            orders.release(agent)
