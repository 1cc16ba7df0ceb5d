"""The packet table: each row is a packet and what must become of it, walked on values and sent for real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from isolator.model.flow import Address, Hook, Packet
from isolator.model.ruleset import APPROVED_BIT
from isolator.model.verdict import Reason, Verdict
from tests.netns.packet_bytes import Piece, packet_bytes
from tests.netns.packet_world import EXCLUDED_UID, V4, V6, World

ACCEPT, DROP, REJECT, QUEUE = Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT, Verdict.QUEUE


@dataclass(frozen=True, slots=True)
class Row:
    """One packet and its fate.

    `gate` is what the gate says when the packet is queued; None when the feeding rule is gone, so that
    nobody judges. `moves` counts how often the reason's counter moves: a reply that the kernel makes and
    that meets the same rule moves it again.
    """

    name: str
    packet: Packet
    verdict: Verdict
    reason: Reason
    gate: Verdict | None = None
    piece: Piece = Piece.WHOLE
    padding: int = 0
    moves: int = 1

    @property
    def marker(self) -> bytes:
        """Six bytes that occur in no other row's packet."""
        return f"F{ROWS.index(self):05d}".encode()

    @property
    def wire(self) -> bytes:
        """The packet's bytes."""
        return packet_bytes(self.packet, self.marker, piece=self.piece, padding=self.padding)

    @property
    def walked(self) -> Packet:
        """The packet as `trace` gets it: with its true length, and only what its headers show."""
        packet = replace(self.packet, length=len(self.wire), fragment=self.piece is not Piece.WHOLE)
        if self.piece is Piece.LATER:
            packet = replace(packet, source_port=None, destination_port=None, tcp_flags=frozenset())
        return packet

    @property
    def mark(self) -> int:
        """Packet mark it is sent with: bit 0 on all, the gate's too on a forged one."""
        return 1 | (APPROVED_BIT if self.packet.approved else 0)


def _flags(*names: str) -> frozenset[str]:
    return frozenset(names)


SYN, SYN_ACK, DATA = _flags("syn"), _flags("syn", "ack"), _flags("ack", "psh")


def _out(w: World, to: Address, protocol: str = "tcp", port: int | None = 443, **more: Any) -> Packet:
    base = Packet(Hook.OUTPUT, w.device, to, protocol, 40_000 if port else None, port)
    return _filled(base, more)


def _in(w: World, by: Address, protocol: str = "tcp", port: int | None = 443, **more: Any) -> Packet:
    base = Packet(Hook.INPUT, by, w.device, protocol, port, 40_000 if port else None)
    return _filled(base, more)


def _filled(packet: Packet, more: dict[str, Any]) -> Packet:
    flags = SYN if packet.protocol == "tcp" and packet.hook is Hook.OUTPUT else frozenset()
    return replace(packet, **{"tcp_flags": flags, **more})


