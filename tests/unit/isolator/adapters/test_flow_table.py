"""Which packet a tracked flow stands for; netlink bytes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.adapters.flow_table import netlink
from isolator.adapters.flow_table.conntrack import End, Entry, outgoing_packet
from isolator.adapters.flow_table.own_addresses import LocalAddresses
from isolator.model.flow import Hook, Packet

OWN = LocalAddresses([ip_address("192.0.2.10"), ip_address("2001:db8::10")])


def end(source: str, source_port: int | None, there: str, port: int | None, protocol: int = 17) -> End:
    return End(ip_address(source), ip_address(there), protocol, source_port, port)


def packet(
    hook: Hook, source: str, source_port: int | None, there: str, port: int | None, name: str = "udp"
) -> Packet:
    return Packet(hook, ip_address(source), ip_address(there), name, source_port, port)


@pytest.mark.parametrize(
    ("original", "reply", "expected"),
    [
        pytest.param(
            end("192.0.2.10", 5, "203.0.113.1", 53),
            end("203.0.113.1", 53, "192.0.2.10", 5),
            packet(Hook.OUTPUT, "192.0.2.10", 5, "203.0.113.1", 53),
            id="outgoing",
        ),
        pytest.param(
            end("192.0.2.10", 5, "203.0.113.1", 53),
            end("198.51.100.1", 5353, "192.0.2.10", 5),
            packet(Hook.OUTPUT, "192.0.2.10", 5, "198.51.100.1", 5353),
            id="outgoing, destination translated",
        ),
        pytest.param(
            end("203.0.113.1", 5, "192.0.2.10", 22),
            end("192.0.2.10", 22, "203.0.113.1", 5),
            packet(Hook.OUTPUT, "192.0.2.10", 22, "203.0.113.1", 5),
            id="incoming",
        ),
        pytest.param(
            end("203.0.113.1", 5, "192.0.2.10", 80),
            end("172.17.0.2", 8080, "203.0.113.1", 5),
            packet(Hook.FORWARD, "203.0.113.1", 5, "172.17.0.2", 8080),
            id="incoming to a container",
        ),
        pytest.param(
            end("172.17.0.2", 5, "203.0.113.1", 443),
            end("203.0.113.1", 443, "192.0.2.10", 40000),
            packet(Hook.FORWARD, "172.17.0.2", 5, "203.0.113.1", 443),
            id="container, masqueraded",
        ),
        pytest.param(
            end("192.0.2.10", 5, "192.0.2.10", 6), end("192.0.2.10", 6, "192.0.2.10", 5), None, id="to itself"
        ),
        pytest.param(
            end("127.0.0.1", 5, "127.0.0.53", 53), end("127.0.0.53", 53, "127.0.0.1", 5), None, id="loopback"
        ),
        pytest.param(
            end("2001:db8::10", None, "2001:db8::1", None, 58),
            end("2001:db8::1", None, "2001:db8::10", None, 58),
            packet(Hook.OUTPUT, "2001:db8::10", None, "2001:db8::1", None, "icmpv6"),
            id="ping",
        ),
        pytest.param(
            end("192.0.2.10", None, "203.0.113.1", None, 47),
            end("203.0.113.1", None, "192.0.2.10", None, 47),
            packet(Hook.OUTPUT, "192.0.2.10", None, "203.0.113.1", None, "47"),
            id="a tunnel",
        ),
    ],
)
def test_the_packet_a_tracked_flow_stands_for(original: End, reply: End, expected: Packet | None) -> None:
    assert outgoing_packet(Entry(original, reply, 2, ()), OWN, {}) == expected


def test_the_owner_of_the_socket_comes_along() -> None:
    here, there = ip_address("192.0.2.10"), ip_address("203.0.113.1")
    entry = Entry(
        end("192.0.2.10", 5, "203.0.113.1", 443, 6), end("203.0.113.1", 443, "192.0.2.10", 5, 6), 2, ()
    )
    found = outgoing_packet(entry, OWN, {("tcp", here, 5, there, 443): 1000})
    assert found is not None
    assert (found.uid, found.tcp_flags) == (1000, frozenset({"ack"}))


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.0.2.10", True), ("127.1.2.3", True), ("::1", True), ("192.0.2.11", False), ("2001:db8::1", False)],
)
def test_what_is_local(address: str, expected: bool) -> None:
    for _ in range(2):
        assert (ip_address(address) in OWN) is expected
    assert "192.0.2.10" not in OWN


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        ("c0000201", "192.0.2.1"),
        ("00000000000000000000ffffc0000201", "192.0.2.1"),
        ("20010db8000000000000000000000001", "2001:db8::1"),
    ],
)
def test_addresses_out_of_bytes(packed: str, expected: str) -> None:
    assert netlink.address(bytes.fromhex(packed)) == ip_address(expected)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x00\x00\x00", b"\x04\x00\x01\x00\xff", b"\xff\xff\x01\x00"]
)
def test_attributes_of_odd_bytes_come_to_an_end(data: bytes) -> None:
    assert all(isinstance(value, bytes) for value in netlink.attributes(data).values())
