"""The places that the packet table knocks at, and the policy that opens some of them.

The isolated device is 192.0.2.10 and 2001:db8:1::10 on its uplink, with a container network behind it. The
policy names one door of each kind in both families.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from isolator.core.learned_elements import by_set, elements_of
from isolator.model.flow import Address, Destination, LearnedAddress, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import (
    AllowedNetwork,
    ControlEndpoint,
    DhcpServer,
    Direction,
    Exclusion,
    Policy,
    ProxyEndpoint,
)
from isolator.model.ruleset import Element

TCP, UDP = Transport.TCP, Transport.UDP
EXCLUDED_UID = 4242


@dataclass(frozen=True, slots=True)
class World:
    """The same places in one address family."""

    version: int
    device: Address
    link_local: Address
    listed: Address
    seen: Address
    clock: Address
    unlisted: Address
    in_network: Address
    beside_network: Address
    control: Address
    resolver: Address
    other_resolver: Address
    dhcp: Address
    container: Address
    partner: Address
    visitor: Address
    for_user: Address
    loopback: Address
    agents: Address
    rogue_dhcp: Address
    proxy: Address
    """It lies inside the exclusion for `agents`, and is a proxy all the same."""


def _world(version: int, *texts: str) -> World:
    return World(version, *(ip_address(text) for text in texts))


V4 = _world(
    4, *("192.0.2.10", "192.0.2.10", "198.51.100.10", "198.51.100.20", "198.51.100.40", "203.0.113.9"),
    *("198.18.0.77", "198.18.1.1", "198.51.100.30", "192.0.2.53", "192.0.2.54", "192.0.2.67", "10.77.0.2"),
    *("10.9.3.4", "10.7.0.5", "10.8.1.1", "127.0.0.1", "10.10.0.5", "192.0.2.68", "10.10.0.8"),
)  # fmt: skip
V6 = _world(
    6, *("2001:db8:1::10", "fe80::10", "2001:db8:100::10", "2001:db8:100::20", "2001:db8:100::40"),
    *("2001:db8:bad::9", "2001:db8:200:1::77", "2001:db8:201::1", "2001:db8:100::30", "2001:db8:1::53"),
    *("2001:db8:1::54", "fe80::67", "fd77::2", "fd09::3:4", "fd07::5", "fd08::1", "::1", "fd10::5"),
    *("fe80::68", "fd10::8"),
)  # fmt: skip
WORLDS = (V4, V6)

POLICY = Policy(
    scope=IsolationScope.SELECTIVE,
    entries=(),
    networks=(
        AllowedNetwork(ip_network("198.18.0.0/24"), TCP, 443, "net#1"),
        AllowedNetwork(ip_network("2001:db8:200::/48"), TCP, 443, "net#2"),
    ),
    resolvers=(V4.resolver, V6.resolver),
    control=(ControlEndpoint(8443, address=V4.control), ControlEndpoint(8443, address=V6.control)),
    exclusions=(
        Exclusion("partner4", Direction.OUT, TCP, 8080, ip_network("10.9.0.0/16")),
        Exclusion("partner6", Direction.OUT, TCP, 8080, ip_network("fd09::/64")),
        Exclusion("user4", Direction.OUT, UDP, None, ip_network("10.8.0.0/16"), uid=EXCLUDED_UID),
        Exclusion("user6", Direction.OUT, UDP, None, ip_network("fd08::/64"), uid=EXCLUDED_UID),
        Exclusion("visitor4", Direction.IN, TCP, 22, ip_network("10.7.0.0/24")),
        Exclusion("visitor6", Direction.IN, TCP, 22, ip_network("fd07::/64")),
        Exclusion("syslog4", Direction.IN, UDP, 514, ip_network("10.7.0.0/24")),
        Exclusion("syslog6", Direction.IN, UDP, 514, ip_network("fd07::/64")),
        Exclusion("agents4", Direction.OUT, TCP, None, ip_network("10.10.0.0/16")),
        Exclusion("agents6", Direction.OUT, TCP, None, ip_network("fd10::/64")),
    ),
    dhcp_servers=(DhcpServer(V4.dhcp), DhcpServer(V6.dhcp)),
    proxies=(ProxyEndpoint(V4.proxy, 3128), ProxyEndpoint(V6.proxy, 3128)),
)


def learned() -> dict[str, tuple[Element, ...]]:
    """What DNS answers opened: one TCP and one UDP door, and a TCP door whose answer has expired since."""
    fresh = [
        LearnedAddress(door, "a.example", "list#1", 300.0)
        for w in WORLDS
        for door in (Destination(w.listed, TCP, 443), Destination(w.clock, UDP, 123))
    ]
    old = [LearnedAddress(Destination(w.seen, TCP, 443), "b.example", "list#2", 300.0) for w in WORLDS]
    expired = [each for each in elements_of(old, now=0.0) if not each[0].name.startswith("learned")]
    return by_set([*elements_of(fresh, now=0.0), *expired])
