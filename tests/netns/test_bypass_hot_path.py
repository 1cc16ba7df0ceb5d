"""Attack table row 34 on the short ways: packets that the rules pass by their looks, without asking the gate.

Two ways are short: a connection that was approved, and the first bare acknowledgement of one that was not yet. Root
makes packets of these connections that are more than they look like.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP, IPOption
from scapy.layers.inet6 import (
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)

from isolator.model.ruleset import FLOW_BIT
from tests.lab import Lab
from tests.lab.world import UNLISTED_ADDRESS
from tests.netns.bypass_scene import (
    ALLOWED,
    AT,
    CLOCK,
    CLOCK_PORT,
    PORT,
    Played,
    Trick,
    family_of,
    played,
)
from tests.netns.odd_packets import Connection, InConnection, network, send_raw, within
from tests.netns.told_bytes import hello

pytestmark = pytest.mark.netns

GOOD = hello(ALLOWED, b"-" * 16)
_TTL = 64
_OWN = count(21_000)

Forge = Callable[[Lab, str, int, bytes], Any]
"""Makes the packet from an own port of the device to an address."""


def _begun(lab: Lab, there: str, own: int) -> bool:
    """Would the first acknowledgement between these ends pass; without isolation there is nothing to wait for."""
    name = "begun6" if ":" in there else "begun4"
    listed = lab.device.run(["nft", "list", "set", "inet", "isolator", name])
    return listed.returncode != 0 or f" . {own} . {there} . " in listed.stdout


def after_a_syn(there: str, forge: Forge, own: int | None = None) -> Callable[[Lab, bytes], None]:
    """The packet as the first after a SYN that the gate has passed."""

    def play(lab: Lab, marker: bytes) -> None:
        port = own or next(_OWN)
        syn = TCP(sport=port, dport=PORT, flags="S", seq=1000)
        send_raw(lab, there, [network(lab, there) / syn])
        deadline = time.monotonic() + 10
        while not _begun(lab, there, port):
            assert time.monotonic() < deadline, "the gate did not pass the SYN"
            time.sleep(0.01)
        send_raw(lab, there, [forge(lab, there, port, marker)])

    return play


def _ack(own: int, **fields: Any) -> Any:
    return TCP(sport=own, dport=PORT, flags="A", seq=1001, ack=1, **fields)


def behind_the_end(lab: Lab, there: str, own: int, marker: bytes) -> bytes:
    """IPv6: an empty acknowledgement by its own length, and bytes of the frame behind it."""
    return bytes(network(lab, there) / _ack(own)) + marker


def data_without_push(lab: Lab, there: str, own: int, marker: bytes) -> Any:
    return network(lab, there) / _ack(own) / marker


def long_options(lab: Lab, there: str, own: int, marker: bytes) -> Any:
    """Room of 20 bytes behind the TCP header, for an option that nobody knows."""
    return network(lab, there) / _ack(own, options=[(253, marker + bytes(2))])


def options_in_place_of_tcp(lab: Lab, there: str, own: int, marker: bytes) -> bytes:
    """IPv4: as long as an empty acknowledgement, but options take the place of the TCP header's end."""
    ends = socket.inet_aton(lab.device.addresses.v4) + socket.inet_aton(there)
    head = struct.pack("!BBHHHBBH", 0x49, 0, 52, 1, 0, _TTL, socket.IPPROTO_TCP, 0) + ends
    return head + marker + bytes(_ack(own, dataofs=8))[:16]


def carrying(*extra: Any, **fields: Any) -> InConnection:
    """Data of an approved connection with something between the headers."""

    def act(opened: Connection, marker: bytes) -> None:
        head = network(opened.lab, opened.there, **fields)
        for each in extra:
            head = head / each
        send_raw(opened.lab, opened.there, [head / opened.head() / marker])

    return act


def as_datagram(opened: Connection, marker: bytes) -> None:
    """The ends of an approved connection, and its mark, on a datagram."""
    body = UDP(sport=opened.own_port, dport=opened.port) / marker
    opened.inject(body, mark=FLOW_BIT)


def as_first_piece(opened: Connection, marker: bytes) -> None:
    """A piece of an approved connection's data."""
    body = opened.head() / (marker + bytes(8))
    if ":" in opened.there:
        opened.inject(IPv6ExtHdrFragment(m=1, nh=6) / body, mark=FLOW_BIT)
    else:
        opened.inject(body, mark=FLOW_BIT, flags="MF")


def opening(flags: str) -> InConnection:
    """A beginning with bytes on approved ends, under the mark of known connections."""

    def act(opened: Connection, marker: bytes) -> None:
        opened.inject(opened.head(flags, ack=0) / marker, mark=FLOW_BIT)

    return act


