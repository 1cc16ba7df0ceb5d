"""Rules and transactions as nft text, and listings as values. Whole policies are in tests/golden."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from isolator.core import plan
from isolator.core.compiler import EMBEDDED, LEARNED, NETWORKS, SETS, compile_policy
from isolator.model.flow import Destination, Hook, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.ruleset import (
    Action,
    AddChain,
    AddElements,
    AddRule,
    Chain,
    DeleteElements,
    Element,
    Forget,
    Jump,
    NetworkKey,
    ObservedTable,
    Operation,
    Remember,
    Rule,
    RuleAction,
    Ruleset,
    Transaction,
    VersionIs,
)
from isolator.model.verdict import Reason
from isolator.render import nft

DOOR = Destination(ip_address("192.0.2.1"), Transport.TCP, 443)
DOOR6 = Destination(ip_address("2001:db8::1"), Transport.UDP, 53)
RULES = compile_policy(Policy(IsolationScope.FULL, (), resolvers=(ip_address("192.0.2.53"),)), 7)


@pytest.mark.parametrize(
    ("element", "text"),
    [
        (Element(DOOR), "192.0.2.1 . tcp . 443"),
        (Element(DOOR6, 60), "2001:db8::1 . udp . 53 timeout 60s"),
        (Element(NetworkKey(ip_network("10.0.0.0/8"), Transport.TCP, 1)), "10.0.0.0/8 . tcp . 1"),
        (Element(ip_address("192.0.2.1"), 1), "192.0.2.1 timeout 1s"),
    ],
)
def test_element(element: Element, text: str) -> None:
    assert nft.element_text(element) == text


FLOW = "ip saddr . tcp sport . ip daddr . tcp dport"
FLOW_JSON = (
    '{"concat":[{"payload":{"field":"saddr","protocol":"ip"}},{"payload":{"field":"sport","protocol":"tcp"}},'
    '{"payload":{"field":"daddr","protocol":"ip"}},{"payload":{"field":"dport","protocol":"tcp"}}]}'
)


@pytest.mark.parametrize(
    ("action", "text", "listed"),
    [
        (Action.ACCEPT, "accept", '{"accept":null}'),
        (Action.DROP, "drop", '{"drop":null}'),
        (Action.RESET, "reject with tcp reset", '{"reject":{"type":"tcp reset"}}'),
        (
            Action.UNREACHABLE,
            "reject with icmpx admin-prohibited",
            '{"reject":{"expr":"admin-prohibited","type":"icmpx"}}',
        ),
        (
            Action.CLEAR_MARK,
            "meta mark set meta mark & 0xffcfffff",
            '{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"&":[{"meta":{"key":"mark"}},4291821567]}}}',
        ),
        (
            Action.SET_MARK,
            "meta mark set meta mark | 0x00100000",
            '{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":[{"meta":{"key":"mark"}},1048576]}}}',
        ),
        (
            Action.SET_KNOWN,
            "meta mark set meta mark & 0xffefffff | 0x00200000",
            (
                '{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":'
                '[{"&":[{"meta":{"key":"mark"}},4293918719]},2097152]}}}'
            ),
        ),
        (
            Action.PORT_UNREACHABLE,
            "reject with icmpx port-unreachable",
            '{"reject":{"expr":"port-unreachable","type":"icmpx"}}',
        ),
        (
            Remember("approved4", 4, 60),
            f"update @approved4 {{ {FLOW} timeout 60s }}",
            f'{{"set":{{"elem":{{"elem":{{"timeout":60,"val":{FLOW_JSON}}}}},"op":"update","set":"@approved4"}}}}',
        ),
        (
            Forget("approved4", 4),
            f"delete @approved4 {{ {FLOW} }}",
            f'{{"set":{{"elem":{FLOW_JSON},"op":"delete","set":"@approved4"}}}}',
        ),
        (Action.QUEUE, "queue num 7", '{"queue":{"num":7}}'),
        (Action.QUEUE_FLOW, "queue num 8", '{"queue":{"num":8}}'),
        (Jump("dns_out"), "jump dns_out", '{"jump":{"target":"dns_out"}}'),
    ],
)
def test_action(action: RuleAction, text: str, listed: str) -> None:
    assert nft.rule_text(Rule((), action), 7) == text
    assert nft.rule_json(Rule((), action), 7) == f"[{listed}]"


def test_a_rule_is_matches_then_counter_then_action() -> None:
    rule = Rule((VersionIs(4), VersionIs(6)), Action.DROP, Reason.FORWARDED)
    text = 'meta nfproto ipv4 meta nfproto ipv6 counter name "forwarded" drop'
    assert nft.rule_text(rule) == text


def _text(*operations: Operation, native_queue: bool = True) -> str:
    return nft.render_transaction(Transaction("test", operations), native_queue=native_queue)


def test_a_long_list_is_split_over_lines() -> None:
    elements = tuple(Element(replace(DOOR, port=port)) for port in range(1, 902))
    added = _text(AddElements(SETS[LEARNED[4]], elements)).splitlines()
    assert [line.count(" . tcp . ") for line in added] == [400, 400, 101]
    deleted = _text(DeleteElements(SETS[LEARNED[4]], elements)).splitlines()
    assert [line.split()[0] for line in deleted] == ["add"] * 3 + ["delete"] * 3


def test_deleting_adds_first_and_names_no_timeout() -> None:
    text = _text(DeleteElements(SETS[LEARNED[4]], (Element(DOOR, 60),)))
    assert text == (
        "add element inet isolator learned4 { 192.0.2.1 . tcp . 443 }\n"
        "delete element inet isolator learned4 { 192.0.2.1 . tcp . 443 }\n"
    )


def test_an_embedded_address_is_a_number_of_full_length() -> None:
    add4 = AddElements(SETS[EMBEDDED[4]], (Element(ip_address("0.0.2.1"), 9),))
    add6 = AddElements(SETS[EMBEDDED[6]], (Element(ip_address("::1")),))
    assert "{ 0x00000201 timeout 9s }" in _text(add4)
    assert "{ 0x" + "1".rjust(32, "0") + " }" in _text(add6)


@pytest.mark.parametrize("key", [DOOR, NetworkKey(ip_network("10.0.0.0/8"), Transport.TCP, 1)])
def test_a_door_is_no_embedded_address(key: Destination | NetworkKey) -> None:
    with pytest.raises(TypeError, match="embedded4"):
        _text(AddElements(SETS[EMBEDDED[4]], (Element(key),)))


def test_sets() -> None:
    assert nft.set_text(SETS[NETWORKS[6]]) == "type ipv6_addr . inet_proto . inet_service; flags interval;"
    assert nft.set_text(SETS[EMBEDDED[4]]) == "typeof @th,192,32; flags timeout; gc-interval 10s;"
    assert nft.set_text(SETS["dhcp4"]) == "type ipv4_addr;"


def test_a_chain_drops_unless_it_is_to_accept() -> None:
    chain = Chain("c", (), Hook.INPUT, -95)
    head = "add chain inet isolator c { type filter hook input priority -95; policy "
    assert _text(AddChain(chain)) == head + "drop; }\n"
    assert _text(AddChain(chain, accepting=True)) == head + "accept; }\n"
    assert _text(AddChain(Chain("c", ()))) == "add chain inet isolator c\n"


def test_queue_rules_are_left_to_the_caller_where_nft_has_no_such_statement() -> None:
    transaction = plan.prepare(RULES, {})
    whole = nft.render_transaction(transaction, native_queue=True)
    without = nft.render_transaction(transaction, native_queue=False)
    assert set(whole.splitlines()) - set(without.splitlines()) == {
        "add rule inet isolator dns_queue queue num 7",
        "add rule inet isolator flow_queue queue num 8",
    }
    assert nft.queue_rules(transaction) == (("dns_queue", 7), ("flow_queue", 8))
    assert nft.queue_rules(plan.arm(RULES)) == ()


def _listing(*items: dict[str, Any]) -> ObservedTable | None:
    return nft.parse_listing({"nftables": [{"metainfo": {"version": "1.0.6"}}, *items]})


TABLE = {"table": {"family": "inet", "name": "isolator", "handle": 1}}


def test_a_listing_without_the_table_is_none() -> None:
    assert _listing() is None
    assert nft.parse_listing({}) is None
    assert _listing({"table": {"family": "inet", "name": "other"}}) is None


def test_a_listing_becomes_what_was_written() -> None:
    """The values that a listing of these rules gives; handles and counts say nothing."""
    chain: dict[str, Any] = {"family": "inet", "table": "isolator", "name": "filter_forward", "handle": 9}
    hook = {"type": "filter", "hook": "forward", "prio": -95, "policy": "drop"}
    rule = {"family": "inet", "table": "isolator", "chain": "filter_forward", "handle": 12}
    forward = RULES.chain("filter_forward")
    observed = _listing(
        TABLE,
        {"counter": {"family": "inet", "name": "forwarded", "table": "isolator", "packets": 3, "bytes": 9}},
        {"set": {"name": "dhcp4", "table": "isolator", "type": "ipv4_addr", "handle": 2}},
        {
            "set": {
                "name": "networks4",
                "table": "isolator",
                "type": ["ipv4_addr", "inet_proto", "inet_service"],
                "flags": ["interval"],
            }
        },
        {"chain": {**chain, **hook}},
        {"rule": {**rule, "expr": [{"counter": "forwarded"}, {"drop": None}]}},
    )
    wanted = nft.expected_table(Ruleset((SETS["dhcp4"], SETS["networks4"]), (forward,)))
    assert observed == wanted
    assert observed is not None
    assert observed.counters == {"forwarded": 3}


@pytest.mark.parametrize(
    ("queue", "same"),
    [
        ({"num": 7}, True),
        ({"num": 7, "flags": None}, True),
        ({"num": 7, "flags": []}, True),
        ({"num": 8}, False),
        ({"num": 7, "flags": ["bypass"]}, False),
    ],
)
def test_a_bypass_or_another_queue_shows(queue: dict[str, Any], same: bool) -> None:
    chain = Chain("dns_queue", (Rule((), Action.QUEUE),))
    observed = _listing(
        TABLE,
        {"chain": {"table": "isolator", "name": "dns_queue"}},
        {"rule": {"table": "isolator", "chain": "dns_queue", "expr": [{"queue": queue}]}},
    )
    assert (observed == nft.expected_table(Ruleset((), (chain,), queue_number=7))) is same


def test_what_others_added_shows() -> None:
    wanted = nft.expected_table(Ruleset((), ()))
    observed = _listing(
        TABLE, {"map": {"name": "m", "table": "isolator", "type": "ipv4_addr", "map": "mark"}}
    )
    assert plan.drift(observed, wanted) == ("set m is missing or was changed",)


def test_a_rule_keeps_its_own_queue_number() -> None:
    rule = Rule((), Action.QUEUE)
    assert _text(AddRule("dns_queue", rule, 9)) == "add rule inet isolator dns_queue queue num 9\n"
    assert _text(AddRule("dns_queue", rule, 9), native_queue=False) == "\n"
