"""Clients that say their first bytes in several writes, with pauses between them, come to an end all the same.

What is held keeps the kernel from sending what is written behind it, so the gate tells the client that it has arrived.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.lab import Lab
from tests.lab.reach import client_hello
from tests.netns.echo_door import ADDRESS, ADDRESS6, NAME, PORT, echo_door
from tests.netns.echo_of_pieces import echo_of

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with echo_door() as made:
        yield made


def says(
    lab: Lab, address: str, first: bytes, pieces: int, pause_s: float, *, at_once: bool, after: bytes = b""
) -> str:
    """Write the first bytes in pieces; "echo" when they and a marker behind them come back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    step = -(-len(first) // pieces)
    with lab.device.socket(family) as sock:
        sock.settimeout(8)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, at_once)
        cut = [first[at : at + step] for at in range(0, len(first), step)]
        return echo_of(sock, (address, PORT), (*cut, after or secrets.token_bytes(16)), pause_s)


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["v4", "v6"])
@pytest.mark.parametrize("pause_ms", [0, 5, 25, 100, 300])
@pytest.mark.parametrize("pieces", [2, 4, 10])
def test_writes_that_go_at_once(lab: Lab, address: str, pieces: int, pause_ms: int) -> None:
    assert says(lab, address, client_hello(NAME), pieces, pause_ms / 1000, at_once=True) == "echo"


@pytest.mark.parametrize("pause_ms", [0, 5, 25, 300])
def test_writes_that_wait_for_an_acknowledgement(lab: Lab, pause_ms: int) -> None:
    """Nagle's algorithm (RFC 896)."""
    assert says(lab, ADDRESS, client_hello(NAME), 4, pause_ms / 1000, at_once=False) == "echo"


def test_another_name_in_pieces_is_refused_and_nothing_of_it_goes_out(lab: Lab) -> None:
    marker, control = secrets.token_hex(12), secrets.token_hex(12).encode()
    hello = client_hello(f"{marker}.example")
    for cuts in (2, 6, 20):
        with lab.judge.watch(marker[:5].encode(), control) as sniffer:
            assert says(lab, ADDRESS, hello, cuts, 0.04, at_once=True) == "reset"
            assert says(lab, ADDRESS, client_hello(NAME), cuts, 0.04, at_once=True, after=control) == "echo"
            seen = sniffer.report()
        assert seen.seen(control)
        assert not seen.seen(marker[:5].encode())


def test_what_the_network_loses_after_that_is_sent_again(lab: Lab) -> None:
    """The router drops the first bytes twice; the client believes that they have arrived."""
    drop = f"""table ip once {{
      chain f {{
        type filter hook forward priority 0
        ip daddr {ADDRESS} tcp dport {PORT} ip length > 60 limit rate over 3/hour burst 1 packets accept
        ip daddr {ADDRESS} tcp dport {PORT} ip length > 60 drop
      }}
    }}"""
    lab.router.run(["nft", "-f", "-"], stdin=drop, check=True)
    try:
        assert says(lab, ADDRESS, client_hello(NAME), 2, 0.1, at_once=True) == "echo"
    finally:
        lab.router.run(["nft", "delete", "table", "ip", "once"], check=True)


def test_many_slow_writers_at_a_time(lab: Lab) -> None:
    outcomes: list[str] = []

    def one() -> None:
        outcomes.append(says(lab, ADDRESS, client_hello(NAME), 5, 0.05, at_once=True))

    threads = [threading.Thread(target=one) for _ in range(40)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert outcomes == ["echo"] * 40
