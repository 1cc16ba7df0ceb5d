"""What is kept of a packet, whom it counts for, and what a flood, a liar or a missing right cannot do."""

from __future__ import annotations

import asyncio
import builtins
import errno
import logging
import socket
from collections.abc import Callable
from random import Random
from typing import Any

import dns.message
import dns.rcode
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6TimeExceeded, IPv6
from scapy.packet import Packet, Raw

from connectivity_check.failure import Seen
from connectivity_check.model import InputError, Observation, Role, Step, Target
from connectivity_check.probes import capture as module
from connectivity_check.probes.capture import MOST_SHOWN, Listener, PacketCapture, open_capture
from connectivity_check.probes.packet_socket import SNAP
from connectivity_check.runner import packets as written
from connectivity_check.runner.clock import SystemClock
from connectivity_check.runner.ledger import Ledger

US, THERE, ROUTER, DNS = "192.0.2.10", "198.51.100.7", "192.0.2.1", "192.0.2.53"
US6, THERE6, ROUTER6 = "2001:db8::10", "2001:db8:1::7", "2001:db8::1"


class Quiet:
    """A listener that has nothing more to tell."""

    def __init__(self, lost: bool = False) -> None:
        self.closed, self._lost = 0, lost

    def rest(self) -> list[Packet]:
        return []

    def lost(self) -> bool:
        return self._lost

    def close(self) -> None:
        self.closed += 1


def captured(*packets: Packet, lost: bool = False) -> PacketCapture:
    """A capture that saw these packets a second apart, as the kernel gives them: cut, from the IP header on."""
    capture = PacketCapture(Quiet(lost), 1000.0)  # type: ignore[arg-type]
    for number, packet in enumerate(packets):
        capture.take(at(packet, 1000.0 + number))
    capture.close()
    return capture


def at(packet: Packet, time: float) -> Packet:
    """The packet as it is read back from the wire."""
    seen: Packet = type(packet)(bytes(packet)[:SNAP])
    seen.time = time
    return seen


def syn(to: str = THERE, port: int = 443) -> Packet:
    kind = IPv6(src=US6, dst=to) if ":" in to else IP(src=US, dst=to)
    return kind / TCP(sport=40000, dport=port, flags="S")


def test_a_syn_and_the_reset_that_came_for_it() -> None:
    seen = captured(syn(), IP(src=THERE, dst=US, ttl=63) / TCP(sport=443, dport=40000, flags="RA")).packets(
        THERE, 443
    )
    assert (seen.step, seen.seen, seen.role) == (Step.CONNECT, None, Role.PACKETS)
    assert seen.evidence == {
        "address": THERE,
        "port": 443,
        "packets": [
            {"ms": 0.0, "direction": "out", "from": US, "ttl": 64, "length": 40, "flags": "S"},
            {"ms": 1000.0, "direction": "in", "from": THERE, "ttl": 63, "length": 40, "flags": "RA"},
        ],
        "syns": 1,
        "rst_ttl": 63,
    }


def test_other_ports_and_addresses_are_somebody_elses() -> None:
    capture = captured(syn(), syn(port=80), syn("198.51.100.8"))
    assert capture.packets(THERE, 443).evidence["syns"] == 1
    assert capture.packets(THERE, 4444).evidence == {"address": THERE, "port": 4444, "packets": [], "syns": 0}


def test_a_prohibition_quotes_whom_it_is_about() -> None:
    quoted = bytes(syn())[:28]  # RFC 792: the header and eight bytes
    said_no = IP(src=ROUTER, dst=US, ttl=64) / ICMP(type=3, code=13) / Raw(quoted)
    seen = captured(syn(), said_no).packets(THERE, 443).evidence
    assert seen["icmp_from"] == ROUTER
    assert seen["packets"][1]["icmp"] == {"type": 3, "code": 13}  # type: ignore[index, call-overload]


