"""Policy to ruleset: which doors stay open, as rules and sets.

Rules never grow with the list: names become elements of sets as DNS answers are judged, networks
become elements of interval sets. The hot path of an allowed packet is one set look-up.
The rules are stateless on purpose. A `ct` expression would switch connection tracking on for the
whole network namespace, which costs every packet and would let "established" stand in for
"allowed"; the destination is checked on every packet instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import collapse_addresses

from isolator.core.exclusion_rules import inbound_rules, outbound_rules
from isolator.core.usable import unscoped
from isolator.model.flow import Address, Destination, Hook, Network, Transport
from isolator.model.policy import AllowedNetwork, Policy
from isolator.model.ruleset import (
    Action,
    AddressIn,
    AddressInSet,
    AddressSet,
    Approved,
    Chain,
    Element,
    EmbeddedInSet,
    EndInSet,
    Fragment,
    HopLimitIs,
    IcmpIs,
    Jump,
    LengthAtMost,
    Loopback,
    Match,
    NetworkKey,
    NextHopIn,
    NotConnecting,
    PortIs,
    Rule,
    Ruleset,
    SetKind,
    Side,
    TransportIs,
    Whole,
)
from isolator.model.verdict import Reason
from isolator.model.well_known import DHCP6_SERVERS, LINK_LOCAL, LINK_MULTICAST, MULTICAST

GATE_PRIORITY = -145
"""Before the filter chains and after mangle (-150): the gate sees what the application asked for."""

FILTER_PRIORITY = -95
"""After destination NAT (-100), so the true destination is judged; before everybody's filter (0)."""

LEARNED = {4: "learned4", 6: "learned6"}
"""Destinations that may be connected to: elements live as long as the DNS answer said."""

SEEN = {4: "seen4", 6: "seen6"}
"""Destinations that were learned in this isolation: their open flows outlive the answer's TTL."""

EMBEDDED = {4: "embedded4", 6: "embedded6"}
"""Addresses whose path-MTU errors are believed."""

NETWORKS = {4: "networks4", 6: "networks6"}
CONTROL = {4: "control4", 6: "control6"}
RESOLVERS = {4: "resolvers4", 6: "resolvers6"}
DHCP = {4: "dhcp4", 6: "dhcp6"}
QUEUE_CHAIN = "dns_queue"

_VERSIONS = (4, 6)
_ND_LENGTH = 80
"""An IPv6 header, a solicitation, a link-layer address and a nonce option (RFC 4861, RFC 7527)."""
_RA_LENGTH = 576


def destination_kind(version: int) -> SetKind:
    """Kind of a destination set of that IP version."""
    return SetKind.DESTINATION4 if version == 4 else SetKind.DESTINATION6


def _address_kind(version: int) -> SetKind:
    return SetKind.ADDRESS4 if version == 4 else SetKind.ADDRESS6


def _sets() -> tuple[AddressSet, ...]:
    made: list[AddressSet] = []
    for version in _VERSIONS:
        ends = destination_kind(version)
        embedded = SetKind.EMBEDDED4 if version == 4 else SetKind.EMBEDDED6
        made += [
            AddressSet(LEARNED[version], ends, timed=True),
            AddressSet(SEEN[version], ends, timed=True),
            AddressSet(EMBEDDED[version], embedded, timed=True),
            AddressSet(NETWORKS[version], ends, interval=True),
            AddressSet(CONTROL[version], ends),
            AddressSet(RESOLVERS[version], _address_kind(version)),
            AddressSet(DHCP[version], _address_kind(version)),
        ]
    return tuple(made)


SETS = {spec.name: spec for spec in _sets()}
"""Every set of our table by name."""


def compile_policy(policy: Policy, queue_number: int) -> Ruleset:
    """The ruleset that keeps the policy; the same policy always gives the same ruleset."""
    return Ruleset(
        sets=tuple(SETS.values()),
        chains=(
            Chain(QUEUE_CHAIN, (Rule((), Action.QUEUE),)),
            _dns_chain("dns_out", Hook.OUTPUT, Side.DESTINATION),
            _dns_chain("dns_in", Hook.INPUT, Side.SOURCE),
            _gate_chain("gate_output", Hook.OUTPUT, Side.DESTINATION, "dns_out"),
            _gate_chain("gate_input", Hook.INPUT, Side.SOURCE, "dns_in"),
            Chain("filter_output", _output_rules(policy), Hook.OUTPUT, FILTER_PRIORITY),
            Chain("filter_input", _input_rules(policy), Hook.INPUT, FILTER_PRIORITY),
            Chain(
                "filter_forward",
                (Rule((), Action.DROP, Reason.FORWARDED),),
                Hook.FORWARD,
                FILTER_PRIORITY,
            ),
        ),
        contents=_contents(policy),
        queue_number=queue_number,
    )


