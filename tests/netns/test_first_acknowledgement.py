"""The gate is not asked about a connection's first bare acknowledgement, and about everything else it is.

How many packets the kernel has queued for the agent so far is the number of the queue's last one.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isolator.wiring import QUEUE_NUMBER
from tests.lab import Lab
from tests.lab.reach import client_hello
from tests.netns.echo_door import ADDRESS, ADDRESS6, NAME, PORT, echo_door
from tests.netns.echo_of_pieces import echo_of

pytestmark = pytest.mark.netns

FLOWS = 20
_TCP_REPAIR = 19
"""tcp(7) does not name it; linux/tcp.h."""
VERSIONS = pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["v4", "v6"])


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with echo_door() as made:
        yield made


def queued(lab: Lab) -> int:
    """Packets of connections that the gate was asked about so far."""
    table = lab.device.in_namespace(
        lambda: Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text()
    )
    rows = {int(row[0]): row for row in map(str.split, table.splitlines())}
    return int(rows[QUEUE_NUMBER + 1][7])


def begun(lab: Lab, address: str) -> int:
    """Connections whose first acknowledgement would pass."""
    name = "begun6" if ":" in address else "begun4"
    listed = lab.device.run(["nft", "list", "set", "inet", "isolator", name], check=True).stdout
    return str(listed).count(address)


def opened(lab: Lab, address: str) -> socket.socket:
    """A connection on which nothing has been said."""
    sock = lab.device.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(5)
    sock.connect((address, PORT))
    return sock


@VERSIONS
@pytest.mark.parametrize("timestamps", ["1", "0"])
def test_two_packets_of_a_connection_are_asked_about(lab: Lab, address: str, timestamps: str) -> None:
    lab.device.write_sysctls({"net/ipv4/tcp_timestamps": timestamps})
    before = queued(lab)
    for _ in range(FLOWS):
        with lab.device.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.settimeout(5)
            assert echo_of(sock, (address, PORT), (client_hello(NAME),)) == "echo"
    # SYN and hello; a few more when the machine is so busy that something is sent again.
    assert 2 * FLOWS <= queued(lab) - before < 2 * FLOWS + FLOWS // 2
    assert begun(lab, address) == 0


@VERSIONS
def test_one_acknowledgement_for_each_connection(lab: Lab, address: str) -> None:
    lab.device.write_sysctls({"net/ipv4/tcp_timestamps": "1"})
    with opened(lab, address) as sock:
        time.sleep(0.2)
        assert begun(lab, address) == 0
        before = queued(lab)
        # A window that opens is told by a bare acknowledgement: the second one, so the gate is asked.
        for _ in range(3):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 0)  # sends a window probe
            time.sleep(0.05)
        assert queued(lab) - before >= 3


@VERSIONS
def test_what_follows_is_judged(lab: Lab, address: str) -> None:
    """The acknowledgement passes, and opens nothing."""
    with opened(lab, address) as sock:
        sock.sendall(secrets.token_bytes(64))
        with pytest.raises(ConnectionResetError):
            sock.recv(64)