def test_the_same_in_ipv6_and_the_scope_of_an_address_is_no_part_of_it() -> None:
    said_no = IPv6(src=ROUTER6, dst=US6) / ICMPv6DestUnreach(code=1) / bytes_of(syn(THERE6))
    seen = captured(said_no).packets(THERE6, 443).evidence
    assert seen["icmp_from"] == ROUTER6
    assert captured(syn("fe80::7")).packets("fe80::7%eth0", 443).evidence["syns"] == 1


def bytes_of(packet: Packet) -> Raw:
    return Raw(bytes(packet))


def test_a_router_on_the_hop_walk_is_not_taken_for_one_that_refuses() -> None:
    walk4 = IP(src=ROUTER, dst=US) / ICMP(type=11, code=0) / bytes_of(syn())
    walk6 = IPv6(src=ROUTER6, dst=US6) / ICMPv6TimeExceeded() / bytes_of(syn(THERE6))
    capture = captured(walk4, walk6)
    for there in (THERE, THERE6):
        seen = capture.packets(there, 443).evidence
        assert "icmp_from" not in seen
        assert len(seen["packets"]) == 1  # type: ignore[arg-type]


def test_an_echo_that_quotes_a_packet_says_nothing() -> None:
    trick = IP(src=ROUTER, dst=US) / ICMP(type=8) / bytes_of(syn())
    assert captured(trick).packets(THERE, 443).evidence["packets"] == []


def answer(name: str, *, source: str = DNS) -> Packet:
    reply = dns.message.make_response(dns.message.make_query(name, "A"))
    reply.set_rcode(dns.rcode.NXDOMAIN)
    return IP(src=source, dst=US) / UDP(sport=53, dport=5000) / Raw(reply.to_wire())


