"""From policy to ruleset: what holds for its shape. What it does with packets is in test_trace."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from isolator.core.compiler import (
    CONTROL,
    DHCP,
    FILTER_PRIORITY,
    FLOW_QUEUE_CHAIN,
    GATE_PRIORITY,
    LEARNED,
    NETWORKS,
    PROXIES,
    QUEUE_CHAIN,
    RESOLVERS,
    SEEN,
    SETS,
    compile_policy,
)
from isolator.model.flow import Destination, Hook, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import AllowedNetwork, ControlEndpoint, DhcpServer, Policy
from isolator.model.ruleset import Action, Approved, Element, FlowApproved, Jump, NetworkKey
from tests.golden.transactions import FULL, POLICIES, SELECTIVE

BARE = Policy(IsolationScope.FULL, ())
TCP, UDP = Transport.TCP, Transport.UDP


def allowed(*texts: str, transport: Transport = TCP, port: int = 443) -> tuple[AllowedNetwork, ...]:
    return tuple(AllowedNetwork(ip_network(text), transport, port, "own#1") for text in texts)


def network_texts(policy: Policy, version: int = 4) -> list[str]:
    elements = compile_policy(policy, 1).contents[NETWORKS[version]]
    keys = [element.key for element in elements]
    return [f"{key.network} {key.transport.value} {key.port}" for key in keys if isinstance(key, NetworkKey)]


@pytest.mark.parametrize(
    ("networks", "texts"),
    [
        (allowed("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"), ["10.0.0.0/8 tcp 443"]),
        (allowed("10.1.0.0/16", "10.0.0.0/8"), ["10.0.0.0/8 tcp 443"]),
        (allowed("10.0.0.0/9", "10.128.0.0/9"), ["10.0.0.0/8 tcp 443"]),
        (allowed("10.0.0.0/8") * 2, ["10.0.0.0/8 tcp 443"]),
        (
            (*allowed("10.0.0.0/8"), *allowed("10.1.0.0/16", port=80)),
            ["10.0.0.0/8 tcp 443", "10.1.0.0/16 tcp 80"],
        ),
        (
            (*allowed("10.0.0.0/8"), *allowed("10.1.0.0/16", transport=UDP)),
            ["10.0.0.0/8 tcp 443", "10.1.0.0/16 udp 443"],
        ),
    ],
    ids=["nested", "wider one later", "neighbours", "twice", "other port", "other transport"],
)
def test_networks_at_one_port_do_not_overlap(networks: tuple[AllowedNetwork, ...], texts: list[str]) -> None:
    assert network_texts(replace(BARE, networks=networks)) == texts


def test_the_families_do_not_mix() -> None:
    policy = replace(BARE, networks=allowed("10.0.0.0/8", "2001:db8::/32"))
    assert network_texts(policy, 4) == ["10.0.0.0/8 tcp 443"]
    assert network_texts(policy, 6) == ["2001:db8::/32 tcp 443"]


def test_what_a_policy_gives_by_address_is_in_the_sets() -> None:
    a4, a6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
    policy = replace(
        BARE,
        resolvers=(a4, a6, a4),
        control=(ControlEndpoint(8443, address=a4), ControlEndpoint(8443, host="named.example")),
        dhcp_servers=(DhcpServer(a6),),
    )
    assert compile_policy(policy, 1).contents == {
        RESOLVERS[4]: (Element(a4),),
        RESOLVERS[6]: (Element(a6),),
        CONTROL[4]: (Element(Destination(a4, TCP, 8443)),),
        DHCP[6]: (Element(a6), Element(ip_address("ff02::1:2"))),
    }


def test_nothing_given_nothing_held() -> None:
    assert compile_policy(BARE, 1).contents == {}


def test_the_same_policy_gives_the_same_ruleset() -> None:
    assert compile_policy(SELECTIVE, 1) == compile_policy(SELECTIVE, 1)


def test_rules_do_not_grow_with_the_list() -> None:
    assert compile_policy(FULL, 1).chains == compile_policy(replace(BARE, resolvers=()), 1).chains


def test_the_gate_comes_before_the_filter_and_every_hook_has_a_filter() -> None:
    based = [chain for chain in compile_policy(FULL, 1).chains if chain.hook is not None]
    assert {(chain.hook, chain.priority) for chain in based} == {
        (Hook.OUTPUT, GATE_PRIORITY),
        (Hook.INPUT, GATE_PRIORITY),
        *((hook, FILTER_PRIORITY) for hook in Hook),
    }
    assert GATE_PRIORITY < FILTER_PRIORITY < 0


@pytest.mark.parametrize("name", POLICIES)
def test_every_rule_of_a_filter_chain_is_counted_and_the_last_matches_all(name: str) -> None:
    for chain in compile_policy(POLICIES[name], 1).chains:
        if not chain.name.startswith("filter_"):
            continue
        assert all(rule.reason or isinstance(rule.action, Jump) for rule in chain.rules)
        assert chain.rules[-1].matches == ()
        assert chain.rules[-1].action is not Action.ACCEPT


@pytest.mark.parametrize("name", POLICIES)
def test_every_set_and_chain_that_a_rule_names_is_there(name: str) -> None:
    ruleset = compile_policy(POLICIES[name], 1)
    for rule in (rule for chain in ruleset.chains for rule in chain.rules):
        if isinstance(rule.action, Jump):
            assert ruleset.chain(rule.action.chain).hook is None
        for match in rule.matches:
            named = getattr(match, "set_name", None)
            assert named is None or named in SETS


@pytest.mark.parametrize("name", POLICIES)
def test_the_mark_alone_opens_nothing(name: str) -> None:
    for chain in compile_policy(POLICIES[name], 1).chains:
        for rule in chain.rules:
            if Approved() in rule.matches:
                names = {getattr(match, "set_name", None) for match in rule.matches} - {None}
                assert names <= {*LEARNED.values(), *SEEN.values(), *RESOLVERS.values(), *PROXIES.values()}
                assert names
            if FlowApproved() in rule.matches:
                assert rule.action == Jump("flow_new")


@pytest.mark.parametrize(
    ("action", "chain"), [(Action.QUEUE, QUEUE_CHAIN), (Action.QUEUE_FLOW, FLOW_QUEUE_CHAIN)]
)
def test_each_queue_is_fed_by_one_rule_of_one_chain(action: Action, chain: str) -> None:
    ruleset = compile_policy(FULL, 9)
    feeding = [each.name for each in ruleset.chains for rule in each.rules if rule.action is action]
    assert feeding == [chain]
    assert ruleset.queue_number == 9
