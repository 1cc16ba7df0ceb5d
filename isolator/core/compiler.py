"""Policy to ruleset: which doors stay open, as rules and sets.

Rules never grow with the list: names become elements of sets as DNS answers are judged, networks
become elements of interval sets. The hot path of an allowed packet is one set look-up at each hook.
The rules are stateless on purpose. A `ct` expression would switch connection tracking on for the
whole network namespace, which costs every packet and would let "established" stand in for
"allowed"; the destination is checked on every packet instead. What stands for "established" is a set
of our own: a connection to a learned address is in it once its first bytes have named a listed host.
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
    AnyFlag,
    AnyPortIs,
    Approved,
    Bare,
    Carries,
    Chain,
    Connecting,
    Element,
    EmbeddedInSet,
    EndInSet,
    Extra,
    FirstAck,
    FlowApproved,
    FlowInSet,
    Forget,
    Fragment,
    HopLimitIs,
    IcmpIs,
    Jump,
    Known,
    LengthAbove,
    LengthAtMost,
    Loopback,
    Match,
    NetworkKey,
    NextHopIn,
    NotConnecting,
    OnlyAck,
    PortIs,
    PortIsNone,
    Remember,
    Rule,
    Ruleset,
    SetKind,
    Side,
    ToThisHost,
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
PROXIES = {4: "proxies4", 6: "proxies6"}
"""Configured proxies: whatever goes there is judged by the name it asks for."""
APPROVED = {4: "approved4", 6: "approved6"}
"""Connections to learned addresses that named a listed host: their packets need no judgement any more."""

BEGUN = {4: "begun4", 6: "begun6"}
"""Connections to learned addresses whose SYN the gate has passed, and nothing since."""

QUIC_PORT = 443

QUEUE_CHAIN = "dns_queue"
FLOW_QUEUE_CHAIN = "flow_queue"
QUEUE_CHAINS = frozenset({QUEUE_CHAIN, FLOW_QUEUE_CHAIN})
"""Chains that do nothing but feed a queue."""

FLOW_ROOM = 131_072
"""Approved connections of each IP version; one beyond is judged packet by packet, on the slow path."""

SWEEP_S = 10
"""How often the kernel frees what has expired in our sets. Each second, its own pace, takes 2 % of a core
when 100,000 addresses are learned; much rarer, and answers that expire at once could pile up."""

BEGUN_S = 10
"""How long after its SYN a connection's first acknowledgement passes without being asked about."""

FLOW_IDLE_S = 86_400
"""An approved connection is forgotten when the client has had nothing to say for so long."""

FLOW_CLOSING_S = 120
"""What is left of it once the client has ended it: room for what is sent again and for the server's rest."""


_VERSIONS = (4, 6)
_ND_LENGTH = 80
"""An IPv6 header, a solicitation, a link-layer address and a nonce option (RFC 4861, RFC 7527)."""
_RA_LENGTH = 576
_FRAME = 1_500
"""An Ethernet frame's room; the stack cuts what is larger into frames after the output hook."""
_EMPTY_ACK = {True: 72, False: 60}
"""An IPv6 header and a TCP header, with timestamps or without."""


def destination_kind(version: int) -> SetKind:
    """Kind of a destination set of that IP version."""
    return SetKind.DESTINATION4 if version == 4 else SetKind.DESTINATION6


def _address_kind(version: int) -> SetKind:
    return SetKind.ADDRESS4 if version == 4 else SetKind.ADDRESS6


def _flow_kind(version: int) -> SetKind:
    return SetKind.FLOW4 if version == 4 else SetKind.FLOW6


