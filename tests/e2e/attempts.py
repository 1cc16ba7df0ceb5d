"""Attempts to get a packet from a namespace to an address, and how they look on the wire."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from isolator.wire.checksum import checksum
from tests.e2e.frames import Frame
from tests.lab import Lab, zone
from tests.lab.namespace import Namespace

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
OTHERS = {
    "IPv4 in IP": 4,
    "IPv6 in IP": 41,
    "GRE": 47,
    "ESP": 50,
    "SCTP": 132,
    "UDP-Lite": 136,
    "experiment": 253,
}
"""Protocols that carry tunnels, or nothing anybody knows."""

_ANY_SOURCE = {socket.AF_INET: (socket.SOL_IP, 19), socket.AF_INET6: (socket.IPPROTO_IPV6, 75)}
"""IP_TRANSPARENT, IPV6_TRANSPARENT (ip(7), linux/in6.h)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One packet: what it is called, its IP protocol, where it goes; port 0 where there are none."""

    name: str
    protocol: int
    there: str
    port: int = 0
    payload: bytes = b"let me through"
    source_port: int = 0
    source: str = ""
    mapped: bool = False
    """Send to an IPv4 address by an IPv6 socket."""

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.there or self.mapped else socket.AF_INET

    def is_in(self, frame: Frame) -> bool:
        """Is this frame the attempt's packet?"""
        there = (frame.destination, frame.destination_port)
        return (frame.protocol, *there) == (self.protocol, self.there, self.port)

    def send(self, namespace: Namespace, open_sockets: contextlib.ExitStack) -> None:
        """Try it; what the kernel says to it is of no interest, the wire is."""
        kinds = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}
        kind = kinds.get(self.protocol, socket.SOCK_RAW)
        sock = namespace.socket(self.family, kind, 0 if self.protocol in kinds else self.protocol)
        open_sockets.enter_context(sock)
        sock.setblocking(False)
        there = self._address(namespace)
        with contextlib.suppress(OSError):
            if self.protocol == UDP and self.family == socket.AF_INET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if self.source or self.source_port:
                if self.source:  # no address of the sender's own
                    sock.setsockopt(*_ANY_SOURCE[self.family], 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((self.source, self.source_port))
            if self.protocol == TCP:
                sock.connect(there)
            else:
                sock.sendto(self._body(), there)

    def _address(self, namespace: Namespace) -> tuple[str, int] | tuple[str, int, int, int]:
        port = self.port if self.protocol in (TCP, UDP) else 0
        if self.family == socket.AF_INET:
            return self.there, port
        scoped = self.there.startswith(("fe80:", "ff02:"))
        scope = namespace.in_namespace(lambda: socket.if_nametoindex("eth0")) if scoped else 0
        return ("::ffff:" if self.mapped else "") + self.there, port, 0, scope

    def _body(self) -> bytes:
        if self.protocol not in (ICMP, ICMPV6):
            return self.payload
        body = struct.pack("!BBHHH", 8 if self.protocol == ICMP else 128, 0, 0, 7, 1) + self.payload
        return body[:2] + struct.pack("!H", checksum(body)) + body[4:]  # the kernel fills in that of ICMPv6


def everything_to(label: str, there: str) -> Iterable[Attempt]:
    """Each kind of packet to one address."""
    yield from (Attempt(f"{label}: TCP {port}", TCP, there, port) for port in (7, 22, 53, 80, 443, 853))
    yield from (Attempt(f"{label}: UDP {port}", UDP, there, port) for port in (7, 67, 123, 443, 4789, 5353))
    yield Attempt(f"{label}: ping", ICMPV6 if ":" in there else ICMP, there)
    yield from (Attempt(f"{label}: {name}", number, there) for name, number in OTHERS.items())


def dns_to(label: str, there: str, name: str, ports: Iterable[int]) -> Iterable[Attempt]:
    """A DNS query over UDP at ports that somebody may answer."""
    query = zone.ask(name, zone.A, 4711)
    yield from (Attempt(f"{label}: DNS at UDP {port}", UDP, there, port, query) for port in ports)


def link_local(lab: Lab, namespace: Namespace, interface: str) -> str:
    """The link-local address of an interface."""
    shown = namespace.run(["ip", "-6", "-o", "addr", "show", "dev", interface, "scope", "link"], check=True)
    return shown.stdout.split()[3].partition("/")[0]