def _dns_chain(name: str, hook: Hook, side: Side) -> Chain:
    """Port 53 traffic on its way to the gate; a mark that a packet brought along is removed first.

    A queued packet goes on at the next hook. One that comes back from the queue's chain was not
    queued, because somebody took the feeding rule away; it ends here, so that no entry or exclusion
    for port 53 can let it out unjudged.
    """
    rules = [Rule((Loopback(hook),), Action.ACCEPT), *_fragment_rules(), Rule((), Action.CLEAR_MARK)]
    refused = Action.UNREACHABLE if hook is Hook.OUTPUT else Action.DROP
    for version in _VERSIONS:
        resolver = (AddressInSet(side, RESOLVERS[version], version),)
        rules += [Rule(resolver, Jump(QUEUE_CHAIN)), Rule(resolver, refused, Reason.DNS_UNJUDGED)]
    return Chain(name, tuple(rules))


def _gate_chain(name: str, hook: Hook, side: Side, target: str) -> Chain:
    """Everything but port 53 passes on to the filter chains after one comparison."""
    rules = (
        Rule((PortIs(Transport.UDP, side, 53),), Jump(target)),
        Rule((), Action.ACCEPT),
    )
    return Chain(name, rules, hook, GATE_PRIORITY)


def _output_rules(policy: Policy) -> tuple[Rule, ...]:
    to = Side.DESTINATION
    # The hot path first: it checks by itself that the packet is no fragment.
    rules = [
        Rule((EndInSet(to, LEARNED[v], v), Whole(v)), Action.ACCEPT, Reason.LEARNED_ADDRESS)
        for v in _VERSIONS
    ]
    rules.append(Rule((Loopback(Hook.OUTPUT),), Action.ACCEPT, Reason.LOOPBACK))
    rules += _fragment_rules()
    for version in _VERSIONS:
        seen = EndInSet(to, SEEN[version], version)
        rules += [
            Rule((seen, NotConnecting()), Action.ACCEPT, Reason.ESTABLISHED_FLOW),
            Rule((EndInSet(to, CONTROL[version], version),), Action.ACCEPT, Reason.CONTROL_CHANNEL),
            Rule((EndInSet(to, NETWORKS[version], version),), Action.ACCEPT, Reason.LISTED_NETWORK),
        ]
    rules += _dns_rules(Hook.OUTPUT)
    rules += _dhcp_rules(Hook.OUTPUT)
    rules += _neighbour_rules(Hook.OUTPUT)
    rules += outbound_rules(policy.exclusions, Hook.OUTPUT)
    rules += inbound_rules(policy.exclusions, Hook.OUTPUT)
    rules += [
        Rule((PortIs(Transport.UDP, to, 53),), Action.UNREACHABLE, Reason.RESOLVER_NOT_APPROVED),
        Rule((TransportIs(Transport.TCP),), Action.RESET, Reason.NOT_LISTED),
        Rule((), Action.UNREACHABLE, Reason.NOT_LISTED),
    ]
    return tuple(rules)


def _input_rules(policy: Policy) -> tuple[Rule, ...]:
    rules = [Rule((Loopback(Hook.INPUT),), Action.ACCEPT, Reason.LOOPBACK)]
    for version in _VERSIONS:
        whole = Whole(version)
        rules += _answers(EndInSet(Side.SOURCE, SEEN[version], version), Reason.ESTABLISHED_FLOW, whole)
    rules += _fragment_rules()
    for version in _VERSIONS:
        rules += _answers(EndInSet(Side.SOURCE, CONTROL[version], version), Reason.CONTROL_CHANNEL)
        rules += _answers(EndInSet(Side.SOURCE, NETWORKS[version], version), Reason.LISTED_NETWORK)
    rules += _dns_rules(Hook.INPUT)
    rules += _dhcp_rules(Hook.INPUT)
    rules += _neighbour_rules(Hook.INPUT)
    too_big = {4: IcmpIs(4, (3,), 4), 6: IcmpIs(6, (2,))}
    rules += [
        Rule((too_big[v], EmbeddedInSet(EMBEDDED[v], v)), Action.ACCEPT, Reason.PATH_MTU) for v in _VERSIONS
    ]
    rules += outbound_rules(policy.exclusions, Hook.INPUT)
    rules += inbound_rules(policy.exclusions, Hook.INPUT)
    rules.append(Rule((), Action.DROP, Reason.INBOUND_NOT_LISTED))
    return tuple(rules)


def _fragment_rules() -> Iterable[Rule]:
    """Pieces of packets, whose ports cannot be trusted.

    The stack cuts packets up after the output hook and puts IPv4 ones together before the input hook:
    what is seen here comes from raw sockets, or is a piece of an IPv6 datagram.
    """
    return (Rule((Fragment(version),), Action.DROP, Reason.FRAGMENT) for version in _VERSIONS)


def _answers(source: EndInSet, reason: Reason, *more: Match) -> Iterable[Rule]:
    """What an allowed destination sends back; nothing that would open a TCP connection to us."""
    yield Rule((source, *more, NotConnecting()), Action.ACCEPT, reason)
    yield Rule((source, *more, TransportIs(Transport.UDP)), Action.ACCEPT, reason)


