"""ControlProbe: the fake, and TCP in a namespace of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from isolator.model.flow import Destination, Transport
from isolator.ports import ControlProbe
from tests.contract.own_network import RESOLVER4, add_uplink, own_network
from tests.fakes.control_probe import FakeProbe

OPEN4 = Destination(ip_address("127.0.0.1"), Transport.TCP, 8443)
OPEN6 = Destination(ip_address("::1"), Transport.TCP, 8443)
CLOSED = Destination(ip_address("127.0.0.1"), Transport.TCP, 9)
SILENT = Destination(ip_address(RESOLVER4), Transport.TCP, 8443)
UNROUTED = Destination(ip_address("203.0.113.1"), Transport.TCP, 8443)
DATAGRAM = Destination(ip_address("127.0.0.1"), Transport.UDP, 8443)


@pytest.fixture(params=["fake", pytest.param("tcp", marks=pytest.mark.netns)])
def probe(request: pytest.FixtureRequest) -> Iterator[ControlProbe]:
    if request.param == "fake":
        yield FakeProbe([OPEN4, OPEN6])
        return
    from isolator.adapters.control_probe import TcpControlProbe

    with own_network(), socket.socket() as four, socket.socket(socket.AF_INET6) as six:
        add_uplink()
        four.bind(("127.0.0.1", 8443))
        six.bind(("::1", 8443))
        four.listen()
        six.listen()
        yield TcpControlProbe()


@pytest.mark.parametrize("given", [[OPEN4], [OPEN6], [CLOSED, UNROUTED, OPEN4], [SILENT, OPEN6, CLOSED]])
def test_one_that_accepts_is_enough(probe: ControlProbe, given: list[Destination]) -> None:
    assert probe.reachable(given, 10)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("given", [[], [CLOSED], [UNROUTED], [DATAGRAM], [CLOSED, UNROUTED, DATAGRAM]])
def test_none_that_accepts_is_told_without_waiting(probe: ControlProbe, given: list[Destination]) -> None:
    # The deadline is far longer than the test may take: the answer must not wait for it.
    assert not probe.reachable(given, 3600)


def test_silence_ends_with_the_deadline(probe: ControlProbe) -> None:
    assert not probe.reachable([SILENT], 0.2)
    assert not probe.reachable([SILENT], 0)
