"""First flights that are larger than what a queue copies by default, and hellos of many segments.

What leaves a socket in one piece is cut up behind the gate, and comes to it as long as the interface allows: on a
path for long packets that is more than the 4,016 bytes that NetfilterQueue asks the kernel for. Each row goes
through the kernel, the agent and a server that echoes, so what echoes has passed, in order and complete.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import pytest

from tests.corpus.hellos import hello, vector
from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab
from tests.lab.agent import Agent
from tests.lab.reach import client_hello

pytestmark = pytest.mark.netns

NAME, OTHER = "large.vendor.example", "www.example.com"
ADDRESS, ADDRESS6 = "20.93.0.1", "2603:1099::1"
PORT = 8446
USUAL, JUMBO, LONGEST = 1_500, 9_000, 65_520
"""Bytes of a packet: of Ethernet, of its jumbo frames, and of the longest kind in use (RFC 4755, connected)."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.resolver.put(Host(NAME, (ADDRESS,), (ADDRESS6,)))
        made.servers.listen(made.internet, [("tcp_echo", PORT)])
        yield made


@pytest.fixture(scope="module")
def agent(lab: Lab) -> Iterator[Agent]:
    policy = write_list(lab.directory / "own.yaml", [Row(NAME, PORT)])
    with lab.agent(f"lists: [{policy}]\n") as running:
        orders.isolate(running)
        for kind in ("A", "AAAA"):
            assert lab.reach_from(lab.device, timeout_s=5).dns(NAME, kind).ok
        yield running
        orders.release(running)


@pytest.fixture(params=[USUAL, JUMBO, LONGEST])
def path(request: pytest.FixtureRequest, lab: Lab, agent: Agent) -> Lab:
    """The lab with every interface on the way made for packets of that many bytes."""
    widen(lab, request.param)
    return lab


def widen(lab: Lab, size: int) -> None:
    """Give every interface on the way packets of that many bytes."""
    for space in (lab.internet, lab.router, lab.device):
        for name in space.interfaces():
            if name not in ("lo", "lan0"):  # the bridge follows its ports
                space.run(["ip", "link", "set", name, "mtu", str(size)], check=True)


def echoed(lab: Lab, address: str, flight: bytes, patience_s: float = 10) -> str:
    """Give the flight to the socket in one piece: "echo" when all of it comes back, else what ended it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    got = bytearray()
    with lab.device.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(patience_s)
        try:
            sock.connect((address, PORT))
            assert sock.send(flight) == len(flight)
            while len(got) < len(flight) and (part := sock.recv(1 << 16)):
                got += part
        except ConnectionError:
            return "reset"
        except TimeoutError:
            return f"timeout after {len(got)} of {len(flight)} bytes"
    return "echo" if got == flight else f"other bytes, {len(got)} of {len(flight)}"


def padded(name: str, size: int) -> bytes:
    """A hello with so many bytes of padding (RFC 7685), in as many records as that takes."""
    return hello(name, (21, bytes(size)), (51, vector(2, b"\x11\xec" + vector(2, bytes(1216)))))


FLIGHTS = {
    "a hello, 20 KB behind it": lambda name: client_hello(name) + secrets.token_bytes(20_000),
    "a hello, 60 KB behind it": lambda name: client_hello(name) + secrets.token_bytes(60_000),
    "a hello of 6 KB": lambda name: padded(name, 5_000),
    "a hello of 12 KB, 20 KB behind it": lambda name: padded(name, 11_000) + secrets.token_bytes(20_000),
}


@pytest.mark.parametrize("flight", FLIGHTS)
@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["v4", "v6"])
def test_a_flight_in_one_piece(path: Lab, address: str, flight: str) -> None:
    assert echoed(path, address, FLIGHTS[flight](NAME)) == "echo"


@pytest.mark.parametrize("flight", FLIGHTS)
@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["v4", "v6"])
def test_the_same_with_a_name_that_is_not_listed(path: Lab, address: str, flight: str) -> None:
    assert echoed(path, address, FLIGHTS[flight](OTHER)) == "reset"


def test_a_hello_beyond_the_initial_window(path: Lab) -> None:
    """Ten segments (RFC 6928) go out unacknowledged; the gate says that they have arrived, or no more came."""
    assert echoed(path, ADDRESS, padded(NAME, 24_000), 30) == "echo"


def test_nothing_was_cut_off_or_dropped(path: Lab, agent: Agent) -> None:
    """The gate read every segment: one that arrives cut off is dropped unread, and sent again for ever."""
    counters = orders.status(agent)["counters"]
    assert isinstance(counters, dict)
    assert not counters["dropped"].get("tcp_malformed")
    assert not counters["dropped"].get("flow_table_full")