def _dns_rules(hook: Hook) -> Iterable[Rule]:
    """DNS with a configured resolver needs the gate's approval; without it the asker is told."""
    side = Side.DESTINATION if hook is Hook.OUTPUT else Side.SOURCE
    refused = Action.UNREACHABLE if hook is Hook.OUTPUT else Action.DROP
    for version in _VERSIONS:
        resolver = (PortIs(Transport.UDP, side, 53), AddressInSet(side, RESOLVERS[version], version))
        yield Rule((*resolver, Approved()), Action.ACCEPT, Reason.DNS_APPROVED)
        yield Rule(resolver, refused, Reason.DNS_UNJUDGED)


def _dhcp_rules(hook: Hook) -> Iterable[Rule]:
    """Renewal with servers whose lease is held (RFC 2131 section 4.4.5, RFC 8415 section 18.2.4)."""
    for version, client, server in ((4, 68, 67), (6, 546, 547)):
        if hook is Hook.OUTPUT:
            ports: tuple[Match, ...] = (
                PortIs(Transport.UDP, Side.SOURCE, client),
                PortIs(Transport.UDP, Side.DESTINATION, server),
            )
            known: Match = AddressInSet(Side.DESTINATION, DHCP[version], version)
        else:
            ports = (
                PortIs(Transport.UDP, Side.SOURCE, server),
                PortIs(Transport.UDP, Side.DESTINATION, client),
            )
            known = AddressInSet(Side.SOURCE, DHCP[version], version)
        yield Rule((*ports, known), Action.ACCEPT, Reason.DHCP_RENEWAL)


def _neighbour_rules(hook: Hook) -> Iterable[Rule]:
    """Neighbour discovery, small and on the same link only; routers may announce themselves to us."""
    neighbour = IcmpIs(6, (135, 136))
    small = (HopLimitIs(255), LengthAtMost(_ND_LENGTH))
    if hook is Hook.OUTPUT:
        on_link = AddressIn(Side.DESTINATION, LINK_MULTICAST)
        # A router passes on whatever has an address behind it, so what would go there stays here.
        elsewhere = (AddressIn(Side.DESTINATION, MULTICAST), NextHopIn(LINK_LOCAL))
        for to in (AddressIn(Side.DESTINATION, LINK_LOCAL), on_link):
            yield Rule((neighbour, to, *small), Action.ACCEPT, Reason.NEIGHBOUR_DISCOVERY)
        yield Rule((IcmpIs(6, (133,)), on_link, *small), Action.ACCEPT, Reason.NEIGHBOUR_DISCOVERY)
        for away in elsewhere:
            yield Rule((neighbour, away), Action.UNREACHABLE, Reason.NOT_LISTED)
    else:
        router = (AddressIn(Side.SOURCE, LINK_LOCAL), HopLimitIs(255), LengthAtMost(_RA_LENGTH))
        yield Rule((IcmpIs(6, (134,)), *router), Action.ACCEPT, Reason.NEIGHBOUR_DISCOVERY)
    yield Rule((neighbour, *small), Action.ACCEPT, Reason.NEIGHBOUR_DISCOVERY)


def _contents(policy: Policy) -> dict[str, tuple[Element, ...]]:
    held: dict[str, dict[Element, None]] = {name: {} for name in SETS}
    for key in _network_keys(policy.networks):
        held[NETWORKS[key.network.version]][Element(key)] = None
    for endpoint in policy.control:
        if endpoint.address is not None:
            door = Destination(endpoint.address, Transport.TCP, endpoint.port)
            held[CONTROL[endpoint.address.version]][Element(door)] = None
    _add_addresses(held, RESOLVERS, policy.resolvers)
    _add_addresses(held, DHCP, [server.address for server in policy.dhcp_servers])
    if held[DHCP[6]]:
        held[DHCP[6]][Element(DHCP6_SERVERS)] = None
    return {name: tuple(elements) for name, elements in held.items() if elements}


def _network_keys(networks: Iterable[AllowedNetwork]) -> Iterable[NetworkKey]:
    """Keys without overlaps: the kernel refuses a range that holds, or lies in, another at the same port."""
    grouped: dict[tuple[int, Transport, int], list[Network]] = {}
    for each in networks:
        door = (each.network.version, each.transport, each.port)
        grouped.setdefault(door, []).append(each.network)
    for (_, transport, port), members in grouped.items():
        # One version a group, which the type of the union cannot say.
        for network in collapse_addresses(members):  # type: ignore[type-var]
            yield NetworkKey(network, transport, port)


def _add_addresses(
    held: dict[str, dict[Element, None]], names: dict[int, str], addresses: Iterable[Address]
) -> None:
    for address in addresses:
        # A link-local address may carry its zone; a set holds addresses only.
        held[names[address.version]][Element(unscoped(address))] = None
