"""Why a destination is open or shut."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from allowlists.model import Entry, Match
from isolator.core.compiler import compile_policy
from isolator.model.flow import Destination, Hook, LearnedAddress, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import AllowedNetwork, ControlEndpoint, Policy, ProxyEndpoint
from isolator.model.ruleset import Chain, Ruleset
from isolator.model.verdict import Reason, Verdict
from isolator.service.destination import parse_destination
from isolator.service.explain import Explanation, Rules, explain

POLICY = Policy(
    IsolationScope.FULL,
    entries=(
        Entry(1, "*.svc.test", "*.svc.test", Match.SUBDOMAINS, list_id="l"),
        Entry(2, "crl.test", "crl.test", port=80, list_id="l"),
    ),
    networks=(AllowedNetwork(ip_network("20.15.141.0/24"), Transport.TCP, 443, "l#3"),),
    resolvers=(ip_address("192.0.2.53"),),
    control=(ControlEndpoint(8443, address=ip_address("198.51.100.9")),),
    proxies=(ProxyEndpoint(ip_address("20.15.141.8"), 3128),),
)
LEARNED = (
    LearnedAddress(Destination(ip_address("20.1.1.1"), Transport.TCP, 443), "a.svc.test", "l#1", 60.0),
)
OWN = (ip_address("192.0.2.10"),)
RULES = Rules(POLICY, compile_policy(POLICY, 1), LEARNED, OWN, now=0.0)


def ask(text: str) -> Explanation:
    return explain(RULES, parse_destination(text))


@pytest.mark.parametrize(
    ("text", "verdict", "reason", "entry"),
    [
        ("tcp://a.svc.test:443", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "l#1"),
        ("b.c.svc.test", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "l#1"),
        ("svc.test", Verdict.REJECT, Reason.DNS_NAME_NOT_ALLOWED, None),
        ("evil.test", Verdict.REJECT, Reason.DNS_NAME_NOT_ALLOWED, None),
        ("tcp://a.svc.test:22", Verdict.REJECT, Reason.NOT_LISTED, "l#1"),
        ("udp://20.1.1.1:443", Verdict.REJECT, Reason.QUIC_REFUSED, None),
        ("udp://a.svc.test:443", Verdict.REJECT, Reason.NOT_LISTED, "l#1"),
        ("tcp://crl.test:80", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "l#2"),
        ("tcp://20.1.1.1:443", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "l#1"),
        ("20.1.1.1", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "l#1"),
        ("tcp://20.1.1.1:22", Verdict.REJECT, Reason.NOT_LISTED, None),
        ("20.15.141.9", Verdict.ACCEPT, Reason.LISTED_NETWORK, "l#3"),
        ("tcp://198.51.100.9:8443", Verdict.ACCEPT, Reason.CONTROL_CHANNEL, None),
        ("20.15.141.8:3128", Verdict.ACCEPT, Reason.PROXY, None),
        ("udp://20.15.141.8:3128", Verdict.REJECT, Reason.NOT_LISTED, None),
        ("127.0.0.1", Verdict.ACCEPT, Reason.LOOPBACK, None),
        ("192.0.2.10", Verdict.ACCEPT, Reason.LOOPBACK, None),
        ("93.184.216.34", Verdict.REJECT, Reason.NOT_LISTED, None),
        ("2606:2800::1", Verdict.REJECT, Reason.NOT_LISTED, None),
        ("udp://192.0.2.99:53", Verdict.REJECT, Reason.RESOLVER_NOT_APPROVED, None),
    ],
)
def test_verdict_reason_and_entry(text: str, verdict: Verdict, reason: Reason, entry: str | None) -> None:
    found = ask(text)
    assert (found.verdict, found.reason, found.entry) == (verdict, reason, entry)
    assert found.rule
    assert found.sentence
    assert "\n" not in found.sentence


def test_a_shared_address_is_said_to_need_a_name() -> None:
    assert "to connections with a server name that is listed" in ask("tcp://20.1.1.1:443").sentence
    assert "QUIC" in ask("udp://20.1.1.1:443").sentence


def test_a_resolver_is_said_to_be_one() -> None:
    assert "resolver" in ask("udp://192.0.2.53:53").sentence


def test_a_proxy_is_said_to_need_a_request() -> None:
    sentence = ask("tcp://20.15.141.8:3128").sentence
    assert "CONNECT" in sentence
    assert "listed host" in sentence


def test_a_name_shows_the_addresses_it_has_now() -> None:
    assert ask("a.svc.test").addresses == ("20.1.1.1",)
    assert "no address learned yet" in ask("b.svc.test").sentence


def test_the_deciding_rule_is_shown_as_nft_has_it() -> None:
    assert (
        '@learned4 meta l4proto tcp ip frag-off & 0x3fff == 0 counter name "learned_address" accept'
        in ask("a.svc.test").rule
    )
    assert 'counter name "not_listed" reject' in ask("93.184.216.34").rule


def test_a_shut_port_names_the_open_ones() -> None:
    assert "only for tcp/443" in ask("tcp://a.svc.test:22").sentence


def test_the_end_of_a_chain_is_shown_as_its_policy() -> None:
    bare = Ruleset((), (Chain("filter_output", (), Hook.OUTPUT, 0),))
    found = explain(replace(RULES, ruleset=bare), parse_destination("93.184.216.34"))
    assert (found.verdict, found.rule) == (Verdict.DROP, "filter_output: policy drop")
