"""P6: who takes the ends of an approved connection for another one names a host again, however quick it is.

A plain program can send its hello, abort and connect anew from the same port before the gate has read the
hello. Then the new SYN has taken the approval away before the hello's verdict gives it.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.reach import client_hello

pytestmark = pytest.mark.netns

ALLOWED, ADDRESS, PORT = "api.vendor.example", "20.91.0.1", 8445
FIRST_OWN, TRIES = 41_000, 50
_ABORT = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.resolver.put(Host(ALLOWED, (ADDRESS,)))
        made.servers.listen(made.internet, [("tcp_echo", PORT)])
        yield made


def client(lab: Lab, own: int) -> socket.socket:
    """A socket at that port, which aborts instead of waiting: so the port is free at once."""
    sock = lab.device.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(5)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    sock.bind(("", own))
    return sock


def second(lab: Lab, own: int, first: bytes, then: bytes) -> str:
    """Say `first`, abort, and say `then` on a new connection of the same ends; what became of that."""
    with client(lab, own) as old, client(lab, own) as new:
        old.connect((ADDRESS, PORT))
        old.sendall(first)
        old.close()
        try:
            new.connect((ADDRESS, PORT))
            new.sendall(then)
            return "echo" if new.recv(65_536) else "closed"
        except ConnectionError:
            return "reset"


def test_an_approval_that_comes_late_is_none_for_the_next_connection(lab: Lab) -> None:
    allowed, other = client_hello(ALLOWED), client_hello("www.example.com")
    policy = write_list(lab.directory / "own.yaml", [Row(ALLOWED, PORT)])
    with lab.agent(f"lists: [{policy}]\n") as agent:
        # Positive control: without isolation the second connection is there and says what it likes.
        assert second(lab, FIRST_OWN, allowed, other) == "echo"
        orders.isolate(agent)
        assert lab.reach_from(lab.device, timeout_s=5).dns(ALLOWED).ok
        owns = range(FIRST_OWN + 1, FIRST_OWN + 1 + TRIES)
        assert Counter(second(lab, own, allowed, other) for own in owns) == {"reset": TRIES}
        assert second(lab, FIRST_OWN + 2 + TRIES, allowed, allowed) == "echo"
        orders.release(agent)
