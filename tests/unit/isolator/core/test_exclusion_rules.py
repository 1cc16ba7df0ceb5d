"""Exclusions as rules."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from isolator.core import exclusion_rules
from isolator.core.exclusion_rules import inbound_rules, outbound_rules
from isolator.model.flow import Hook, Transport
from isolator.model.policy import Direction, Exclusion
from isolator.render.nft import rule_text

NET = ip_network("10.9.0.0/16")


@pytest.mark.parametrize(
    ("exclusion", "hook", "text"),
    [
        (
            Exclusion("a", Direction.OUT, Transport.TCP, 445, NET),
            Hook.OUTPUT,
            "ip daddr 10.9.0.0/16 tcp dport 445",
        ),
        (
            Exclusion("a", Direction.OUT, Transport.TCP, 445, NET),
            Hook.INPUT,
            "ip saddr 10.9.0.0/16 tcp sport 445 tcp flags & (syn | ack) != syn",
        ),
        (
            Exclusion("a", Direction.OUT, Transport.UDP, None, NET),
            Hook.OUTPUT,
            "ip daddr 10.9.0.0/16 meta l4proto udp",
        ),
        (
            Exclusion("a", Direction.OUT, Transport.UDP, None, NET),
            Hook.INPUT,
            "ip saddr 10.9.0.0/16 meta l4proto udp",
        ),
        (
            Exclusion("a", Direction.OUT, Transport.TCP, None, NET),
            Hook.INPUT,
            "ip saddr 10.9.0.0/16 tcp flags & (syn | ack) != syn",
        ),
        (
            Exclusion("a", Direction.OUT, Transport.UDP, 123, ip_network("::/0"), uid=7),
            Hook.OUTPUT,
            "meta nfproto ipv6 udp dport 123 meta skuid 7",
        ),
    ],
)
def test_outgoing(exclusion: Exclusion, hook: Hook, text: str) -> None:
    rules = [rule_text(rule) for rule in outbound_rules([exclusion], hook)]
    assert rules == [f'{text} counter name "exclusion" accept']
    assert list(inbound_rules([exclusion], hook)) == []


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (Hook.INPUT, "ip saddr 10.9.0.0/16 tcp dport 22"),
        (Hook.OUTPUT, "ip daddr 10.9.0.0/16 tcp sport 22 tcp flags & (syn | ack) != syn"),
    ],
)
def test_incoming(hook: Hook, text: str) -> None:
    exclusion = Exclusion("ssh", Direction.IN, Transport.TCP, 22, NET)
    assert [rule_text(rule) for rule in inbound_rules([exclusion], hook)] == [
        f'{text} counter name "exclusion" accept'
    ]
    assert list(outbound_rules([exclusion], hook)) == []


def test_an_exclusion_by_name_needs_no_rule() -> None:
    for direction in Direction:
        named = Exclusion("a", direction, Transport.TCP, 443, pattern="*.corp.example")
        for hook in (Hook.INPUT, Hook.OUTPUT):
            assert [*outbound_rules([named], hook), *inbound_rules([named], hook)] == []


def test_a_rule_without_a_network_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="names no network"):
        exclusion_rules._remote(Exclusion("a", Direction.OUT, Transport.TCP), exclusion_rules.Side.SOURCE)
