"""FlowTable: the fake, and the kernel's sockets in a namespace of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from isolator.model.flow import Hook, Packet
from isolator.ports import FlowTable
from tests.contract.own_network import OWN4, RESOLVER4, add_uplink, own_network
from tests.fakes.flow_table import FakeFlowTable

LOOPBACK = "127.0.0.1"


@dataclass
class Bench:
    """`connect` makes a UDP flow to a port of an address; `is_alive` tells whether it still is one."""

    table: FlowTable
    connect: Callable[[str, int], object]
    is_alive: Callable[[object], bool]


def _fake() -> Bench:
    table = FakeFlowTable()

    def connect(address: str, port: int) -> Packet:
        flow = Packet(Hook.OUTPUT, ip_address(OWN4), ip_address(address), "udp", 40000, port)
        table.flows.append(flow)
        return flow

    return Bench(table, connect, lambda flow: flow in table.flows)


def _real() -> Iterator[Bench]:
    from isolator.adapters.flow_table import LinuxFlowTable

    made: list[socket.socket] = []

    def connect(address: str, port: int) -> socket.socket:
        made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made[-1].connect((address, port))
        return made[-1]

    def is_alive(flow: object) -> bool:
        assert isinstance(flow, socket.socket)
        return flow.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    with own_network():
        add_uplink()
        yield Bench(LinuxFlowTable(), connect, is_alive)
        for each in made:
            each.close()


@pytest.fixture(params=["fake", pytest.param("linux", marks=pytest.mark.netns)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        yield _fake()
    else:
        yield from _real()


def test_no_flows_no_ends(bench: Bench) -> None:
    ended = bench.table.end(lambda packet: False)
    assert (ended.tracked, ended.sockets) == (0, 0)


def test_exactly_the_refused_flows_end(bench: Bench) -> None:
    kept, ended = bench.connect(RESOLVER4, 443), bench.connect(RESOLVER4, 444)
    counted = bench.table.end(lambda packet: packet.destination_port == 443)
    assert counted.sockets == 1
    assert bench.is_alive(kept)
    assert not bench.is_alive(ended)


def test_the_outgoing_packet_is_judged(bench: Bench) -> None:
    bench.connect(RESOLVER4, 443)
    seen: list[Packet] = []
    bench.table.end(lambda packet: not seen.append(packet))  # type: ignore[func-returns-value]
    (packet,) = {(each.hook, each.source, each.destination, each.protocol) for each in seen}
    assert packet == (Hook.OUTPUT, ip_address(OWN4), ip_address(RESOLVER4), "udp")


def test_loopback_is_left_alone(bench: Bench) -> None:
    flow = bench.connect(LOOPBACK, 9)
    assert bench.table.end(lambda packet: False).sockets == 0
    assert bench.is_alive(flow)


def test_twice_ends_nothing_more(bench: Bench) -> None:
    bench.connect(RESOLVER4, 443)
    assert bench.table.end(lambda packet: False).sockets == 1
    assert bench.table.end(lambda packet: False).sockets == 0
