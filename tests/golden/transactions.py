"""The policies and transactions whose nft text is kept as golden files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

from allowlists.files import load
from isolator.core import plan
from isolator.core.compiler import compile_policy
from isolator.core.learned_elements import by_set, doors_of, elements_of
from isolator.model.config import AgentConfig
from isolator.model.flow import Destination, LearnedAddress, Transport
from isolator.model.order import IsolationOrder, IsolationScope
from isolator.model.policy import (
    AllowedNetwork,
    ControlEndpoint,
    DhcpServer,
    Direction,
    Exclusion,
    Policy,
    ProxyEndpoint,
)
from isolator.model.ruleset import Element, Ruleset, Transaction
from isolator.ports import HostFacts
from isolator.service.policy_builder import build_policy

QUEUE_NUMBER = 4242
FACTS = HostFacts(
    resolvers=(ip_address("192.0.2.53"), ip_address("2001:db8::53")),
    own_addresses=(ip_address("192.0.2.10"), ip_address("2001:db8::10")),
    dhcp_servers=(ip_address("192.0.2.67"), ip_address("fe80::67")),
)
EXCLUSIONS = (
    Exclusion("files", Direction.OUT, Transport.TCP, 445, ip_network("10.1.2.0/24")),
    Exclusion("backup", Direction.OUT, Transport.TCP, 8443, ip_network("10.1.3.4/32"), uid=34),
    Exclusion("time", Direction.OUT, Transport.UDP, 123, ip_network("2001:db8:7::/48")),
    Exclusion("intranet", Direction.OUT, Transport.TCP, 443, pattern="*.corp.example"),
    Exclusion("support", Direction.IN, Transport.TCP, 22, ip_network("10.9.0.0/16")),
    Exclusion("support by IPv6", Direction.IN, Transport.TCP, None, ip_network("fd00:9::/32")),
    Exclusion("syslog", Direction.IN, Transport.UDP, 514, ip_network("10.9.0.0/16")),
)
PROXIES = (
    ProxyEndpoint(ip_address("10.1.4.8"), 3128),
    ProxyEndpoint(ip_address("2001:db8:7::8"), 8080),
)

FULL = build_policy(
    IsolationOrder(geo=("EU",)),
    AgentConfig(os="linux", control_channel=(ControlEndpoint(443, host="control.example"),)),
    FACTS,
    load,
).policy
SELECTIVE = build_policy(
    IsolationOrder(IsolationScope.SELECTIVE, geo=("EU",)),
    AgentConfig(os="linux", exclusions=EXCLUSIONS, proxies=PROXIES),
    FACTS,
    load,
).policy
BY_ADDRESS = Policy(
    scope=IsolationScope.FULL,
    entries=(),
    networks=(
        AllowedNetwork(ip_network("198.51.100.0/24"), Transport.TCP, 443, "own#1"),
        AllowedNetwork(ip_network("198.51.100.128/25"), Transport.TCP, 443, "own#2"),
        AllowedNetwork(ip_network("198.51.100.0/24"), Transport.UDP, 443, "own#3"),
        AllowedNetwork(ip_network("2001:db8:5::/48"), Transport.TCP, 443, "own#4"),
    ),
    control=(
        ControlEndpoint(8443, address=ip_address("203.0.113.5")),
        ControlEndpoint(8443, address=ip_address("2001:db8:6::5")),
    ),
    dhcp_servers=(DhcpServer(ip_address("192.0.2.67")), DhcpServer(ip_address("fe80::67"))),
)
BARE = Policy(scope=IsolationScope.FULL, entries=(), resolvers=(ip_address("192.0.2.53"),))
BEFORE = replace(BY_ADDRESS, resolvers=(ip_address("192.0.2.53"),))
AFTER = replace(
    BY_ADDRESS,
    networks=(AllowedNetwork(ip_network("198.51.0.0/16"), Transport.TCP, 443, "own#5"),),
    resolvers=(ip_address("192.0.2.54"), ip_address("2001:db8::54")),
    exclusions=EXCLUSIONS,
)

OLD_DOOR = Destination(ip_address("203.0.113.77"), Transport.TCP, 443)
NEW_DOOR = Destination(ip_address("2001:db8:77::1"), Transport.TCP, 443)
POLICIES: Mapping[str, Policy] = {
    "full_streamlined_eu": FULL,
    "selective_exclusions": SELECTIVE,
    "control_by_address_dhcp": BY_ADDRESS,
    "bare": BARE,
}


def ruleset(policy: Policy) -> Ruleset:
    return compile_policy(policy, QUEUE_NUMBER)


def opened(*doors: Destination) -> dict[str, tuple[Element, ...]]:
    """The elements of addresses learned 100 s ago with a lifetime of 400 s."""
    found = [LearnedAddress(door, "a.example", "own#1", 400.0) for door in doors]
    return by_set(elements_of(found, now=100.0))


def _transactions() -> dict[str, Transaction]:
    made: dict[str, Transaction] = {}
    for name, policy in POLICIES.items():
        made[f"{name}.prepare"] = plan.prepare(ruleset(policy), opened(OLD_DOOR))
        made[f"{name}.arm"] = plan.arm(ruleset(policy))
    before, after = ruleset(BEFORE), ruleset(AFTER)
    made["update"] = plan.update(before, after, add=opened(NEW_DOOR), forget=doors_of([OLD_DOOR]))
    made["replace"] = plan.replace(after, opened(NEW_DOOR))
    made["open_up"] = plan.open_up(before)
    made["remove"] = plan.remove()
    return made


TRANSACTIONS = _transactions()
