"""P1: somebody's NAT rule for a loopback destination is no way out.

After it the packet is on its way elsewhere, while the hooks still name the loopback interface.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator

import pytest

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Lab, world
from tests.lab.ports import ECHO
from tests.lab.topology import ADDRESSES, DEVICE

pytestmark = pytest.mark.netns

PORT = 9_999
FAR, OWN = world.UNLISTED_ADDRESS, ADDRESSES[DEVICE]
RULES = f"""
table ip natx {{
  chain o {{
    type nat hook output priority -100
    ip daddr {{ 127.0.0.1, {OWN.v4} }} meta l4proto {{ tcp, udp }} th dport {PORT} dnat to {FAR.v4}:{ECHO}
  }}
  chain p {{ type nat hook postrouting priority 100; ip daddr {FAR.v4} masquerade; }}
}}
table ip6 natx {{
  chain o {{
    type nat hook output priority -100
    ip6 daddr {{ ::1, {OWN.v6} }} meta l4proto {{ tcp, udp }} th dport {PORT} dnat to [{FAR.v6}]:{ECHO}
  }}
  chain p {{ type nat hook postrouting priority 100; ip6 daddr {FAR.v6} masquerade; }}
}}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as made:
        made.device.write_sysctls({"net/ipv4/conf/all/route_localnet": "1"})
        made.device.run(["nft", "-f", "-"], stdin=RULES, check=True)
        yield made


def leaves(lab: Lab, address: str) -> bool:
    """Whether a datagram or a connection to an address of the device itself shows on the wire."""
    marker = secrets.token_hex(8).encode()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.judge.watch(marker) as sniffer:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with lab.device.socket(family, kind) as sock, contextlib.suppress(OSError):
                sock.settimeout(1)
                sock.connect((address, PORT))
                sock.send(marker)
        time.sleep(0.3)
        return bool(sniffer.report().seen(marker))


@pytest.mark.parametrize("address", ["127.0.0.1", OWN.v4, OWN.v6])
def test_a_translated_loopback_destination(lab: Lab, address: str) -> None:
    assert leaves(lab, address), "positive control: without isolation it gets out"
    policy = write_list(lab.directory / "own.yaml", [Row("api.vendor.example")])
    with lab.agent(f"lists: [{policy}]\n") as agent:
        orders.isolate(agent)
        assert not leaves(lab, address)
        # What stays on the host passes as before.
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with lab.device.socket(family) as server, lab.device.socket(family) as client:
            server.bind((address, 8_888))
            server.listen()
            client.settimeout(3)
            client.connect((address, 8_888))
        orders.release(agent)
