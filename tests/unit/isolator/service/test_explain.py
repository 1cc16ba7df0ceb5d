"""Why a destination is open or shut."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from allowlists.model import Entry, Match, Protocol
from isolator.core.compiler import compile_policy
from isolator.model.flow import Destination, Hook, LearnedAddress, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import AllowedNetwork, ControlEndpoint, Policy, ProxyEndpoint
from isolator.model.ruleset import Chain, Ruleset
from isolator.model.verdict import Reason, Verdict
from isolator.service.destination import parse_destination
from isolator.service.explain import Explanation, Rules, explain
from isolator.service.policy_builder import EXCLUSION_LIST

POLICY = Policy(
    IsolationScope.FULL,
    entries=(
        Entry(1, "*.svc.test", "*.svc.test", Match.SUBDOMAINS, list_id="l"),
        Entry(2, "crl.test", "crl.test", port=80, list_id="l"),
        Entry(4, "pki.test", "pki.test", port=80, path="/pki/*", list_id="l"),
        Entry(5, "both.test", "both.test", port=443, extra_ports=(80, 8443), list_id="l"),
        Entry(6, "turn.test", "turn.test", port=443, extra_ports=(3478,), protocol=Protocol.UDP, list_id="l"),
        Entry(1, "shell.test", "shell.test", port=22, list_id=EXCLUSION_LIST),
    ),
    networks=(AllowedNetwork(ip_network("20.15.141.0/24"), Transport.TCP, 443, "l#3"),),
    resolvers=(ip_address("192.0.2.53"),),
    control=(ControlEndpoint(8443, address=ip_address("198.51.100.9")),),
    proxies=(ProxyEndpoint(ip_address("20.15.141.8"), 3128),),
)


def learned(address: str, port: int, name: str, entry: str, by: Transport = Transport.TCP) -> LearnedAddress:
    return LearnedAddress(Destination(ip_address(address), by, port), name, entry, 60.0)


LEARNED = (
    learned("20.1.1.1", 443, "a.svc.test", "l#1"),
    learned("20.1.1.1", 443, "z.svc.test", "l#1"),
    learned("20.1.1.3", 80, "crl.test", "l#2"),
    learned("20.1.1.6", 3478, "turn.test", "l#6", Transport.UDP),
    learned("20.1.1.22", 22, "shell.test", f"{EXCLUSION_LIST}#1"),
    learned("20.15.141.7", 443, "in-network.svc.test", "l#1"),
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
        ("udp://turn.test:443", Verdict.REJECT, Reason.QUIC_REFUSED, "l#6"),
        ("udp://turn.test:3478", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "l#6"),
        ("udp://turn.test", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "l#6"),
        ("tcp://shell.test:22", Verdict.ACCEPT, Reason.LEARNED_ADDRESS, "exclusion#1"),
        ("in-network.svc.test", Verdict.ACCEPT, Reason.LISTED_NETWORK, "l#1"),
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


PROXY = "20.15.141.8:3128"
TLS, HOST, CONNECT, URL = "tls_server_name", "http_host", "proxy_connect", "proxy_url"
NOTHING, REFUSED, DNS = "nothing", "refused", "dns_question"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.svc.test", [("tcp/443", TLS, None), ("tcp/443", CONNECT, PROXY), ("udp/443", REFUSED, None)]),
        ("tcp://a.svc.test:443", [("tcp/443", TLS, None), ("tcp/443", CONNECT, PROXY), ("udp/443", REFUSED, None)]),
        ("crl.test", [("tcp/80", HOST, None), ("tcp/80", URL, PROXY)]),
        ("tcp://both.test:8443", [("tcp/8443", TLS, None), ("tcp/8443", CONNECT, PROXY)]),
        (
            "both.test",
            [
                ("tcp/443", TLS, None), ("tcp/80", HOST, None), ("tcp/8443", TLS, None),
                ("tcp/443", CONNECT, PROXY), ("tcp/80", URL, PROXY), ("tcp/8443", CONNECT, PROXY),
                ("udp/443", REFUSED, None),
            ],
        ),
        ("udp://turn.test", [("udp/443", REFUSED, None), ("udp/3478", NOTHING, None)]),
        ("shell.test", [("tcp/22", NOTHING, None), ("tcp/22", CONNECT, PROXY)]),
        ("tcp://in-network.svc.test:443", [("tcp/443", NOTHING, None), ("tcp/443", CONNECT, PROXY), ("udp/443", REFUSED, None)]),
        ("evil.test", []),
        ("tcp://a.svc.test:22", []),
        ("20.1.1.1", [("tcp/443", TLS, None)]),
        ("20.1.1.3:80", [("tcp/80", HOST, None)]),
        ("20.1.1.22:22", [("tcp/22", NOTHING, None)]),
        ("udp://20.1.1.6:3478", [("udp/3478", NOTHING, None)]),
        ("udp://20.1.1.1:443", [("udp/443", REFUSED, None)]),
        ("93.184.216.34", [("tcp/443", REFUSED, None)]),
        ("20.15.141.9", [("tcp/443", NOTHING, None)]),
        (f"tcp://{PROXY}", [("tcp/3128", CONNECT, None), ("tcp/3128", URL, None)]),
        ("udp://192.0.2.53:53", [("udp/53", DNS, None)]),
    ],
)  # fmt: skip
def test_what_a_connection_has_to_say_first(text: str, expected: list[tuple[str, str, str | None]]) -> None:
    found = ask(text).first_bytes
    assert [(each.at, each.how.value, each.through) for each in found] == expected
    assert all(each.sentence and "\n" not in each.sentence for each in found)


def test_the_name_to_say_is_in_the_words() -> None:
    direct, proxied, quic = ask("a.svc.test").first_bytes
    assert direct.sentence == "the TLS hello has to name a.svc.test (server name, SNI)"
    assert proxied.sentence == "CONNECT a.svc.test:443, then a TLS hello that names it"
    assert "fall back to TCP" in quic.sentence
    assert (
        "each request has to name pki.test in Host and ask for /pki/*"
        in ask("pki.test").first_bytes[0].sentence
    )
    assert "to connections that name it first" in ask("b.svc.test").sentence


def test_an_address_tells_for_which_names_it_was_learned() -> None:
    assert (
        ask("20.1.1.1")
        .first_bytes[0]
        .sentence.endswith(
            "has to name (server name, SNI) a.svc.test, z.svc.test, or what else the same entries cover"
        )
    )
    many = tuple(learned("20.1.1.1", 443, f"{n}.svc.test", "l#1") for n in range(9))
    found = explain(replace(RULES, learned=many), parse_destination("20.1.1.1"))
    assert "3.svc.test, 4.svc.test, ..., or what else" in found.first_bytes[0].sentence


def test_a_listed_quic_name_is_said_to_be_shut() -> None:
    sentence = ask("udp://turn.test:443").sentence
    assert "but udp/443 is shut" in sentence
    assert "fall back to TCP" in sentence


def test_many_paths_are_not_all_shown() -> None:
    entries = tuple(Entry(n, "p.test", "p.test", port=80, path=f"/{n}/*", list_id="l") for n in range(9))
    policy = replace(POLICY, entries=entries)
    found = explain(replace(RULES, policy=policy), parse_destination("p.test"))
    assert found.first_bytes[0].sentence.endswith("/3/* or /4/* or ...")