def _outgoing(w: World) -> Iterator[tuple[str, Packet, Verdict, Reason]]:
    yield "listed address, other port", _out(w, w.listed, port=444), REJECT, Reason.NOT_LISTED
    yield "listed address, QUIC", _out(w, w.listed, "udp"), REJECT, Reason.QUIC_REFUSED
    yield "listed address, other transport", _out(w, w.listed, "udp", 444), REJECT, Reason.NOT_LISTED
    yield "a datagram door of QUIC", _out(w, w.clock, "udp"), REJECT, Reason.QUIC_REFUSED
    yield "listed datagram door", _out(w, w.clock, "udp", 123), ACCEPT, Reason.LEARNED_ADDRESS
    yield "datagram door by TCP", _out(w, w.clock, "tcp", 123), REJECT, Reason.NOT_LISTED
    yield "unlisted, opening", _out(w, w.unlisted), REJECT, Reason.NOT_LISTED
    yield "unlisted, data", _out(w, w.unlisted, tcp_flags=DATA), REJECT, Reason.NOT_LISTED
    yield "unlisted, reset", _out(w, w.unlisted, tcp_flags=_flags("rst")), REJECT, Reason.NOT_LISTED
    yield "unlisted, datagram", _out(w, w.unlisted, "udp", 444), REJECT, Reason.NOT_LISTED
    yield "unlisted, QUIC", _out(w, w.unlisted, "udp"), REJECT, Reason.QUIC_REFUSED
    yield "network, inside", _out(w, w.in_network), ACCEPT, Reason.LISTED_NETWORK
    yield "network, other port", _out(w, w.in_network, port=80), REJECT, Reason.NOT_LISTED
    yield "network, outside", _out(w, w.beside_network), REJECT, Reason.NOT_LISTED
    yield "control channel", _out(w, w.control, port=8443), ACCEPT, Reason.CONTROL_CHANNEL
    yield "control, other port", _out(w, w.control), REJECT, Reason.NOT_LISTED
    yield "DNS over TLS", _out(w, w.resolver, "tcp", 853), REJECT, Reason.NOT_LISTED
    yield "DNS, other resolver", _out(w, w.other_resolver, "udp", 53), REJECT, Reason.RESOLVER_NOT_APPROVED
    yield (
        *("DNS, other resolver, forged mark", _out(w, w.other_resolver, "udp", 53, approved=True)),
        *(REJECT, Reason.RESOLVER_NOT_APPROVED),
    )
    yield "forged mark", _out(w, w.unlisted, approved=True), REJECT, Reason.NOT_LISTED
    yield "multicast DNS", _out(w, w.unlisted, "udp", 5353), REJECT, Reason.NOT_LISTED
    for protocol in ("gre", "esp"):
        yield f"{protocol} to a listed address", _out(w, w.listed, protocol, None), REJECT, Reason.NOT_LISTED
    for protocol in ("sctp", "udplite"):
        yield f"{protocol} to a listed door", _out(w, w.listed, protocol), REJECT, Reason.NOT_LISTED
    yield "proxy by datagram", _out(w, w.proxy, "udp", 3128), REJECT, Reason.NOT_LISTED
    yield "exclusion out", _out(w, w.partner, port=8080), ACCEPT, Reason.EXCLUSION
    yield "exclusion out, other port", _out(w, w.partner, port=8081), REJECT, Reason.NOT_LISTED
    yield "exclusion out, other transport", _out(w, w.partner, "udp", 8080), REJECT, Reason.NOT_LISTED
    yield "exclusion of a user", _out(w, w.for_user, "udp", 9, uid=EXCLUDED_UID), ACCEPT, Reason.EXCLUSION
    yield "exclusion of another user", _out(w, w.for_user, "udp", 9, uid=0), REJECT, Reason.NOT_LISTED
    yield "user at another place", _out(w, w.unlisted, "udp", 9, uid=EXCLUDED_UID), REJECT, Reason.NOT_LISTED
    answering: dict[str, Any] = {"source_port": 22, "tcp_flags": SYN_ACK}
    yield "service answers visitor", _out(w, w.visitor, port=40_000, **answering), ACCEPT, Reason.EXCLUSION
    yield "service calls visitor", _out(w, w.visitor, source_port=22), REJECT, Reason.NOT_LISTED
    yield "syslog answers", _out(w, w.visitor, "udp", 40_000, source_port=514), ACCEPT, Reason.EXCLUSION
    yield "other service to visitor", _out(w, w.visitor, "udp", 40_000), REJECT, Reason.NOT_LISTED


