"""Segments of our own, read back by the packet parser; the sums by their definition."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.model.segment import Acknowledgement, FlowKey, Reset
from isolator.wire.checksum import ones_sum, pseudo_header
from isolator.wire.ip_packet import parse_ip, parse_tcp
from isolator.wire.tcp_render import render_acknowledgement, render_resets


@pytest.mark.parametrize(("client", "server"), [("192.0.2.1", "20.1.2.3"), ("2001:db8::1", "2603::1")])
def test_both_ends(client: str, server: str) -> None:
    key = FlowKey(ip_address(client), 40_000, ip_address(server), 443)
    packets = [parse_ip(each, verify=True) for each in render_resets(Reset(key, 5, 0xFFFF_FFFF, 9))]
    for packet in packets:
        pseudo = pseudo_header(packet.source.packed, packet.destination.packed, 6, len(packet.payload))
        assert ones_sum(pseudo + packet.payload) == 0
    to_server, to_client = (parse_tcp(packet) for packet in packets)
    assert (packets[0].destination, to_server.destination_port) == (key.server, 443)
    assert (to_server.sequence, to_server.flags) == (5, frozenset({"rst"}))
    assert (packets[1].destination, to_client.destination_port) == (key.client, 40_000)
    assert (to_client.sequence, to_client.acknowledgement) == (0xFFFF_FFFF, 9)
    assert to_client.flags == frozenset({"rst", "ack"})


@pytest.mark.parametrize(("client", "server"), [("192.0.2.1", "20.1.2.3"), ("2001:db8::1", "2603::1")])
def test_an_acknowledgement(client: str, server: str) -> None:
    key = FlowKey(ip_address(client), 40_000, ip_address(server), 443)
    packet = parse_ip(render_acknowledgement(Acknowledgement(key, 7, 0xFFFF_FFFF)), verify=True)
    pseudo = pseudo_header(packet.source.packed, packet.destination.packed, 6, len(packet.payload))
    assert ones_sum(pseudo + packet.payload) == 0
    read = parse_tcp(packet)
    assert (packet.source, packet.destination) == (key.server, key.client)
    assert (read.source_port, read.destination_port) == (443, 40_000)
    assert (read.sequence, read.acknowledgement, read.flags) == (7, 0xFFFF_FFFF, frozenset({"ack"}))


def test_two_families() -> None:
    key = FlowKey(ip_address("192.0.2.1"), 1, ip_address("2603::1"), 443)
    with pytest.raises(ValueError, match="one family"):
        render_resets(Reset(key, 1, 2, 3))
