"""A packet's walk through compiled rules: the readable table (the kernel walks a larger one in tests/netns)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest

from isolator.core.compiler import EMBEDDED, LEARNED, QUEUE_CHAINS, SEEN, compile_policy
from isolator.core.trace import Walk, trace
from isolator.model.flow import Address, Destination, Hook, Packet, Transport
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
from isolator.model.ruleset import (
    Action,
    AnyFlag,
    Approved,
    Chain,
    Connecting,
    ElementKey,
    Extra,
    FlowApproved,
    FlowInSet,
    Forget,
    Jump,
    Known,
    NotConnecting,
    Remember,
    Rule,
    Ruleset,
    VersionIs,
)
from isolator.model.segment import FlowKey
from isolator.model.verdict import Reason, Verdict

ME, ME6 = ip_address("192.0.2.10"), ip_address("2001:db8::10")
RESOLVER, OTHER_RESOLVER = ip_address("192.0.2.53"), ip_address("192.0.2.54")
OPEN, STALE = ip_address("20.1.1.1"), ip_address("20.1.1.2")
OPEN6 = ip_address("2603:1061::1")
RANGE, CONTROL = ip_address("20.15.141.7"), ip_address("198.51.100.9")
SHUT, SHUT6 = ip_address("93.184.216.34"), ip_address("2606:2800::34")
DHCP, ADMIN, CLOCK = ip_address("192.0.2.67"), ip_address("10.9.0.1"), ip_address("10.1.1.1")
ROUTER6 = ip_address("fe80::1")
PROXY, PROXY6 = ip_address("10.8.0.8"), ip_address("2001:db8::8")

POLICY = Policy(
    IsolationScope.SELECTIVE,
    entries=(),
    networks=(AllowedNetwork(ip_network("20.15.141.0/24"), Transport.TCP, 443, "l#9"),),
    resolvers=(RESOLVER,),
    control=(ControlEndpoint(8443, address=CONTROL),),
    exclusions=(
        Exclusion("ssh", Direction.IN, Transport.TCP, 22, ip_network("10.9.0.0/16")),
        Exclusion("any6", Direction.IN, Transport.TCP, None, ip_network("::/0")),
        Exclusion("time", Direction.OUT, Transport.UDP, 123, ip_network("10.1.1.1/32"), uid=42),
    ),
    dhcp_servers=(DhcpServer(DHCP),),
    proxies=(ProxyEndpoint(PROXY, 3128), ProxyEndpoint(RANGE, 8080), ProxyEndpoint(PROXY6, 3128)),
)
RULES = compile_policy(POLICY, 5)
LEARNED_SETS: dict[str, set[ElementKey]] = {
    LEARNED[4]: {Destination(OPEN, Transport.TCP, 443)},
    LEARNED[6]: {Destination(OPEN6, Transport.TCP, 443)},
    SEEN[4]: {Destination(OPEN, Transport.TCP, 443), Destination(STALE, Transport.TCP, 443)},
    SEEN[6]: {Destination(OPEN6, Transport.TCP, 443)},
    EMBEDDED[4]: {OPEN},
    EMBEDDED[6]: {OPEN6},
}
SYN, ACK, SYN_ACK = frozenset({"syn"}), frozenset({"ack"}), frozenset({"syn", "ack"})


def out(to: object, port: int | None = 443, protocol: str = "tcp", **more: object) -> Packet:
    """A packet this host sends; a TCP one opens a connection unless told otherwise."""
    address = ip_address(str(to))
    own = ME if isinstance(address, IPv4Address) else ME6
    flags = SYN if protocol == "tcp" else frozenset()
    packet = Packet(Hook.OUTPUT, own, address, protocol, 50_000, port, tcp_flags=flags)
    return replace(packet, **more)  # type: ignore[arg-type]


def into(origin: object, port: int | None = 443, protocol: str = "tcp", **more: object) -> Packet:
    """A packet that arrives; a TCP one belongs to an open connection unless told otherwise."""
    address = ip_address(str(origin))
    own = ME if isinstance(address, IPv4Address) else ME6
    flags = ACK if protocol == "tcp" else frozenset()
    packet = Packet(Hook.INPUT, address, own, protocol, port, 50_000, tcp_flags=flags)
    return replace(packet, **more)  # type: ignore[arg-type]


ACCEPT, DROP, REJECT, QUEUE = Verdict.ACCEPT, Verdict.DROP, Verdict.REJECT, Verdict.QUEUE

TABLE = [
    ("learned", out(OPEN), QUEUE, Reason.FLOW_UNJUDGED),
    ("learned, IPv6", out(OPEN6), QUEUE, Reason.FLOW_UNJUDGED),
    ("learned, with a mark of its own", out(OPEN, approved=True), QUEUE, Reason.FLOW_UNJUDGED),
    ("learned, data of an unknown connection", out(OPEN, tcp_flags=ACK), QUEUE, Reason.FLOW_UNJUDGED),
    ("learned, other port", out(OPEN, 22), REJECT, Reason.NOT_LISTED),
    ("learned, QUIC", out(OPEN, 443, "udp"), REJECT, Reason.QUIC_REFUSED),
    ("learned, other protocol", out(OPEN, 444, "udp"), REJECT, Reason.NOT_LISTED),
    ("expired, new connection", out(STALE), QUEUE, Reason.FLOW_UNJUDGED),
    ("expired, open connection", out(STALE, tcp_flags=ACK), QUEUE, Reason.FLOW_UNJUDGED),
    ("network", out(RANGE), ACCEPT, Reason.LISTED_NETWORK),
    ("proxy", out(PROXY, 3128), QUEUE, Reason.FLOW_UNJUDGED),
    ("proxy, IPv6, with a mark of its own", out(PROXY6, 3128, approved=True), QUEUE, Reason.FLOW_UNJUDGED),
    ("proxy in a listed network", out(RANGE, 8080), QUEUE, Reason.FLOW_UNJUDGED),
    ("proxy, other port", out(PROXY, 22), REJECT, Reason.NOT_LISTED),
    ("proxy, datagram", out(PROXY, 3128, "udp"), REJECT, Reason.NOT_LISTED),
    ("network, with options", out(RANGE, extras=frozenset({"options"})), DROP, Reason.IP_OPTIONS),
    (
        "clock, with options",
        out(CLOCK, 123, "udp", uid=42, extras=frozenset({"rt"})),
        DROP,
        Reason.IP_OPTIONS,
    ),
    ("network, other port", out(RANGE, 80), REJECT, Reason.NOT_LISTED),
    ("control channel", out(CONTROL, 8443), ACCEPT, Reason.CONTROL_CHANNEL),
    ("unlisted", out(SHUT), REJECT, Reason.NOT_LISTED),
    ("unlisted, IPv6", out(SHUT6), REJECT, Reason.NOT_LISTED),
    ("unlisted, UDP", out(SHUT, 444, "udp"), REJECT, Reason.NOT_LISTED),
    ("echo", out(SHUT, None, "icmp", icmp_type=8, icmp_code=0), REJECT, Reason.NOT_LISTED),
    ("GRE", out(SHUT, None, "gre"), REJECT, Reason.NOT_LISTED),
    ("loopback", out("127.0.0.1", 8080, loopback=True), ACCEPT, Reason.LOOPBACK),
    ("stub resolver", out("127.0.0.53", 53, "udp", loopback=True), ACCEPT, Reason.LOOPBACK),
    ("DNS", out(RESOLVER, 53, "udp"), QUEUE, Reason.DNS_UNJUDGED),
    ("DNS with a mark of its own", out(RESOLVER, 53, "udp", approved=True), QUEUE, Reason.DNS_UNJUDGED),
    ("DNS elsewhere", out(OTHER_RESOLVER, 53, "udp"), REJECT, Reason.RESOLVER_NOT_APPROVED),
    (
        "DNS elsewhere with a mark",
        out(OTHER_RESOLVER, 53, "udp", approved=True),
        REJECT,
        Reason.RESOLVER_NOT_APPROVED,
    ),
    ("DNS over TCP", out(RESOLVER, 53), QUEUE, Reason.FLOW_UNJUDGED),
    ("DHCP renewal", out(DHCP, 67, "udp", source_port=68), ACCEPT, Reason.DHCP_RENEWAL),
    ("DHCP, stranger", out(SHUT, 67, "udp", source_port=68), REJECT, Reason.NOT_LISTED),
    ("exclusion, its user", out(CLOCK, 123, "udp", uid=42), ACCEPT, Reason.EXCLUSION),
    ("exclusion, another user", out(CLOCK, 123, "udp", uid=43), REJECT, Reason.NOT_LISTED),
    (
        "service answers an exclusion",
        out(ADMIN, 50_001, source_port=22, tcp_flags=SYN_ACK),
        ACCEPT,
        Reason.EXCLUSION,
    ),
    ("service calls out", out(ADMIN, 50_001, source_port=22), REJECT, Reason.NOT_LISTED),
    (
        "neighbour solicitation",
        out(SHUT6, None, "icmpv6", icmp_type=135, hop_limit=255, length=72),
        ACCEPT,
        Reason.NEIGHBOUR_DISCOVERY,
    ),
    (
        "neighbour solicitation, routed",
        out(SHUT6, None, "icmpv6", icmp_type=135, hop_limit=64, length=72),
        REJECT,
        Reason.NOT_LISTED,
    ),
    (
        "neighbour solicitation, stuffed",
        out(SHUT6, None, "icmpv6", icmp_type=135, hop_limit=255, length=600),
        REJECT,
        Reason.NOT_LISTED,
    ),
    (
        "neighbour solicitation, through a gateway",
        out(SHUT6, None, "icmpv6", icmp_type=135, hop_limit=255, length=72, gateway=ROUTER6),
        REJECT,
        Reason.NOT_LISTED,
    ),
    (
        "neighbour solicitation, to the gateway itself",
        out(ROUTER6, None, "icmpv6", icmp_type=135, hop_limit=255, length=72),
        ACCEPT,
        Reason.NEIGHBOUR_DISCOVERY,
    ),
    ("piece of a packet to an open door", out(OPEN, fragment=True), DROP, Reason.FRAGMENT),
    ("piece that comes in", into(OPEN6, fragment=True), DROP, Reason.FRAGMENT),
    ("piece over loopback", into("::1", None, "udp", loopback=True, fragment=True), ACCEPT, Reason.LOOPBACK),
    ("answer", into(OPEN), ACCEPT, Reason.ESTABLISHED_FLOW),
    ("connection from outside", into(OPEN, tcp_flags=SYN), DROP, Reason.INBOUND_NOT_LISTED),
    ("unlisted answer", into(SHUT), DROP, Reason.INBOUND_NOT_LISTED),
    ("answer from a proxy", into(PROXY, 3128), ACCEPT, Reason.PROXY),
    ("connection from a proxy", into(PROXY, 3128, tcp_flags=SYN), DROP, Reason.INBOUND_NOT_LISTED),
    ("answer from a network", into(RANGE), ACCEPT, Reason.LISTED_NETWORK),
    ("answer of the control channel", into(CONTROL, 8443), ACCEPT, Reason.CONTROL_CHANNEL),
    ("DNS answer", into(RESOLVER, 53, "udp"), QUEUE, Reason.DNS_UNJUDGED),
    ("stranger's DNS answer", into(SHUT, 53, "udp", approved=True), DROP, Reason.INBOUND_NOT_LISTED),
    ("admin connects", into(ADMIN, 50_001, destination_port=22, tcp_flags=SYN), ACCEPT, Reason.EXCLUSION),
    (
        "stranger connects",
        into(SHUT, 50_001, destination_port=22, tcp_flags=SYN),
        DROP,
        Reason.INBOUND_NOT_LISTED,
    ),
    ("anyone by IPv6", into(SHUT6, 50_001, destination_port=22, tcp_flags=SYN), ACCEPT, Reason.EXCLUSION),
    (
        "too big, open",
        into(SHUT, None, "icmp", icmp_type=3, icmp_code=4, embedded=OPEN),
        ACCEPT,
        Reason.PATH_MTU,
    ),
    (
        "too big, shut",
        into(SHUT, None, "icmp", icmp_type=3, icmp_code=4, embedded=SHUT),
        DROP,
        Reason.INBOUND_NOT_LISTED,
    ),
    (
        "too big, nothing inside",
        into(SHUT, None, "icmp", icmp_type=3, icmp_code=4),
        DROP,
        Reason.INBOUND_NOT_LISTED,
    ),
    (
        "port unreachable",
        into(SHUT, None, "icmp", icmp_type=3, icmp_code=3, embedded=OPEN),
        DROP,
        Reason.INBOUND_NOT_LISTED,
    ),
    (
        "router advertisement",
        into(ROUTER6, None, "icmpv6", icmp_type=134, hop_limit=255, length=200),
        ACCEPT,
        Reason.NEIGHBOUR_DISCOVERY,
    ),
    (
        "router advertisement from afar",
        into(SHUT6, None, "icmpv6", icmp_type=134, hop_limit=255, length=200),
        DROP,
        Reason.INBOUND_NOT_LISTED,
    ),
    ("from loopback", into("127.0.0.1", loopback=True), ACCEPT, Reason.LOOPBACK),
    ("forwarded", replace(out(OPEN), hook=Hook.FORWARD), DROP, Reason.FORWARDED),
]


@pytest.mark.parametrize(
    ("packet", "verdict", "reason"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_walk(packet: Packet, verdict: Verdict, reason: Reason) -> None:
    walk = trace(RULES, packet, LEARNED_SETS)
    assert (walk.verdict, walk.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (out(OPEN), Reason.LEARNED_ADDRESS),
        (out(OPEN6), Reason.LEARNED_ADDRESS),
        (out(STALE, tcp_flags=ACK), Reason.ESTABLISHED_FLOW),
        (out(RESOLVER, 53), Reason.DNS_APPROVED),
    ],
)
def test_the_gate_s_approval_lets_connections_pass(packet: Packet, reason: Reason) -> None:
    assert trace(RULES, packet, LEARNED_SETS, gate=Verdict.ACCEPT).reason is reason
    assert trace(RULES, packet, LEARNED_SETS, gate=Verdict.DROP).verdict is DROP


def test_even_an_approved_connection_cannot_be_opened_to_an_expired_door() -> None:
    assert trace(RULES, out(STALE), LEARNED_SETS, gate=Verdict.ACCEPT).reason is Reason.NOT_LISTED


def test_an_approved_connection_needs_no_judgement_but_a_new_one_does() -> None:
    packet = out(OPEN, tcp_flags=ACK)
    flow = FlowKey(packet.source, 50_000, packet.destination, 443)
    for flags in (ACK, frozenset({"psh", "ack"}), frozenset({"fin", "ack"}), frozenset({"rst"})):
        for length in (60, 1_500, 1_501):
            more = replace(packet, tcp_flags=flags, length=length)
            assert trace(RULES, more, LEARNED_SETS, flows={flow}).reason is Reason.ESTABLISHED_FLOW
    assert trace(RULES, packet, {}, flows={flow}).reason is Reason.NOT_LISTED
    assert trace(RULES, replace(packet, fragment=True), LEARNED_SETS, flows={flow}).reason is Reason.FRAGMENT
    for other in (replace(packet, source_port=50_001), replace(packet, tcp_flags=SYN)):
        assert trace(RULES, other, LEARNED_SETS, flows={flow}).verdict is QUEUE


def test_an_approved_connection_to_a_proxy_needs_no_judgement() -> None:
    packet = out(PROXY6, 3128, tcp_flags=ACK)
    flow = FlowKey(packet.source, 50_000, packet.destination, 3128)
    assert trace(RULES, packet, flows={flow}).reason is Reason.PROXY
    assert trace(RULES, packet).verdict is QUEUE


@pytest.mark.parametrize("address", [OPEN, OPEN6])
@pytest.mark.parametrize(
    ("port", "wrong", "verdict", "reason"),
    [
        (123, {}, ACCEPT, Reason.LEARNED_ADDRESS),
        (123, {"known": True}, ACCEPT, Reason.LEARNED_ADDRESS),
        (443, {}, REJECT, Reason.QUIC_REFUSED),
        (443, {"known": True}, REJECT, Reason.QUIC_REFUSED),
        (123, {"fragment": True}, DROP, Reason.FRAGMENT),
        (124, {}, REJECT, Reason.NOT_LISTED),
        (124, {"known": True}, REJECT, Reason.NOT_LISTED),
    ],
)
def test_datagrams_to_learned_addresses(
    address: Address, port: int, wrong: dict[str, Any], verdict: Verdict, reason: Reason
) -> None:
    doors = {Destination(address, Transport.UDP, number) for number in (53, 123, 443)}
    learned: dict[str, set[ElementKey]] = {names[address.version]: {*doors} for names in (LEARNED, SEEN)}
    walk = trace(RULES, out(address, port, "udp", **wrong), learned)
    assert (walk.verdict, walk.reason) == (verdict, reason)


def test_what_a_packet_carries_in_between_is_refused_at_a_learned_address() -> None:
    for address, extra in ((OPEN, Extra.OPTIONS), (OPEN6, Extra.HOP_BY_HOP), (OPEN6, Extra.ROUTING)):
        door = Destination(address, Transport.UDP, 123)
        packet = out(address, 123, "udp", extras=frozenset({extra.value}))
        assert trace(RULES, packet, {LEARNED[address.version]: {door}}).reason is Reason.IP_OPTIONS


def test_the_gate_s_approval_lets_dns_pass_and_nothing_else() -> None:
    assert trace(RULES, out(RESOLVER, 53, "udp"), gate=Verdict.ACCEPT).reason is Reason.DNS_APPROVED
    assert trace(RULES, into(RESOLVER, 53, "udp"), gate=Verdict.ACCEPT).reason is Reason.DNS_APPROVED
    assert trace(RULES, out(SHUT), gate=Verdict.ACCEPT).verdict is Verdict.REJECT


def test_the_gate_s_refusal_drops() -> None:
    assert trace(RULES, out(RESOLVER, 53, "udp"), gate=Verdict.DROP).verdict is Verdict.DROP


DNS_DOOR = Destination(RESOLVER, Transport.UDP, 53)
ABOUT_DNS: dict[str, tuple[Policy, dict[str, set[ElementKey]]]] = {
    "nothing": (POLICY, {}),
    "an entry by network": (
        replace(POLICY, networks=(AllowedNetwork(ip_network("192.0.2.0/24"), Transport.UDP, 53, "l#1"),)),
        {},
    ),
    "an exclusion": (
        replace(
            POLICY,
            exclusions=(
                Exclusion("out", Direction.OUT, Transport.UDP, None, ip_network("192.0.2.0/24")),
                Exclusion("in", Direction.IN, Transport.UDP, None, ip_network("192.0.2.0/24")),
            ),
        ),
        {},
    ),
    "a learned address": (POLICY, {LEARNED[4]: {DNS_DOOR}, SEEN[4]: {DNS_DOOR}}),
}


@pytest.mark.parametrize("approved", [False, True], ids=["unmarked", "forged mark"])
@pytest.mark.parametrize("opening", ABOUT_DNS)
def test_without_the_feeding_rule_no_dns_passes_whatever_opens_the_resolver(
    opening: str, approved: bool
) -> None:
    policy, learned = ABOUT_DNS[opening]
    rules = compile_policy(policy, 5)
    unfed = replace(
        rules, chains=tuple(replace(c, rules=()) if c.name in QUEUE_CHAINS else c for c in rules.chains)
    )
    for packet, verdict in (
        (out(RESOLVER, 53, "udp", approved=approved), REJECT),
        (into(RESOLVER, 53, "udp", approved=approved), DROP),
    ):
        walk = trace(unfed, packet, learned)
        assert (walk.verdict, walk.reason) == (verdict, Reason.DNS_UNJUDGED)


def test_a_cleared_mark_is_gone_for_the_rules_that_follow() -> None:
    marked = (Rule((Approved(),), Action.ACCEPT, Reason.DNS_APPROVED), Rule((), Action.DROP))
    clearing = (Rule((), Action.CLEAR_MARK), *marked)
    setting = (Rule((), Action.SET_MARK), *clearing[1:])
    for rules, verdict in ((marked, ACCEPT), (clearing, DROP), (setting, ACCEPT)):
        ruleset = Ruleset((), (Chain("filter_output", rules, Hook.OUTPUT, 0),))
        assert trace(ruleset, out(SHUT, approved=True)).verdict is verdict


def test_without_rules_everything_passes() -> None:
    assert trace(Ruleset((), ()), out(SHUT)) == Walk(Verdict.ACCEPT, Reason.NOT_ISOLATED)


def test_the_end_of_a_base_chain_drops() -> None:
    empty = Ruleset((), (Chain("filter_output", (), Hook.OUTPUT, 0),))
    assert trace(empty, out(SHUT)) == Walk(Verdict.DROP, Reason.NOT_LISTED, "filter_output", 0)


def test_a_walk_names_the_rule_that_decided() -> None:
    walk = trace(RULES, out(SHUT), LEARNED_SETS)
    assert walk.rule is RULES.chain(walk.chain).rules[walk.position]


APPROVED_FLOW = FlowKey(ME, 50_000, OPEN, 443)
APPROVED_FLOW6 = FlowKey(ME6, 50_000, OPEN6, 443)
FLOW_RULES = Ruleset(
    (),
    (
        Chain("known", (Rule((), Action.SET_KNOWN), Rule((), Remember("approved4", 4, 60)))),
        Chain(
            "flow_out",
            (
                Rule((VersionIs(6), FlowInSet("approved6", 6)), Action.ACCEPT, Reason.ESTABLISHED_FLOW),
                Rule((Connecting(),), Forget("approved4", 4)),
                Rule((AnyFlag(("fin", "rst")),), Action.RESET, Reason.FLOW_CLOSED),
                Rule((FlowApproved(),), Action.DROP, Reason.TCP_MALFORMED),
                Rule((NotConnecting(), FlowInSet("approved4", 4)), Jump("known")),
                Rule((Known(),), Action.ACCEPT, Reason.LEARNED_ADDRESS),
                Rule((), Action.QUEUE_FLOW),
            ),
            Hook.OUTPUT,
            0,
        ),
    ),
)


@pytest.mark.parametrize(
    ("packet", "verdict", "reason"),
    [
        (out(OPEN, tcp_flags=ACK), ACCEPT, Reason.LEARNED_ADDRESS),
        (out(OPEN6, tcp_flags=ACK), ACCEPT, Reason.ESTABLISHED_FLOW),
        (out(OPEN), QUEUE, Reason.FLOW_UNJUDGED),
        (out(OPEN, tcp_flags=ACK, source_port=50_001), QUEUE, Reason.FLOW_UNJUDGED),
        (out(OPEN, tcp_flags=ACK, source_port=None), QUEUE, Reason.FLOW_UNJUDGED),
        (out(OPEN, 443, "udp"), QUEUE, Reason.FLOW_UNJUDGED),
        (out(SHUT, tcp_flags=frozenset({"fin", "ack"})), REJECT, Reason.FLOW_CLOSED),
    ],
)
def test_approved_flows_and_those_that_wait_for_the_gate(
    packet: Packet, verdict: Verdict, reason: Reason
) -> None:
    walk = trace(FLOW_RULES, packet, flows={APPROVED_FLOW, APPROVED_FLOW6})
    assert (walk.verdict, walk.reason) == (verdict, reason)