def _incoming(w: World) -> Iterator[tuple[str, Packet, Verdict, Reason]]:
    shut = (DROP, Reason.INBOUND_NOT_LISTED)
    for name, by in (("listed", w.listed), ("expired", w.seen)):
        yield f"{name} answers", _in(w, by, tcp_flags=SYN_ACK), ACCEPT, Reason.ESTABLISHED_FLOW
        yield f"{name} sends data", _in(w, by, tcp_flags=DATA), ACCEPT, Reason.ESTABLISHED_FLOW
        yield f"{name} resets", _in(w, by, tcp_flags=_flags("rst")), ACCEPT, Reason.ESTABLISHED_FLOW
        yield f"{name} opens", _in(w, by, tcp_flags=SYN), *shut
    yield "listed address, other port sends", _in(w, w.listed, port=444, tcp_flags=DATA), *shut
    yield "listed opens, syn+fin", _in(w, w.listed, tcp_flags=_flags("syn", "fin")), *shut
    yield "listed datagram", _in(w, w.clock, "udp", 123), ACCEPT, Reason.ESTABLISHED_FLOW
    yield "listed datagram, other port", _in(w, w.clock, "udp", 124), *shut
    yield "network answers", _in(w, w.in_network, tcp_flags=SYN_ACK), ACCEPT, Reason.LISTED_NETWORK
    yield "proxy answers", _in(w, w.proxy, port=3128, tcp_flags=SYN_ACK), ACCEPT, Reason.PROXY
    yield "proxy, other port, answers", _in(w, w.proxy, port=3129, tcp_flags=DATA), ACCEPT, Reason.EXCLUSION
    yield "proxy opens", _in(w, w.proxy, port=3128, tcp_flags=SYN), *shut
    yield "network opens", _in(w, w.in_network, tcp_flags=SYN), *shut
    yield "control answers", _in(w, w.control, port=8443, tcp_flags=DATA), ACCEPT, Reason.CONTROL_CHANNEL
    yield "control opens", _in(w, w.control, port=8443, tcp_flags=SYN), *shut
    yield "unlisted opens", _in(w, w.unlisted, tcp_flags=SYN), *shut
    yield "unlisted sends data", _in(w, w.unlisted, tcp_flags=DATA), *shut
    yield "unlisted datagram", _in(w, w.unlisted, "udp"), *shut
    yield "answer of another resolver", _in(w, w.other_resolver, "udp", 53), *shut
    yield "DNS answer by TCP, stranger", _in(w, w.other_resolver, "tcp", 53, tcp_flags=DATA), *shut
    yield "exclusion answers", _in(w, w.partner, port=8080, tcp_flags=SYN_ACK), ACCEPT, Reason.EXCLUSION
    yield "exclusion opens", _in(w, w.partner, port=8080, tcp_flags=SYN), *shut
    yield "user's exclusion answers", _in(w, w.for_user, "udp", 9), ACCEPT, Reason.EXCLUSION
    ssh: dict[str, Any] = {"source_port": 40_000, "destination_port": 22}
    yield "visitor opens", _in(w, w.visitor, tcp_flags=SYN, **ssh), ACCEPT, Reason.EXCLUSION
    yield "visitor at another port", _in(w, w.visitor, tcp_flags=SYN), *shut
    yield "stranger at the visitor's port", _in(w, w.unlisted, tcp_flags=SYN, **ssh), *shut
    yield "visitor's datagram", _in(w, w.visitor, "udp", destination_port=514), ACCEPT, Reason.EXCLUSION
    for protocol in ("gre", "esp"):
        yield f"{protocol} in from a listed address", _in(w, w.listed, protocol, None), *shut
    yield "sctp in from a listed door", _in(w, w.listed, "sctp"), *shut


def _control_messages(w: World) -> Iterator[tuple[str, Packet, Verdict, Reason]]:
    protocol, echo, error = ("icmp", 8, (3, 4)) if w.version == 4 else ("icmpv6", 128, (2, 0))
    shut = (DROP, Reason.INBOUND_NOT_LISTED)
    say: dict[str, Any] = {"icmp_type": echo, "icmp_code": 0}
    yield "echo to a listed address", _out(w, w.listed, protocol, None, **say), REJECT, Reason.NOT_LISTED
    yield "echo out", _out(w, w.unlisted, protocol, None, **say), REJECT, Reason.NOT_LISTED
    yield "echo in", _in(w, w.listed, protocol, None, **say), *shut
    big: dict[str, Any] = {"icmp_type": error[0], "icmp_code": error[1]}
    about_listed = _in(w, w.unlisted, protocol, None, **big, embedded=w.listed)
    yield "path MTU about a listed address", about_listed, ACCEPT, Reason.PATH_MTU
    about_seen = _in(w, w.unlisted, protocol, None, **big, embedded=w.seen)
    yield "path MTU about an open flow", about_seen, ACCEPT, Reason.PATH_MTU
    yield "path MTU about others", _in(w, w.listed, protocol, None, **big, embedded=w.unlisted), *shut
    yield (
        "path MTU out",
        _out(w, w.unlisted, protocol, None, **big, embedded=w.listed),
        REJECT,
        Reason.NOT_LISTED,
    )
    gone = {"icmp_type": 3, "icmp_code": 1} if w.version == 4 else {"icmp_type": 1, "icmp_code": 0}
    yield (
        "unreachable about a listed address",
        _in(w, w.unlisted, protocol, None, **gone, embedded=w.listed),
        *shut,
    )
    redirect = 5 if w.version == 4 else 137
    yield (
        "redirect",
        _in(w, w.unlisted, protocol, None, icmp_type=redirect, icmp_code=0, embedded=w.listed),
        *shut,
    )