def _sets() -> tuple[AddressSet, ...]:
    made: list[AddressSet] = []
    for version in _VERSIONS:
        ends = destination_kind(version)
        embedded = SetKind.EMBEDDED4 if version == 4 else SetKind.EMBEDDED6
        made += [
            AddressSet(LEARNED[version], ends, timed=True, sweep_s=SWEEP_S),
            AddressSet(SEEN[version], ends, timed=True, sweep_s=SWEEP_S),
            AddressSet(EMBEDDED[version], embedded, timed=True, sweep_s=SWEEP_S),
            AddressSet(NETWORKS[version], ends, interval=True),
            AddressSet(CONTROL[version], ends),
            AddressSet(RESOLVERS[version], _address_kind(version)),
            AddressSet(APPROVED[version], _flow_kind(version), True, room=FLOW_ROOM, sweep_s=SWEEP_S),
            AddressSet(BEGUN[version], _flow_kind(version), True, room=FLOW_ROOM, sweep_s=SWEEP_S),
            AddressSet(DHCP[version], _address_kind(version)),
            AddressSet(PROXIES[version], ends),
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
            Chain(FLOW_QUEUE_CHAIN, (Rule((), Action.QUEUE_FLOW),)),
            _dns_chain("dns_out", Hook.OUTPUT, Side.DESTINATION, QUEUE_CHAIN),
            _dns_chain("dns_in", Hook.INPUT, Side.SOURCE, QUEUE_CHAIN),
            _dns_chain("dns_tcp_in", Hook.INPUT, Side.SOURCE, FLOW_QUEUE_CHAIN),
            Chain("answers_in", _answer_rules()),
            *(_known_chain(version) for version in _VERSIONS),
            *(_acknowledged_chain(version) for version in _VERSIONS),
            Chain("flow_held", _held_rules()),
            Chain("flow_out", _flow_rules(policy)),
            Chain("flow_new", tuple(Rule((), Remember(APPROVED[v], v, FLOW_IDLE_S)) for v in _VERSIONS)),
            Chain("flow_begun", tuple(Rule((), Forget(APPROVED[v], v)) for v in _VERSIONS)),
            Chain("flow_opened", tuple(Rule((), Remember(BEGUN[v], v, BEGUN_S)) for v in _VERSIONS)),
            Chain("gate_output", _gate_rules(), Hook.OUTPUT, GATE_PRIORITY),
            Chain("gate_input", _gate_input_rules(), Hook.INPUT, GATE_PRIORITY),
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


def _dns_chain(name: str, hook: Hook, side: Side, queue: str) -> Chain:
    """Port 53 traffic on its way to the gate; a mark that a packet brought along is removed first.

    A queued packet goes on at the next hook. One that comes back from the queue's chain was not
    queued, because somebody took the feeding rule away; it ends here, so that no entry or exclusion
    for port 53 can let it out unjudged.
    """
    rules = [Rule((Loopback(hook),), Action.ACCEPT), *_fragment_rules(), Rule((), Action.CLEAR_MARK)]
    refused = Action.UNREACHABLE if hook is Hook.OUTPUT else Action.DROP
    for version in _VERSIONS:
        resolver = (AddressInSet(side, RESOLVERS[version], version),)
        rules += [Rule(resolver, Jump(queue)), Rule(resolver, refused, Reason.DNS_UNJUDGED)]
    return Chain(name, tuple(rules))


def _gate_rules() -> tuple[Rule, ...]:
    """DNS and new connections to the gate; the rest passes on to the filter chain."""
    return (
        # The hot path of a connection; one with options or extension headers is for the gate to drop.
        Rule((FlowInSet(APPROVED[4], 4), Bare(4, Transport.TCP), Whole(4)), Jump("flow_known4")),
        Rule((FlowInSet(APPROVED[6], 6), Bare(6, Transport.TCP)), Jump("flow_known6")),
        Rule((PortIs(Transport.UDP, Side.DESTINATION, 53),), Jump("dns_out")),
        Rule((TransportIs(Transport.TCP),), Jump("flow_out")),
        Rule((), Action.ACCEPT),
    )


def _gate_input_rules() -> tuple[Rule, ...]:
    """Answers to the gate; the rest passes on to the filter chain."""
    return (Rule((AnyPortIs(Side.SOURCE, 53),), Jump("answers_in")), Rule((), Action.ACCEPT))


def _answer_rules() -> tuple[Rule, ...]:
    """What may be DNS, told apart by transport."""
    return (
        Rule((PortIs(Transport.UDP, Side.SOURCE, 53),), Jump("dns_in")),
        Rule((PortIs(Transport.TCP, Side.SOURCE, 53),), Jump("dns_tcp_in")),
    )


def _known_chain(version: int) -> Chain:
    """An approved connection passes; what its client says keeps it known, its end makes it forgotten soon.

    Bare acknowledgements leave the time alone: the last one comes after the end. So does bulk, whose last
    packet is smaller. What opens a new connection goes back to the gate's chain, which clears the mark.
    """
    name = APPROVED[version]
    rules = (
        Rule((), Action.SET_KNOWN),
        Rule((OnlyAck(),), Action.ACCEPT),
        Rule((OnlyAck(pushed=True), LengthAbove(_FRAME)), Action.ACCEPT),
        Rule((AnyFlag(("psh",)),), Remember(name, version, FLOW_IDLE_S)),
        Rule((AnyFlag(("fin", "rst")),), Remember(name, version, FLOW_CLOSING_S)),
        Rule((NotConnecting(),), Action.ACCEPT),
    )
    return Chain(f"flow_known{version}", rules)


def _acknowledged_chain(version: int) -> Chain:
    """The first bare acknowledgement says nothing, so the gate need not see it: one for each SYN passed."""
    rules = (Rule((), Forget(BEGUN[version], version)), Rule((), Action.SET_MARK), Rule((), Action.ACCEPT))
    return Chain(f"flow_acknowledged{version}", rules)


def _flow_rules(policy: Policy) -> tuple[Rule, ...]:
    """TCP that no approval covers: to doors that only names opened it goes to the gate.

    What is open by address, to the controller or by an exclusion, does not depend on the gate. A mark that a
    packet brought along is removed before anything else. A new connection between the ends of an old one
    is a stranger to its approval.
    """
    to = Side.DESTINATION
    rules = [Rule((), Action.CLEAR_MARK), Rule((Loopback(Hook.OUTPUT),), Action.ACCEPT), *_fragment_rules()]
    rules.append(Rule((Connecting(),), Jump("flow_begun")))
    for version in _VERSIONS:
        for timestamps in (True, False):
            first = FirstAck(BEGUN[version], version, timestamps)
            # Its own length is what root wrote there. Options that push the end of the TCP header out (IPv4),
            # and bytes behind the packet that leave with the frame (IPv6), are for the gate to drop.
            whole = Bare(4) if version == 4 else LengthAtMost(_EMPTY_ACK[timestamps])
            rules.append(Rule((first, whole), Jump(f"flow_acknowledged{version}")))
    # First: a proxy inside a listed network or an exclusion is a proxy all the same.
    rules += [Rule((EndInSet(to, PROXIES[v], v),), Jump("flow_held")) for v in _proxy_versions(policy)]
    for version in _VERSIONS:
        for names in (CONTROL, NETWORKS):
            rules.append(Rule((EndInSet(to, names[version], version),), Action.ACCEPT))
    for each in _exclusion_rules(policy, Hook.OUTPUT):
        rules.append(Rule(each.matches, each.action))
    for version in _VERSIONS:
        for names in (LEARNED, SEEN):
            rules.append(Rule((EndInSet(to, names[version], version),), Jump("flow_held")))
        resolver = AddressInSet(to, RESOLVERS[version], version)
        rules.append(Rule((PortIs(Transport.TCP, to, 53), resolver), Jump("flow_held")))
    return tuple(rules)


def _proxy_versions(policy: Policy) -> tuple[int, ...]:
    """IP versions of which there is a proxy: without one there are no rules for it either."""
    return tuple(sorted({proxy.address.version for proxy in policy.proxies}))


def _held_rules() -> tuple[Rule, ...]:
    """A queued packet goes on at the next hook; one that comes back here was not queued, and ends."""
    tcp = TransportIs(Transport.TCP)
    return (Rule((), Jump(FLOW_QUEUE_CHAIN)), Rule((tcp,), Action.RESET, Reason.FLOW_UNJUDGED))


def _output_rules(policy: Policy) -> tuple[Rule, ...]:
    to = Side.DESTINATION
    tcp = TransportIs(Transport.TCP)
    # The hot paths first; that a known packet is whole and opens nothing was checked at the gate's hook.
    # The transport comes after the set: nft takes one before it for a part of it when it lists the rule.
    rules = [
        Rule((Known(), EndInSet(to, SEEN[v], v), tcp), Action.ACCEPT, Reason.ESTABLISHED_FLOW)
        for v in _VERSIONS
    ]
    rules += [
        Rule((Known(), EndInSet(to, PROXIES[v], v), tcp), Action.ACCEPT, Reason.PROXY)
        for v in _proxy_versions(policy)
    ]
    rules += _datagram_rules()
    # Again, as the SYN leaves the queue: what waited there before it may have approved its ends meanwhile.
    rules += [Rule((Connecting(),), Jump("flow_begun")), Rule((FlowApproved(), tcp), Jump("flow_new"))]
    rules += [
        Rule((Approved(), EndInSet(to, LEARNED[v], v), Connecting()), Jump("flow_opened")) for v in _VERSIONS
    ]
    rules += [
        Rule((Approved(), EndInSet(to, LEARNED[v], v), tcp, Whole(v)), Action.ACCEPT, Reason.LEARNED_ADDRESS)
        for v in _VERSIONS
    ]
    rules.append(Rule((Loopback(Hook.OUTPUT), ToThisHost()), Action.ACCEPT, Reason.LOOPBACK))
    rules += _fragment_rules()
    rules += [Rule((Carries(extra),), Action.DROP, Reason.IP_OPTIONS) for extra in Extra]
    for version in _proxy_versions(policy):
        proxy = EndInSet(to, PROXIES[version], version)
        rules += [
            Rule((Approved(), proxy), Action.ACCEPT, Reason.PROXY),
            Rule((proxy, tcp), Action.RESET, Reason.FLOW_UNJUDGED),
        ]
    for version in _VERSIONS:
        seen = EndInSet(to, SEEN[version], version)
        rules += [
            Rule((Approved(), seen, NotConnecting()), Action.ACCEPT, Reason.ESTABLISHED_FLOW),
            Rule((EndInSet(to, CONTROL[version], version),), Action.ACCEPT, Reason.CONTROL_CHANNEL),
            Rule((EndInSet(to, NETWORKS[version], version),), Action.ACCEPT, Reason.LISTED_NETWORK),
        ]
    rules += _dns_rules(Hook.OUTPUT)
    rules += _dhcp_rules(Hook.OUTPUT)
    rules += _neighbour_rules(Hook.OUTPUT)
    rules += _exclusion_rules(policy, Hook.OUTPUT)
    rules += _unnamed_rules()
    rules += [
        Rule((PortIs(Transport.UDP, to, 53),), Action.UNREACHABLE, Reason.RESOLVER_NOT_APPROVED),
        Rule((tcp,), Action.RESET, Reason.NOT_LISTED),
        Rule((), Action.UNREACHABLE, Reason.NOT_LISTED),
    ]
    return tuple(rules)


def _datagram_rules() -> Iterable[Rule]:
    """Datagrams to learned addresses, ahead of all that does not concern them.

    What has rules of its own below stays out: DNS, QUIC, pieces, options and extension headers.
    """
    to = Side.DESTINATION
    plain = PortIsNone(Transport.UDP, to, (53, QUIC_PORT))
    for version in _VERSIONS:
        matches: tuple[Match, ...] = (EndInSet(to, LEARNED[version], version), plain, Bare(version))
        if version == 4:
            matches += (Whole(version),)
        yield Rule(matches, Action.ACCEPT, Reason.LEARNED_ADDRESS)


def _unnamed_rules() -> Iterable[Rule]:
    """What goes to learned addresses without the gate's approval: datagrams, except QUIC; no connections."""
    to = Side.DESTINATION
    tcp, udp = TransportIs(Transport.TCP), TransportIs(Transport.UDP)
    for version in _VERSIONS:
        door = EndInSet(to, LEARNED[version], version)
        yield Rule((door, PortIs(Transport.UDP, to, QUIC_PORT)), Action.PORT_UNREACHABLE, Reason.QUIC_REFUSED)
        yield Rule((door, udp), Action.ACCEPT, Reason.LEARNED_ADDRESS)
        yield Rule((door, tcp), Action.RESET, Reason.FLOW_UNJUDGED)
        seen = EndInSet(to, SEEN[version], version)
        yield Rule((seen, NotConnecting()), Action.RESET, Reason.FLOW_UNJUDGED)
    # Clients that are told so fall back to TCP at once instead of waiting for an answer.
    yield Rule((PortIs(Transport.UDP, to, QUIC_PORT),), Action.PORT_UNREACHABLE, Reason.QUIC_REFUSED)


def _exclusion_rules(policy: Policy, hook: Hook) -> Iterable[Rule]:
    yield from outbound_rules(policy.exclusions, hook)
    yield from inbound_rules(policy.exclusions, hook)


def _input_rules(policy: Policy) -> tuple[Rule, ...]:
    rules = [Rule((Loopback(Hook.INPUT),), Action.ACCEPT, Reason.LOOPBACK)]
    for version in _VERSIONS:
        # The stack has put IPv4 packets together again, see _fragment_rules.
        whole = (Whole(version),) if version == 6 else ()
        rules += _answers(EndInSet(Side.SOURCE, SEEN[version], version), Reason.ESTABLISHED_FLOW, *whole)
    for version in _proxy_versions(policy):
        proxy = EndInSet(Side.SOURCE, PROXIES[version], version)
        rules.append(Rule((proxy, Whole(version), NotConnecting()), Action.ACCEPT, Reason.PROXY))
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
    rules += _exclusion_rules(policy, Hook.INPUT)
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
        for transport in Transport:
            resolver = (PortIs(transport, side, 53), AddressInSet(side, RESOLVERS[version], version))
            told = Action.RESET if (hook, transport) == (Hook.OUTPUT, Transport.TCP) else refused
            yield Rule((*resolver, Approved()), Action.ACCEPT, Reason.DNS_APPROVED)
            yield Rule(resolver, told, Reason.DNS_UNJUDGED)


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
    for proxy in policy.proxies:
        door = Destination(proxy.address, Transport.TCP, proxy.port)
        held[PROXIES[proxy.address.version]][Element(door)] = None
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