def test_dns_answers_are_told_by_their_question() -> None:
    capture = captured(answer("A.example"), answer("b.example"))
    (mine,) = capture.packets(DNS, 53, "a.example.").evidence["packets"]  # type: ignore[misc, union-attr]
    assert mine == {"ms": 0.0, "direction": "in", "from": DNS, "ttl": 64, "length": 55, "rcode": 3}
    assert len(capture.packets(DNS, 53).evidence["packets"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wire", [b"", b"\x00" * 11, b"\xff" * 300, b"\0" * 12 + b"\xc0\x0c", b"\0" * 12 + b"\x3fshort"]
)
def test_an_answer_that_cannot_be_read_does_no_harm(wire: bytes) -> None:
    captured(IP(src=DNS, dst=US) / UDP(sport=53, dport=5000) / Raw(wire)).packets(DNS, 53)


@pytest.mark.parametrize("length", range(20, 56))
def test_a_packet_that_ends_anywhere_does_no_harm(length: int) -> None:
    said_no = IP(src=ROUTER, dst=US) / ICMP(type=3, code=13) / bytes_of(syn())
    for packet in (said_no, syn(), answer("a.example"), syn(THERE6)):
        capture = PacketCapture(Quiet(), 0.0)  # type: ignore[arg-type]
        capture.take(type(packet)(bytes(packet)[: max(length, 40 if type(packet) is IPv6 else 20)]))


class Garbage:
    """A packet socket on which strangers send."""

    def __init__(self, *data: bytes) -> None:
        self._data = list(data)
        self.fileno, self.lost, self.close = (lambda: 1), (lambda: False), (lambda: None)

    def receive(self) -> tuple[bytes, float]:
        return (self._data.pop(0) if self._data else b""), 1.0


def test_random_bytes_never_end_the_capture() -> None:
    random = Random(7)
    heads = (b"\x45", b"\x46", b"\x4f", b"\x40", b"\x60", b"\x6f", b"\x00")
    for _ in range(3000):
        body = bytearray(random.choice(heads) + random.randbytes(random.randrange(SNAP)))
        if len(body) > 9:
            body[9 if body[0] >> 4 == 4 else 6] = random.choice((1, 6, 17, 58))
        listener = Listener(Garbage(bytes(body)))  # type: ignore[arg-type]
        capture = PacketCapture(listener, 0.0)
        packet = listener.recv()
        if packet is not None:
            capture.take(packet)


def test_what_cannot_be_read_is_told_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = PacketCapture(Quiet(), 0.0)  # type: ignore[arg-type]
    monkeypatch.setattr(capture, "_read", refusing(0))
    capture.take(at(syn(), 1.0))
    assert capture.packets(THERE, 443).evidence["lost"] is True


def test_a_packet_seen_on_two_interfaces_counts_once_and_a_repeated_syn_twice() -> None:
    capture = PacketCapture(Quiet(), 1000.0)  # type: ignore[arg-type]
    for moment in (1000.0, 1000.0004, 1001.0, 1001.0004):
        capture.take(at(syn(), moment))
    assert capture.packets(THERE, 443).evidence["syns"] == 2


def test_a_flood_is_bounded_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HEADERS", 50)
    capture = captured(*(syn() for _ in range(80)))
    seen = capture.packets(THERE, 443).evidence
    assert (len(seen["packets"]), seen["syns"], seen["lost"]) == (MOST_SHOWN, 50, True)  # type: ignore[arg-type]
    assert captured(lost=True).packets(THERE, 443).evidence["lost"] is True
    assert "lost" not in captured(syn()).packets(THERE, 443).evidence


def test_closing_twice_is_fine() -> None:
    capture = captured(syn())
    asyncio.run(capture.finish())
    assert capture.packets(THERE, 443).evidence["syns"] == 1


def refusing(number: int) -> Callable[..., socket.socket]:
    def refuse(*_: object) -> socket.socket:
        raise OSError(number, "refused")

    return refuse


@pytest.mark.parametrize(("number", "words"), [(errno.EPERM, "CAP_NET_RAW"), (errno.EAFNOSUPPORT, "refused")])
def test_without_the_right_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    monkeypatch.setattr(socket, "socket", refusing(number))
    with pytest.raises(InputError, match=words):
        open_capture()


def test_without_packet_sockets_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_PACKET")
    with pytest.raises(InputError, match="Linux"):
        open_capture()


def test_without_scapy_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("scapy"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"host-isolator\[trace\]"):
        open_capture()


class Remembering:
    """A capture that tells what it was asked."""

    async def finish(self) -> None: ...

    def packets(self, address: str, port: int, name: str = "") -> Observation:
        return Observation(
            Step.CONNECT, None, {"address": f"{address} {port} {name}"}, 0.0, role=Role.PACKETS
        )


def row(*seen: Observation) -> list[str]:
    """Whom the packets written to a row of these observations are of."""
    ledger = Ledger([Target(1, "a.example", "a.example")], SystemClock())
    ledger.rows[0].extend(seen)
    written.add_packets(ledger, Remembering())
    found = ledger.rows[0][len(seen) :]
    assert all(each.started_s == 7.0 for each in found), "the row does not get longer by it"
    return [str(each.evidence["address"]) for each in found]


def seen(step: Step, failure: Seen | None, **evidence: str | int) -> Observation:
    return Observation(step, failure, evidence, 0.1, started_s=7.0)


def test_rows_that_failed_and_only_these_get_packets() -> None:
    name = seen(Step.RESOLVE, None, name="a.example", resolver=DNS)
    good, silent = (seen(Step.CONNECT, each, address=THERE, port=443) for each in (None, Seen.TIMEOUT))
    assert row() == row(name, good) == []
    assert row(seen(Step.RESOLVE, Seen.DNS_NXDOMAIN, name="a.example", resolver=DNS)) == [
        f"{DNS} 53 a.example"
    ]
    assert row(name, silent) == [f"{THERE} 443 "]
    assert row(name, good, seen(Step.HTTP_ROUND_TRIP, Seen.TIMEOUT, url="https://a.example/")) == [
        f"{THERE} 443 "
    ]
    assert row(seen(Step.RESOLVE, Seen.TIMEOUT, name="a.example")) == [], "nobody was asked"


@pytest.fixture(autouse=True)
def as_loud_as_before() -> Any:
    """Opening a capture quietens scapy; other tests hear it as before."""
    level = logging.getLogger("scapy").level
    yield
    logging.getLogger("scapy").setLevel(level)