def sent_elsewhere(there: str, far: str) -> Callable[[Lab, bytes], None]:
    """What an approved connection says, while somebody's destination NAT leads it to a stranger."""

    def act(opened: Connection, marker: bytes) -> None:
        family = "ip6" if ":" in there else "ip"
        rule = f"{family} daddr {there} tcp dport {PORT} dnat {family} to {far}"
        table = f"table inet elsewhere {{ chain c {{ type nat hook output priority -100; {rule}; }}; }}"
        opened.lab.device.run(["nft", table], check=True)
        try:
            opened.say(marker)
        finally:
            opened.lab.device.run(["nft", "delete table inet elsewhere"], check=True)

    return within(there, PORT, act, GOOD)


def clock_with_options(there: str) -> Callable[[Lab, bytes], None]:
    """A datagram to a learned address, under the mark of known connections."""

    def play(lab: Lab, marker: bytes) -> None:
        body = UDP(sport=4242, dport=CLOCK_PORT) / b"x"
        if ":" in there:
            packet = network(lab, there) / IPv6ExtHdrHopByHop(options=[PadN(optdata=marker)]) / body
        else:
            option = IPOption(copy_flag=1, optclass=0, option=30, value=marker)
            packet = network(lab, there, options=[option]) / body
        send_raw(lab, there, [packet], mark=FLOW_BIT)

    return play


def tricks() -> Iterator[Trick]:
    """Every attempt, IPv4 and IPv6."""
    four, six = AT[ALLOWED].v4, AT[ALLOWED].v6
    for v, there in (("v4", four), ("v6", six)):
        for name, forge in (
            ("data in the first acknowledgement", data_without_push),
            ("a long option in the first acknowledgement", long_options),
        ):
            yield Trick(f"{name}, {v}", after_a_syn(there, forge), "flow_unknown")
        for name, act, reason in (
            ("a datagram on approved ends", as_datagram, "not_listed"),
            ("a first fragment on approved ends", as_first_piece, "fragment"),
            ("a beginning on approved ends", opening("S"), "tcp_syn_data"),
            ("a beginning and an end on approved ends", opening("SF"), "tcp_malformed"),
        ):
            yield Trick(f"{name}, {v}", within(there, PORT, act, GOOD), reason)
        clock = getattr(AT[CLOCK], v)
        yield Trick(f"options to the clock, {v}", clock_with_options(clock), "ip_options")
        elsewhere = sent_elsewhere(there, getattr(UNLISTED_ADDRESS, v))
        yield Trick(f"destination NAT of an approved connection, {v}", elsewhere, "not_listed")
    yield Trick(
        "bytes behind the first acknowledgement, v6", after_a_syn(six, behind_the_end), "tcp_malformed"
    )
    cut = after_a_syn(four, options_in_place_of_tcp)
    yield Trick("options in the first acknowledgement, v4", cut, "tcp_malformed")


def with_more_in_it() -> Iterator[Trick]:
    """Approved connections with something between the headers: IP options, or an extension header."""
    option = IPOption(copy_flag=1, optclass=0, option=30, value=b"-" * 6)
    yield Trick("an option", within(AT[ALLOWED].v4, PORT, carrying(options=[option]), GOOD), "tcp_malformed")
    pad = [PadN(optdata=b"-" * 4)]
    for name, extra in (
        ("hop-by-hop options", IPv6ExtHdrHopByHop(options=pad)),
        ("destination options", IPv6ExtHdrDestOpt(options=pad)),
        ("a routing header", IPv6ExtHdrRouting(addresses=["2606:2800:220:1::200"], type=0)),
    ):
        yield Trick(name, within(AT[ALLOWED].v6, PORT, carrying(extra), GOOD), "tcp_malformed")


TRICKS = (*tricks(), *with_more_in_it())


@pytest.fixture(scope="module")
def made() -> Iterator[Played]:
    with played(TRICKS) as opened:
        yield opened


@pytest.mark.parametrize("trick", TRICKS, ids=str)
def test_each_attempt(made: Played, trick: Trick) -> None:
    made.judge(trick)


def test_a_connection_without_a_word_is_ended(made: Played) -> None:
    """The gate has not heard its acknowledgement, so it does not know the client's numbers."""
    with ExitStack() as opened:
        socks = []
        for address in (AT[ALLOWED].v4, AT[ALLOWED].v6):
            sock = opened.enter_context(made.stage.lab.device.socket(family_of(address), socket.SOCK_STREAM))
            sock.settimeout(60)
            sock.connect((address, PORT))
            socks.append(sock)
        for sock in socks:
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