def _leases(w: World) -> Iterator[tuple[str, Packet, Verdict, Reason]]:
    client, server = (68, 67) if w.version == 4 else (546, 547)
    ours: dict[str, Any] = {"source": w.link_local, "source_port": client}
    yield "DHCP to the known server", _out(w, w.dhcp, "udp", server, **ours), ACCEPT, Reason.DHCP_RENEWAL
    yield "DHCP to a rogue server", _out(w, w.rogue_dhcp, "udp", server, **ours), REJECT, Reason.NOT_LISTED
    yield (
        "DHCP from another port",
        _out(w, w.dhcp, "udp", server, source=w.link_local),
        REJECT,
        Reason.NOT_LISTED,
    )
    back: dict[str, Any] = {"destination": w.link_local, "destination_port": client}
    yield "lease from the known server", _in(w, w.dhcp, "udp", server, **back), ACCEPT, Reason.DHCP_RENEWAL
    yield (
        "lease from a rogue server",
        _in(w, w.rogue_dhcp, "udp", server, **back),
        DROP,
        Reason.INBOUND_NOT_LISTED,
    )
    if w.version == 6:
        everybody = ip_address("ff02::1:2")
        yield "DHCPv6 to all servers", _out(w, everybody, "udp", server, **ours), ACCEPT, Reason.DHCP_RENEWAL


def _neighbours() -> Iterator[tuple[str, Packet, Verdict, Reason, int]]:
    near, all_nodes, router = ip_address("fe80::1"), ip_address("ff02::1"), ip_address("ff02::2")
    ok, shut = (ACCEPT, Reason.NEIGHBOUR_DISCOVERY), (DROP, Reason.INBOUND_NOT_LISTED)
    refused = (REJECT, Reason.NOT_LISTED)
    link: dict[str, Any] = {"source": V6.link_local, "hop_limit": 255}
    here: dict[str, Any] = {"destination": V6.link_local, "hop_limit": 255}
    for number, name in ((135, "solicitation"), (136, "advertisement")):
        kind: dict[str, Any] = {"icmp_type": number, "icmp_code": 0}
        out = _out(V6, near, "icmpv6", None, **link, **kind)
        come = _in(V6, near, "icmpv6", None, **here, **kind)
        yield f"{name} out", out, *ok, 0
        yield f"{name} out, from afar", replace(out, hop_limit=64), *refused, 0
        yield f"{name} out, at the limit", out, *ok, 8
        yield f"{name} out, with a load", out, *refused, 9
        yield f"{name} in", come, *ok, 0
        yield f"{name} in, from afar", replace(come, hop_limit=254), *shut, 0
        yield f"{name} in, with a load", come, *shut, 9
    reach: dict[str, Any] = {"hop_limit": 255, "icmp_code": 0}
    for number, name in ((133, "router solicitation"), (135, "solicitation"), (136, "advertisement")):
        away = _out(V6, V6.unlisted, "icmpv6", None, **reach, icmp_type=number, gateway=near)
        yield f"{name} out, beyond the gateway", away, *refused, 0
        world = _out(V6, ip_address("ff0e::1"), "icmpv6", None, **reach, icmp_type=number)
        yield f"{name} out, to wider multicast", world, *refused, 0
    straight = _out(V6, ip_address("2001:db8:1::77"), "icmpv6", None, **reach, icmp_type=135)
    yield "solicitation out, straight to a neighbour", straight, *ok, 0
    ask: dict[str, Any] = {"icmp_type": 133, "icmp_code": 0}
    yield "router solicitation out", _out(V6, router, "icmpv6", None, **link, **ask), *ok, 0
    yield "router solicitation in", _in(V6, near, "icmpv6", None, **here, **ask), *shut, 0
    announce: dict[str, Any] = {"icmp_type": 134, "icmp_code": 0, "destination": all_nodes}
    offer = _in(V6, near, "icmpv6", None, **{**here, **announce})
    yield "router advertisement in", offer, *ok, 0
    yield "router advertisement in, large", offer, *ok, 512
    yield "router advertisement in, with a load", offer, *shut, 600
    yield "router advertisement from afar", replace(offer, source=V6.unlisted), *shut, 0
    yield "router advertisement out", _out(V6, near, "icmpv6", None, **link, icmp_type=134), *refused, 0
    yield "listener report", _out(V6, near, "icmpv6", None, **link, icmp_type=143, icmp_code=0), *refused, 0


