"""Addresses, ports and packets as the filter sees them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Transport(Enum):
    """Transport protocols that entries can name; the value is nft's spelling."""

    TCP = "tcp"
    UDP = "udp"


class Hook(Enum):
    """Where in the stack a packet is met (netfilter's names)."""

    INPUT = "input"
    OUTPUT = "output"
    FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class Destination:
    """One opened door: address, transport and port. The element of the address sets."""

    address: Address
    transport: Transport
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.transport.value}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LearnedAddress:
    """A destination that a DNS answer opened, for whom and until when.

    `expires_at` is on the clock the caller passes as `now` (CLOCK_BOOTTIME, seconds).
    """

    destination: Destination
    name: str
    entry: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as the compiled rules see it; only the fields that rules can match.

    `loopback` says that the interface is the loopback one. `approved` is the gate's mark, `known`
    the one of a connection that it approved before.
    `icmp_type`/`icmp_code` are numbers of ICMP or ICMPv6 according to the address version;
    `embedded` is the destination inside an ICMP error. `length` is the IP total length in bytes.
    `fragment` says that it is one piece of a larger packet; a later piece has no ports. `gateway` is the
    router it goes through, None when it goes straight to its destination. `extras` are IP options and
    extension headers (`ruleset.Extra`).
    """

    hook: Hook
    source: Address
    destination: Address
    protocol: str
    source_port: int | None = None
    destination_port: int | None = None
    loopback: bool = False
    approved: bool = False
    known: bool = False
    tcp_flags: frozenset[str] = frozenset()
    icmp_type: int | None = None
    icmp_code: int | None = None
    embedded: Address | None = None
    hop_limit: int = 64
    length: int = 60
    uid: int | None = None
    fragment: bool = False
    gateway: Address | None = None
    extras: frozenset[str] = frozenset()
