"""What holds for every policy and every packet."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address

from hypothesis import given
from hypothesis import strategies as st

from isolator.core import plan
from isolator.core.compiler import QUEUE_CHAINS, SETS, compile_policy
from isolator.core.policy_document import decode_policy, encode_policy
from isolator.core.trace import trace
from isolator.model.flow import Address, Destination, Hook, Packet, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import (
    AllowedNetwork,
    ControlEndpoint,
    DhcpServer,
    Direction,
    Exclusion,
    Policy,
)
from isolator.model.ruleset import NetworkKey
from isolator.model.verdict import Verdict
from isolator.render.nft import expected_table
from tests.fakes.filter_backend import FakeFilterBackend

# Few values, so that packets meet what policies open.
V4 = st.sampled_from([ip_address(f"20.0.{a}.{b}") for a in (0, 1) for b in (1, 2, 53)])
V6 = st.sampled_from([ip_address(f"2603:10::{a:x}:{b:x}") for a in (0, 1) for b in (1, 2, 0x53)])
ADDRESSES: st.SearchStrategy[Address] = st.one_of(V4, V6)
PORTS = st.sampled_from([22, 53, 67, 68, 80, 443, 546, 547])
TRANSPORTS = st.sampled_from(list(Transport))


@st.composite
def networks(draw: st.DrawFn) -> IPv4Network | IPv6Network:
    address = draw(ADDRESSES)
    if address.version == 4:
        return IPv4Network((address, draw(st.sampled_from([16, 24, 31, 32]))), strict=False)
    return IPv6Network((address, draw(st.sampled_from([32, 112, 128]))), strict=False)


ALLOWED = st.builds(AllowedNetwork, networks(), TRANSPORTS, PORTS, st.just("l#1"))
CONTROL = st.builds(ControlEndpoint, PORTS, st.none(), ADDRESSES)
EXCLUSIONS = st.builds(
    Exclusion,
    st.just("x"),
    st.sampled_from(list(Direction)),
    TRANSPORTS,
    st.one_of(st.none(), PORTS),
    networks(),
    st.none(),
    st.none(),
)
POLICIES = st.builds(
    Policy,
    st.sampled_from(list(IsolationScope)),
    st.just(()),
    st.lists(ALLOWED, max_size=3).map(tuple),
    st.lists(ADDRESSES, max_size=2, unique=True).map(tuple),
    st.lists(CONTROL, max_size=2).map(tuple),
    st.lists(EXCLUSIONS, max_size=2).map(tuple),
    st.lists(st.builds(DhcpServer, ADDRESSES), max_size=1).map(tuple),
)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    family = draw(st.sampled_from([V4, V6]))
    protocol = draw(st.sampled_from(["tcp", "udp", "icmp", "icmpv6", "gre", "esp"]))
    ported = protocol in ("tcp", "udp")
    return Packet(
        hook=draw(st.sampled_from(list(Hook))),
        source=draw(family),
        destination=draw(family),
        protocol=protocol,
        source_port=draw(PORTS) if ported else None,
        destination_port=draw(PORTS) if ported else None,
        loopback=draw(st.booleans()),
        approved=draw(st.booleans()),
        tcp_flags=draw(st.frozensets(st.sampled_from(["syn", "ack", "rst"])))
        if protocol == "tcp"
        else frozenset(),
        icmp_type=draw(st.sampled_from([2, 3, 8, 134, 135, 136])) if "icmp" in protocol else None,
        icmp_code=draw(st.sampled_from([0, 3, 4])) if "icmp" in protocol else None,
        embedded=draw(st.one_of(st.none(), ADDRESSES)),
        hop_limit=draw(st.sampled_from([64, 255])),
        length=draw(st.sampled_from([60, 80, 1500])),
        fragment=draw(st.booleans()),
        gateway=draw(st.one_of(st.none(), st.just(ip_address("fe80::1")))),
    )


@given(POLICIES, packets())
def test_every_walk_ends_in_a_verdict_with_a_reason(policy: Policy, packet: Packet) -> None:
    for gate in (None, Verdict.ACCEPT, Verdict.DROP):
        walk = trace(compile_policy(policy, 1), packet, gate=gate)
        assert walk.verdict in Verdict
        assert walk.reason


def _opened(policy: Policy, door: Destination) -> bool:
    networks = [(n.network, n.transport, n.port) for n in policy.networks]
    return any(
        (transport, port) == (door.transport, door.port)
        and network.version == door.address.version
        and door.address in network
        for network, transport, port in networks
    ) or any(
        (endpoint.address, endpoint.port) == (door.address, door.port) and door.transport is Transport.TCP
        for endpoint in policy.control
    )


@given(POLICIES, packets())
def test_nothing_leaves_that_the_policy_does_not_open(policy: Policy, packet: Packet) -> None:
    """Full isolation, written anew in a few lines, agrees with the rules on TCP and UDP."""
    policy = replace(policy, exclusions=())
    packet = replace(packet, loopback=False, hook=Hook.OUTPUT, fragment=False)
    if packet.destination_port is None:
        return
    door = Destination(packet.destination, Transport(packet.protocol), packet.destination_port)
    dhcp = (packet.source_port, packet.destination_port) == (
        {4: 68, 6: 546}[door.address.version],
        {4: 67, 6: 547}[door.address.version],
    )
    renewal = dhcp and packet.protocol == "udp" and door.address in [s.address for s in policy.dhcp_servers]
    resolver = packet.protocol == "udp" and door.port == 53 and door.address in policy.resolvers
    walk = trace(compile_policy(policy, 1), packet)
    if resolver:
        assert walk.verdict is Verdict.QUEUE
    else:
        assert (walk.verdict is Verdict.ACCEPT) == (_opened(policy, door) or renewal)


@given(POLICIES, packets())
def test_no_mark_that_a_packet_brings_opens_anything(policy: Policy, packet: Packet) -> None:
    rules = compile_policy(policy, 1)
    plain, marked = replace(packet, approved=False), replace(packet, approved=True)
    assert trace(rules, marked).verdict is trace(rules, plain).verdict


@given(POLICIES, ADDRESSES, packets())
def test_dns_that_nobody_judged_never_passes(policy: Policy, resolver: Address, packet: Packet) -> None:
    """Whatever entries and exclusions say, and with the rule that feeds the queue in place or gone."""
    rules = compile_policy(replace(policy, resolvers=(resolver,)), 1)
    unfed = tuple(replace(each, rules=()) if each.name in QUEUE_CHAINS else each for each in rules.chains)
    dns = replace(packet, protocol="udp", loopback=False, tcp_flags=frozenset())
    query = replace(dns, hook=Hook.OUTPUT, destination=resolver, destination_port=53, source_port=40_000)
    answer = replace(dns, hook=Hook.INPUT, source=resolver, source_port=53, destination_port=40_000)
    for each in (query, answer):
        assert trace(replace(rules, chains=unfed), each).verdict in (Verdict.DROP, Verdict.REJECT)
        assert trace(rules, each, gate=Verdict.DROP).verdict is Verdict.DROP


@given(POLICIES, packets())
def test_no_fragment_leaves_and_none_comes_in_from_outside(policy: Policy, packet: Packet) -> None:
    if packet.loopback and packet.hook is not Hook.FORWARD:
        return
    walk = trace(compile_policy(policy, 1), replace(packet, fragment=True), gate=Verdict.DROP)
    assert walk.verdict in (Verdict.DROP, Verdict.REJECT)


@given(POLICIES, packets())
def test_neighbour_discovery_goes_through_no_gateway(policy: Policy, packet: Packet) -> None:
    away = replace(
        packet, hook=Hook.OUTPUT, protocol="icmpv6", loopback=False, gateway=ip_address("fe80::1"),
        source_port=None, destination_port=None, tcp_flags=frozenset(),
    )  # fmt: skip
    assert trace(compile_policy(policy, 1), away).verdict is not Verdict.ACCEPT


@given(POLICIES, packets())
def test_nothing_is_forwarded_and_no_connection_comes_in_uninvited(policy: Policy, packet: Packet) -> None:
    rules = compile_policy(replace(policy, exclusions=()), 1)
    assert trace(rules, replace(packet, hook=Hook.FORWARD)).verdict is Verdict.DROP
    syn = replace(
        packet, hook=Hook.INPUT, protocol="tcp", source_port=443, destination_port=22,
        tcp_flags=frozenset({"syn"}), loopback=False,
    )  # fmt: skip
    assert trace(rules, syn).verdict is Verdict.DROP


@given(POLICIES, POLICIES)
def test_an_update_reaches_exactly_the_wanted_rules(before: Policy, after: Policy) -> None:
    was, wanted = compile_policy(before, 1), compile_policy(after, 1)
    kernel = FakeFilterBackend()
    kernel.apply(plan.replace(was, {}))
    kernel.apply(plan.update(was, wanted))
    assert plan.drift(kernel.observe(), expected_table(wanted)) == ()
    for name, spec in SETS.items():
        assert {e.key for e in kernel.elements(spec)} == {e.key for e in wanted.contents.get(name, ())}


@given(POLICIES)
def test_a_policy_survives_the_journal(policy: Policy) -> None:
    assert decode_policy(json.loads(json.dumps(encode_policy(policy)))) == policy


@given(POLICIES)
def test_network_elements_at_one_port_never_overlap(policy: Policy) -> None:
    """The kernel refuses a set whose intervals overlap."""
    for elements in compile_policy(policy, 1).contents.values():
        keys = [element.key for element in elements if isinstance(element.key, NetworkKey)]
        for one in keys:
            for other in keys:
                if one is not other and (one.transport, one.port) == (other.transport, other.port):
                    assert not one.network.overlaps(other.network)