def _forwarded(w: World) -> Iterator[tuple[str, Packet, Verdict, Reason]]:
    shut = (DROP, Reason.FORWARDED)
    for name, other in (("listed", w.listed), ("unlisted", w.unlisted)):
        there = Packet(Hook.FORWARD, w.container, other, "tcp", 40_000, 443, tcp_flags=SYN)
        back = Packet(Hook.FORWARD, other, w.container, "tcp", 443, 40_000, tcp_flags=DATA)
        yield f"container to {name}", there, *shut
        yield f"{name} to container", back, *shut
    query = Packet(Hook.FORWARD, w.container, w.resolver, "udp", 40_000, 53, approved=False)
    yield "container to the resolver", query, *shut


def _rows_of(w: World) -> Iterator[Row]:
    for make in (_outgoing, _incoming, _control_messages, _leases, _forwarded):
        yield from (Row(f"{name}, v{w.version}", *rest) for name, *rest in make(w))  # type: ignore[arg-type]
    yield from _judged(w)
    yield from _odd(w)


def _judged(w: World) -> Iterator[Row]:
    """What passes by the gate's word only: DNS with the configured resolver, and connections by name."""
    v = f"v{w.version}"
    ask, answer = _out(w, w.resolver, "udp", 53), _in(w, w.resolver, "udp", 53)
    asks, answers = _out(w, w.resolver, "tcp", 53), _in(w, w.resolver, "tcp", 53, tcp_flags=DATA)
    dns = (Reason.DNS_APPROVED, Reason.DNS_UNJUDGED)
    for name, packet, refused, (passed, unjudged) in (
        ("query", ask, REJECT, dns),
        ("answer", answer, DROP, dns),
        ("DNS by TCP", asks, REJECT, (Reason.DNS_APPROVED, Reason.FLOW_UNJUDGED)),
        ("DNS answer by TCP", answers, DROP, dns),
        ("listed door", _out(w, w.listed), REJECT, (Reason.LEARNED_ADDRESS, Reason.FLOW_UNJUDGED)),
        (
            *("listed door, data", _out(w, w.listed, tcp_flags=DATA), REJECT),
            (Reason.LEARNED_ADDRESS, Reason.FLOW_UNJUDGED),
        ),
        (
            *("proxy", _out(w, w.proxy, port=3128), REJECT),
            (Reason.PROXY, Reason.FLOW_UNJUDGED),
        ),
        (
            *("proxy, data", _out(w, w.proxy, port=3128, tcp_flags=DATA), REJECT),
            (Reason.PROXY, Reason.FLOW_UNJUDGED),
        ),
        (
            *("expired answer, data", _out(w, w.seen, tcp_flags=DATA), REJECT),
            (Reason.ESTABLISHED_FLOW, Reason.FLOW_UNJUDGED),
        ),
    ):
        yield Row(f"{name}, {v}, approved", packet, ACCEPT, passed, gate=ACCEPT)
        waited = Reason.FLOW_UNJUDGED if packet.protocol == "tcp" else unjudged
        yield Row(f"{name}, {v}, refused by the gate", packet, DROP, waited, gate=DROP, moves=0)
        yield Row(f"{name}, {v}, nobody judges", packet, refused, unjudged)
        forged = replace(packet, approved=True)
        if packet.hook is Hook.OUTPUT:
            yield Row(f"{name}, {v}, forged mark", forged, refused, unjudged)
            yield Row(f"{name}, {v}, forged mark, refused", forged, DROP, unjudged, gate=DROP, moves=0)
    for name, flags in (("opening", SYN), ("syn+fin", _flags("syn", "fin"))):
        old = _out(w, w.seen, tcp_flags=flags)
        yield Row(f"expired answer, {v}, {name}", old, REJECT, Reason.FLOW_UNJUDGED)
        # Even a gate that errs does not open what has expired.
        yield Row(f"expired answer, {v}, {name}, approved", old, REJECT, Reason.NOT_LISTED, gate=ACCEPT)


