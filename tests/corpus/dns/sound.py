"""Sound messages and packets, encoded by dnspython and scapy-free: the independent side of each test."""

from __future__ import annotations

from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from isolator.model.datagram import Datagram
from isolator.model.flow import Hook
from isolator.ports import QueuedPacket
from isolator.wire.ip_packet import render_udp

CLIENT = ip_address("198.51.100.7")
CLIENT6 = ip_address("2001:db8:1::7")
RESOLVER = ip_address("198.51.100.53")
RESOLVER6 = ip_address("2001:db8:1::53")
PORT = 40_000


def query(
    name: str,
    qtype: str = "A",
    *,
    id_: int = 7,
    edns: bool = False,
    options: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """A stub resolver's query; the case of the letters is kept."""
    made = dns.message.make_query(name, qtype, id=id_)
    if edns or options:
        made.use_edns(0, options=[dns.edns.GenericOption(code, data) for code, data in options])
    return made.to_wire()


def answer(
    to: bytes, *records: str, rcode: str = "NOERROR", extra: tuple[str, ...] = (), tc: bool = False
) -> bytes:
    """The resolver's answer to a query; a record is "owner ttl type data" with absolute names."""
    made = dns.message.make_response(dns.message.from_wire(to), recursion_available=True)
    made.set_rcode(dns.rcode.from_text(rcode))
    for section, texts in ((made.answer, records), (made.additional, extra)):
        for text in texts:
            owner, ttl, rtype, data = text.split(maxsplit=3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", rtype, data))
    if tc:
        made.flags |= dns.flags.TC
    return made.to_wire(max_size=65_535)


def outgoing(
    payload: bytes, *, source: str = "", resolver: str = "", port: int = PORT, to: int = 53
) -> Datagram:
    """A client's datagram to the resolver."""
    return Datagram(
        ip_address(source) if source else CLIENT,
        port,
        ip_address(resolver) if resolver else RESOLVER,
        to,
        payload,
    )


def incoming(
    payload: bytes, *, resolver: str = "", client: str = "", port: int = PORT, source_port: int = 53
) -> Datagram:
    """A datagram from the resolver to the client."""
    return Datagram(
        ip_address(resolver) if resolver else RESOLVER,
        source_port,
        ip_address(client) if client else CLIENT,
        port,
        payload,
    )


def queued(datagram: Datagram, hook: Hook) -> QueuedPacket:
    """The datagram as the kernel hands it over."""
    return QueuedPacket(render_udp(datagram), hook)
