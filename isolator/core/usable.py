"""Which addresses a DNS answer may open: nothing that points back into the host, its site or its cloud.

The ranges are written out. `ipaddress.is_private` also counts documentation and benchmark ranges, which labs
use as their internet, and changes between Python releases.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from isolator.model.flow import Address, Network

NEVER4 = (
    "0.0.0.0/8",  # this host (RFC 1122 section 3.2.1.3)
    "127.0.0.0/8",  # loopback
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
)
NEVER6 = (
    "::/96",  # unspecified, loopback, IPv4-compatible (RFC 4291 section 2.5.5.1)
    "::ffff:0:0/96",  # IPv4-mapped: a socket sends IPv4 there, past what an AAAA answer opens
    "ff00::/8",  # multicast
)
"""Opened by no configuration."""

SITE4 = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",  # RFC 1918
    "100.64.0.0/10",  # carrier-grade NAT (RFC 6598)
    "169.254.0.0/16",  # link-local (RFC 3927)
    "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
)
SITE6 = (
    "fc00::/7",  # unique local (RFC 4193)
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local, deprecated (RFC 3879)
)
"""Opened where the configuration names the range (`learn.private_answers`)."""

METADATA = (
    "169.254.169.254",  # most clouds' instance metadata
    "169.254.170.2",  # AWS container credentials
    "168.63.129.16",  # Azure's platform address
    "100.100.100.200",  # Alibaba Cloud
    "192.0.0.192",  # Oracle Cloud
    "fd00:ec2::254",  # AWS
    "fd20:ce::254",  # Google Cloud
)
"""Services that hand out credentials: opened only where the configuration names that very address."""


class UsableAddresses:
    """Judges addresses for one policy; immutable."""

    __slots__ = ("_metadata", "_named", "_never", "_own", "_site")

    def __init__(self, own_addresses: Collection[Address], named: Collection[Network]) -> None:
        self._own = frozenset(unscoped(address) for address in own_addresses)
        self._named = {version: _masks(n for n in named if n.version == version) for version in (4, 6)}
        self._never = {4: _NEVER4, 6: _NEVER6}
        self._site = {4: _SITE4, 6: _SITE6}
        single = {network.network_address for network in named if network.num_addresses == 1}
        self._metadata = _METADATA - single

    def __contains__(self, address: Address) -> bool:
        """Say whether an answer may open the address; for IPv6 also the IPv4 address inside it counts."""
        if not self._is_usable(address):
            return False
        if address.version == 4:
            return True
        return all(self._is_usable(inner) for inner in embedded_ipv4(address))

    def _is_usable(self, address: Address) -> bool:
        if address in self._own or address in self._metadata:
            return False
        value, version = int(address), address.version
        for base, mask in self._never[version]:
            if value & mask == base:
                return False
        for base, mask in self._site[version]:
            if value & mask == base:
                return any(value & mask == base for base, mask in self._named[version])
        return True


def embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Give the IPv4 addresses that a transition address makes a gateway talk to; empty for all others.

    6to4 (RFC 3056): one; NAT64 (RFC 6052, and RFC 8215 with the address in the last 32 bits): one; Teredo
    (RFC 4380): the server and the client, the latter stored inverted.
    """
    value = int(address)
    top = value >> 96
    if top >> 16 == 0x2002:
        return (IPv4Address(value >> 80 & _LAST32),)
    if value >> 32 == _NAT64 or value >> 80 == _NAT64_LOCAL:
        return (IPv4Address(value & _LAST32),)
    if top == 0x2001_0000:
        return IPv4Address(value >> 64 & _LAST32), IPv4Address(~value & _LAST32)
    return ()


def unscoped(address: Address) -> Address:
    """Give the address without its zone, as packets carry it."""
    return address if address.version == 4 else IPv6Address(int(address))


def _masks(networks: Iterable[Network]) -> tuple[tuple[int, int], ...]:
    return tuple((int(network.network_address), int(network.netmask)) for network in networks)


_LAST32 = 0xFFFF_FFFF
_NAT64 = int(IPv6Address("64:ff9b::")) >> 32
_NAT64_LOCAL = int(IPv6Address("64:ff9b:1::")) >> 80
_NEVER4 = _masks([IPv4Network(text) for text in NEVER4])
_NEVER6 = _masks([IPv6Network(text) for text in NEVER6])
_SITE4 = _masks([IPv4Network(text) for text in SITE4])
_SITE6 = _masks([IPv6Network(text) for text in SITE6])
_METADATA: frozenset[Address] = frozenset(
    IPv6Address(text) if ":" in text else IPv4Address(text) for text in METADATA
)