def _odd(w: World) -> Iterator[Row]:
    """Fragments, loopback and senders that lie about themselves."""
    v = f"v{w.version}"
    shut = (DROP, Reason.FRAGMENT)
    for name, packet in (
        ("TCP, listed door", _out(w, w.listed)),
        ("UDP, listed door", _out(w, w.clock, "udp", 123)),
        ("unlisted", _out(w, w.unlisted, "udp", 123)),
        ("exclusion", _out(w, w.agents)),
        ("proxy", _out(w, w.proxy, port=3128)),
        ("resolver", _out(w, w.resolver, "udp", 53, approved=True)),
    ):
        yield Row(f"first fragment, {name}, {v}", packet, *shut, piece=Piece.FIRST)
        yield Row(f"later fragment, {name}, {v}", packet, *shut, piece=Piece.LATER)
    if w.version == 6:  # IPv4 is put together before the input hook
        for name, packet in (
            ("listed door", _in(w, w.clock, "udp", 123)),
            ("listed door, TCP data", _in(w, w.listed, tcp_flags=DATA)),
            ("exclusion", _in(w, V6.agents, tcp_flags=DATA)),
        ):
            yield Row(f"first fragment in, {name}, v6", packet, *shut, piece=Piece.FIRST)
            yield Row(f"later fragment in, {name}, v6", packet, *shut, piece=Piece.LATER)
    own = Packet(Hook.OUTPUT, w.loopback, w.loopback, "udp", 40_000, 9, loopback=True)
    # Out and in, and so does the answer that nobody listens there.
    yield Row(f"loopback, {v}", own, ACCEPT, Reason.LOOPBACK, moves=4)
    yield Row(f"loopback DNS, {v}", replace(own, destination_port=53), ACCEPT, Reason.LOOPBACK, moves=4)
    lie = replace(_out(w, w.unlisted, "tcp"), source=w.other_resolver)
    # The kernel's reset goes to the source that was named, meets the same rule and ends there.
    yield Row(f"forged source, TCP, {v}", lie, REJECT, Reason.NOT_LISTED, moves=2)
    datagram = replace(_out(w, w.unlisted, "udp", 444), source=w.other_resolver)
    yield Row(f"forged source, UDP, {v}", datagram, REJECT, Reason.NOT_LISTED, moves=2)


ROWS: tuple[Row, ...] = (
    *_rows_of(V4),
    *_rows_of(V6),
    *(Row(name, p, verdict, reason, padding=extra) for name, p, verdict, reason, extra in _neighbours()),
    Row(
        "ICMPv6 type in an IPv4 packet",
        replace(_in(V4, V4.unlisted, "icmpv6", None), icmp_type=2, icmp_code=0, embedded=V4.listed),
        DROP,
        Reason.INBOUND_NOT_LISTED,
    ),
)
