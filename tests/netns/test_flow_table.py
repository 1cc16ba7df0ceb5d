"""Flows that exist are ended: sockets of every kind and tracked entries."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from isolator.adapters.flow_table import LinuxFlowTable
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Hook, Packet
from tests.contract.own_network import (
    OWN4,
    OWN6,
    RESOLVER4,
    RESOLVER6,
    add_uplink,
    far_host,
    ip,
    nft,
    own_network,
    without_capabilities,
)

pytestmark = pytest.mark.netns

PORT = 7000
ENDS = [
    pytest.param(socket.AF_INET, RESOLVER4, RESOLVER4, id="ipv4"),
    pytest.param(socket.AF_INET6, RESOLVER6, RESOLVER6, id="ipv6"),
    pytest.param(socket.AF_INET6, f"::ffff:{RESOLVER4}", RESOLVER4, id="mapped"),
]


def nothing(_packet: Packet) -> bool:
    return False


class Network:
    """This host and the far one; sockets are closed with it."""

    def __init__(self, there: Callable[[Callable[[], object]], object]) -> None:
        self._there = there
        self._opened: list[socket.socket] = []

    def keep(self, made: socket.socket) -> socket.socket:
        self._opened.append(made)
        made.settimeout(10)
        return made

    def far(self, kind: int, address: str = "::", port: int = PORT) -> socket.socket:
        def listen() -> socket.socket:
            made = socket.socket(socket.AF_INET6, kind)
            made.bind((address, port))
            if kind == socket.SOCK_STREAM:
                made.listen()
            return made

        made = self._there(listen)
        assert isinstance(made, socket.socket)
        return self.keep(made)

    def connect(self, family: int, kind: int, address: str, port: int = PORT) -> socket.socket:
        made = self.keep(socket.socket(family, kind))
        made.connect((address, port))
        return made

    def close(self) -> None:
        for each in self._opened:
            each.close()


@pytest.fixture
def network() -> Iterator[Network]:
    with own_network():
        add_uplink()
        with far_host() as there:
            made = Network(there)
            yield made
            made.close()


def error_of(flow: socket.socket) -> int:
    return flow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.mark.parametrize(("family", "address", "judged"), ENDS)
def test_tcp_connections_out(network: Network, family: int, address: str, judged: str) -> None:
    listening = network.far(socket.SOCK_STREAM)
    ours = network.connect(family, socket.SOCK_STREAM, address)
    theirs = network.keep(listening.accept()[0])
    seen: list[Packet] = []
    ended = LinuxFlowTable().end(lambda packet: bool(seen.append(packet)))  # type: ignore[func-returns-value]
    assert ended.sockets == 1
    (packet,) = seen
    assert (packet.destination, packet.destination_port) == (ip_address(judged), PORT)
    assert (packet.protocol, packet.tcp_flags, packet.uid) == ("tcp", frozenset({"ack"}), os.getuid())
    with pytest.raises(ConnectionAbortedError):
        ours.recv(1)
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


@pytest.mark.parametrize(("family", "address", "judged"), ENDS)
def test_connected_udp_sockets(network: Network, family: int, address: str, judged: str) -> None:
    ours = network.connect(family, socket.SOCK_DGRAM, address)
    seen: list[Packet] = []
    ended = LinuxFlowTable().end(lambda packet: bool(seen.append(packet)))  # type: ignore[func-returns-value]
    assert ended.sockets == 1
    assert seen[0].destination == ip_address(judged)
    assert error_of(ours) == errno.ECONNABORTED


def test_connections_in_are_judged_by_what_we_send(network: Network) -> None:
    with socket.socket(socket.AF_INET) as listening:
        listening.bind((OWN4, 22))
        listening.listen()

        def connect() -> socket.socket:
            return socket.create_connection((OWN4, 22), 10)

        theirs = network._there(connect)
        assert isinstance(theirs, socket.socket)
        network.keep(theirs)
        ours = network.keep(listening.accept()[0])
        seen: list[Packet] = []
        LinuxFlowTable().end(lambda packet: bool(seen.append(packet)))  # type: ignore[func-returns-value]
        assert (seen[0].hook, seen[0].source_port, seen[0].destination) == (
            Hook.OUTPUT,
            22,
            ip_address(RESOLVER4),
        )
        with pytest.raises(ConnectionAbortedError):
            ours.recv(1)
        # The listener itself goes on.
        with socket.create_connection((OWN4, 22), 10):
            listening.accept()[0].close()


def test_an_unfinished_connection_is_told_at_once(network: Network) -> None:
    ip("neigh add 192.0.2.99 lladdr 02:00:00:00:00:99 dev up0 nud permanent")
    connecting = network.keep(socket.socket(socket.AF_INET))
    connecting.setblocking(False)
    assert connecting.connect_ex(("192.0.2.99", 443)) == errno.EINPROGRESS
    seen: list[Packet] = []
    LinuxFlowTable().end(lambda packet: bool(seen.append(packet)))  # type: ignore[func-returns-value]
    assert seen[0].tcp_flags == {"syn"}
    assert error_of(connecting) == errno.ECONNABORTED


def test_allowed_connections_go_on(network: Network) -> None:
    listening = network.far(socket.SOCK_STREAM)
    ours = network.connect(socket.AF_INET, socket.SOCK_STREAM, RESOLVER4)
    theirs = network.keep(listening.accept()[0])
    assert LinuxFlowTable().end(lambda packet: packet.destination_port == PORT).sockets == 0
    ours.sendall(b"still here")
    assert theirs.recv(100) == b"still here"


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, OWN4), (socket.AF_INET6, OWN6), (socket.AF_INET6, "::1")]
)
def test_flows_within_the_host_are_left_alone(network: Network, family: int, address: str) -> None:
    with socket.socket(family) as listening:
        listening.bind((address, PORT))
        listening.listen()
        ours = network.connect(family, socket.SOCK_STREAM, address)
        network.keep(listening.accept()[0])
        assert LinuxFlowTable().end(nothing).sockets == 0
        assert error_of(ours) == 0


def test_unconnected_sockets_are_left_alone(network: Network) -> None:
    ours = network.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ours.sendto(b"x", (RESOLVER4, 53))
    assert LinuxFlowTable().end(nothing).sockets == 0
    assert error_of(ours) == 0


def test_more_flows_than_one_netlink_message_holds(network: Network) -> None:
    flows = [network.connect(socket.AF_INET, socket.SOCK_DGRAM, RESOLVER4, 1000 + n) for n in range(900)]
    kept = flows[450]
    ended = LinuxFlowTable().end(lambda packet: packet.destination_port == 1450)
    assert ended.sockets == 899
    assert error_of(kept) == 0
    assert all(error_of(flow) == errno.ECONNABORTED for flow in flows if flow is not kept)


def track() -> None:
    """Tracking on, as a host firewall has it."""
    nft("add table inet other")
    nft("add chain inet other c { type filter hook output priority 0; }")
    nft("add chain inet other f { type filter hook forward priority 0; }")
    nft("add chain inet other i { type filter hook input priority 0; }")
    for chain in "cfi":
        nft(f"add rule inet other {chain} ct state established,new counter")


def tracked() -> int:
    return int(subprocess.run(["conntrack", "-C"], capture_output=True, check=True, text=True).stdout)


def test_tracked_entries_of_both_families(network: Network) -> None:
    track()
    sockets = [
        network.keep(socket.socket(family, socket.SOCK_DGRAM)) for family in (socket.AF_INET, socket.AF_INET6)
    ]
    for port in (53, 99):
        sockets[0].sendto(b"x", (RESOLVER4, port))
        sockets[1].sendto(b"x", (RESOLVER6, port))
    assert tracked() >= 4
    seen: list[Packet] = []

    def judge(packet: Packet) -> bool:
        seen.append(packet)
        return packet.destination_port == 53

    ended = LinuxFlowTable().end(judge)
    assert (ended.tracked, ended.sockets) == (2, 0)
    assert {(each.hook, each.source) for each in seen if each.protocol == "udp"} == {
        (Hook.OUTPUT, ip_address(OWN4)),
        (Hook.OUTPUT, ip_address(OWN6)),
    }
    again = LinuxFlowTable().end(judge)
    assert again.tracked == 0


def test_the_true_destination_behind_nat_is_judged(network: Network) -> None:
    nft("add table ip other")
    nft("add chain ip other d { type nat hook output priority -100; }")
    nft(f"add rule ip other d udp dport 80 dnat to {RESOLVER4}:8080")
    ours = network.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    ip("route add 203.0.113.0/24 via 192.0.2.53")
    ours.sendto(b"x", ("203.0.113.1", 80))
    seen: list[Packet] = []
    ended = LinuxFlowTable().end(lambda packet: bool(seen.append(packet)))  # type: ignore[func-returns-value]
    assert ended.tracked == 1
    assert (seen[0].destination, seen[0].destination_port) == (ip_address(RESOLVER4), 8080)


def test_a_tracked_flow_is_judged_with_its_owner(network: Network) -> None:
    track()
    ours = network.connect(socket.AF_INET, socket.SOCK_DGRAM, RESOLVER4)
    ours.send(b"x")
    ended = LinuxFlowTable().end(lambda packet: packet.uid == os.getuid())
    assert (ended.tracked, ended.sockets) == (0, 0)


def test_forwarded_flows(network: Network) -> None:
    track()
    ip("addr add 198.51.100.1/24 dev lo")
    # A tracked flow between two hosts that are not this one, as a router sees it.
    command = [
        "conntrack",
        "-I",
        "-p",
        "udp",
        "-s",
        "10.1.1.1",
        "-d",
        "10.2.2.2",
        "--sport",
        "5",
        "--dport",
        "6",
    ]
    subprocess.run([*command, "-t", "60"], check=True, capture_output=True)
    seen: list[Packet] = []
    ended = LinuxFlowTable().end(lambda packet: bool(seen.append(packet)))  # type: ignore[func-returns-value]
    assert ended.tracked == 1
    assert (seen[0].hook, seen[0].source, seen[0].destination, seen[0].destination_port) == (
        Hook.FORWARD,
        ip_address("10.1.1.1"),
        ip_address("10.2.2.2"),
        6,
    )
    assert tracked() == 0


def test_without_permission_it_says_so(network: Network) -> None:
    network.connect(socket.AF_INET, socket.SOCK_DGRAM, RESOLVER4)
    with pytest.raises(IsolatorError) as failure:
        without_capabilities(lambda: LinuxFlowTable().end(nothing))
    assert failure.value.code is FailureCode.NO_PERMISSION
