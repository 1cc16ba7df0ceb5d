"""Single matches: as nft reads them, and as it lists them (tests/netns lets the kernel be the judge)."""

from __future__ import annotations

import json
from ipaddress import IPv6Network, ip_network
from typing import get_args

import pytest

from isolator.model.flow import Hook, Transport
from isolator.model.ruleset import (
    AddressIn,
    AddressInSet,
    AnyFlag,
    AnyPortIs,
    Approved,
    Bare,
    Carries,
    Connecting,
    EmbeddedInSet,
    EndInSet,
    Extra,
    FirstAck,
    FlowApproved,
    FlowInSet,
    Fragment,
    HopLimitIs,
    IcmpIs,
    Known,
    LengthAbove,
    LengthAtMost,
    Loopback,
    Match,
    NextHopIn,
    NotConnecting,
    OnlyAck,
    PortIs,
    PortIsNone,
    Side,
    ToThisHost,
    TransportIs,
    UidIs,
    VersionIs,
    Whole,
)
from isolator.render.nft_match import match_text, matches_json

S, D = Side.SOURCE, Side.DESTINATION
TCP, UDP = Transport.TCP, Transport.UDP

TABLE: list[tuple[Match, str, str]] = [
    (Loopback(Hook.OUTPUT), 'oif "lo"', '{"meta":{"key":"oif"}} == "lo"'),
    (
        ToThisHost(),
        "fib daddr type local",
        '{"fib":{"result":"type","flags":["daddr"]}} == "local"',
    ),
    (Loopback(Hook.INPUT), 'iif "lo"', '{"meta":{"key":"iif"}} == "lo"'),
    (
        EndInSet(D, "learned4", 4),
        "ip daddr . meta l4proto . th dport @learned4",
        (
            '{"concat":[{"payload":{"protocol":"ip","field":"daddr"}},{"meta":{"key":"l4proto"}},'
            '{"payload":{"protocol":"th","field":"dport"}}]} == "@learned4"'
        ),
    ),
    (
        AddressInSet(S, "resolvers6", 6),
        "ip6 saddr @resolvers6",
        '{"payload":{"protocol":"ip6","field":"saddr"}} == "@resolvers6"',
    ),
    (
        AddressIn(S, ip_network("10.0.0.0/8")),
        "ip saddr 10.0.0.0/8",
        '{"payload":{"protocol":"ip","field":"saddr"}} == {"prefix":{"addr":"10.0.0.0","len":8}}',
    ),
    (
        AddressIn(D, ip_network("2001:db8::1/128")),
        "ip6 daddr 2001:db8::1",
        '{"payload":{"protocol":"ip6","field":"daddr"}} == "2001:db8::1"',
    ),
    (
        AddressIn(D, ip_network("::1.2.3.4/128")),
        "ip6 daddr ::102:304",
        '{"payload":{"protocol":"ip6","field":"daddr"}} == "::1.2.3.4"',
    ),
    (
        AddressIn(D, ip_network("::ffff:10.0.0.0/104")),
        "ip6 daddr ::ffff:a00:0/104",
        '{"payload":{"protocol":"ip6","field":"daddr"}} == {"prefix":{"addr":"::ffff:10.0.0.0","len":104}}',
    ),
    (
        NextHopIn(IPv6Network("fe80::/10")),
        "rt ip6 nexthop fe80::/10",
        '{"rt":{"key":"nexthop","family":"ip6"}} == {"prefix":{"addr":"fe80::","len":10}}',
    ),
    (PortIs(UDP, D, 53), "udp dport 53", '{"payload":{"protocol":"udp","field":"dport"}} == 53'),
    (TransportIs(TCP), "meta l4proto tcp", '{"meta":{"key":"l4proto"}} == "tcp"'),
    (VersionIs(6), "meta nfproto ipv6", '{"meta":{"key":"nfproto"}} == "ipv6"'),
    (
        Fragment(4),
        "ip frag-off & 0x3fff != 0",
        '{"&":[{"payload":{"protocol":"ip","field":"frag-off"}},16383]} != 0',
    ),
    (Fragment(6), "exthdr frag exists", '{"exthdr":{"name":"frag"}} == true'),
    (
        Carries(Extra.OPTIONS),
        "ip hdrlength != 5",
        '{"payload":{"protocol":"ip","field":"hdrlength"}} != 5',
    ),
    (Carries(Extra.HOP_BY_HOP), "exthdr hbh exists", '{"exthdr":{"name":"hbh"}} == true'),
    (Carries(Extra.DESTINATION), "exthdr dst exists", '{"exthdr":{"name":"dst"}} == true'),
    (Carries(Extra.ROUTING), "exthdr rt exists", '{"exthdr":{"name":"rt"}} == true'),
    (
        Whole(4),
        "ip frag-off & 0x3fff == 0",
        '{"&":[{"payload":{"protocol":"ip","field":"frag-off"}},16383]} == 0',
    ),
    (Whole(6), "exthdr frag missing", '{"exthdr":{"name":"frag"}} == false'),
    (
        NotConnecting(),
        "tcp flags & (syn | ack) != syn",
        '{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["syn","ack"]]} != "syn"',
    ),
    (
        Approved(),
        "meta mark & 0x00100000 == 0x00100000",
        '{"&":[{"meta":{"key":"mark"}},1048576]} == 1048576',
    ),
    (
        FlowApproved(),
        "meta mark & 0x00300000 == 0x00300000",
        '{"&":[{"meta":{"key":"mark"}},3145728]} == 3145728',
    ),
    (
        Known(),
        "meta mark & 0x00300000 == 0x00200000",
        '{"&":[{"meta":{"key":"mark"}},3145728]} == 2097152',
    ),
    (
        PortIsNone(UDP, D, (53, 443)),
        "udp dport != { 53, 443 }",
        '{"payload":{"protocol":"udp","field":"dport"}} != {"set":[53,443]}',
    ),
    (AnyPortIs(S, 53), "th sport 53", '{"payload":{"protocol":"th","field":"sport"}} == 53'),
    (Bare(4), "ip hdrlength 5", '{"payload":{"protocol":"ip","field":"hdrlength"}} == 5'),
    (Bare(6, Transport.TCP), "ip6 nexthdr tcp", '{"payload":{"protocol":"ip6","field":"nexthdr"}} == "tcp"'),
    (Bare(6), "ip6 nexthdr udp", '{"payload":{"protocol":"ip6","field":"nexthdr"}} == "udp"'),
    (
        OnlyAck(pushed=True),
        "tcp flags == 0x18",
        '{"payload":{"protocol":"tcp","field":"flags"}} == 24',
    ),
    (LengthAbove(1500), "meta length > 1500", '{"meta":{"key":"length"}} > 1500'),
    (OnlyAck(), "tcp flags == ack", '{"payload":{"protocol":"tcp","field":"flags"}} == "ack"'),
    (
        Connecting(),
        "tcp flags & (syn | ack) == syn",
        '{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["syn","ack"]]} == "syn"',
    ),
    (
        AnyFlag(("psh",)),
        "tcp flags & (psh) != 0",
        '{"payload":{"protocol":"tcp","field":"flags"}} in "psh"',
    ),
    (
        AnyFlag(("fin", "rst")),
        "tcp flags & (fin | rst) != 0",
        '{"payload":{"protocol":"tcp","field":"flags"}} in ["fin","rst"]',
    ),
    (
        FlowInSet("approved6", 6),
        "ip6 saddr . tcp sport . ip6 daddr . tcp dport @approved6",
        (
            '{"concat":[{"payload":{"protocol":"ip6","field":"saddr"}},'
            '{"payload":{"protocol":"tcp","field":"sport"}},'
            '{"payload":{"protocol":"ip6","field":"daddr"}},'
            '{"payload":{"protocol":"tcp","field":"dport"}}]} == "@approved6"'
        ),
    ),
    (
        IcmpIs(6, (135, 136)),
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }",
        (
            '{"payload":{"protocol":"icmpv6","field":"type"}} =='
            ' {"set":["nd-neighbor-solicit","nd-neighbor-advert"]}'
        ),
    ),
    (
        IcmpIs(6, (2,)),
        "icmpv6 type packet-too-big",
        '{"payload":{"protocol":"icmpv6","field":"type"}} == "packet-too-big"',
    ),
    (
        EmbeddedInSet("embedded4", 4),
        "@th,192,32 @embedded4",
        '{"payload":{"base":"th","offset":192,"len":32}} == "@embedded4"',
    ),
    (
        EmbeddedInSet("embedded6", 6),
        "@th,256,128 @embedded6",
        '{"payload":{"base":"th","offset":256,"len":128}} == "@embedded6"',
    ),
    (HopLimitIs(255), "ip6 hoplimit 255", '{"payload":{"protocol":"ip6","field":"hoplimit"}} == 255'),
    (LengthAtMost(80), "meta length <= 80", '{"meta":{"key":"length"}} <= 80'),
    (UidIs(0), "meta skuid 0", '{"meta":{"key":"skuid"}} == 0'),
]


def _json(compared: str) -> dict[str, object]:
    left, op, right = next(
        compared.partition(f" {op} ") for op in ("==", "!=", "<=", ">", "in") if f" {op} " in compared
    )
    return {"match": {"op": op.strip(), "left": json.loads(left), "right": json.loads(right)}}


@pytest.mark.parametrize(("match", "text", "listed"), TABLE, ids=[row[1] for row in TABLE])
def test_text_and_listing(match: Match, text: str, listed: str) -> None:
    assert match_text(match) == text
    assert matches_json(match) == [_json(listed)]


def test_an_icmp_code_is_a_comparison_of_its_own() -> None:
    match = IcmpIs(4, (3,), 4)
    assert match_text(match) == "icmp type destination-unreachable icmp code frag-needed"
    assert matches_json(match) == [
        _json('{"payload":{"protocol":"icmp","field":"type"}} == "destination-unreachable"'),
        _json('{"payload":{"protocol":"icmp","field":"code"}} == "frag-needed"'),
    ]


def test_the_table_has_every_kind_of_match() -> None:
    # The one that is missing becomes several, see below.
    assert {type(row[0]) for row in TABLE} == set(get_args(Match)) - {FirstAck}


def test_an_icmp_type_without_a_name_cannot_be_written() -> None:
    with pytest.raises(KeyError):
        match_text(IcmpIs(4, (8,)))


@pytest.mark.parametrize(
    ("version", "timestamps", "length", "words"),
    [(4, True, 52, 8), (4, False, 40, 5), (6, True, 32, 8), (6, False, 20, 5)],
)
def test_a_first_acknowledgement_is_told_by_its_length(
    version: int, timestamps: bool, length: int, words: int
) -> None:
    match = FirstAck("begun", version, timestamps)
    family = {4: "ip", 6: "ip6"}[version]
    ends = f"{family} saddr . tcp sport . {family} daddr . tcp dport @begun"
    bare = "" if version == 4 else " ip6 nexthdr tcp"
    assert match_text(match) == f"tcp flags == ack {family} length {length}{bare} tcp doff {words} {ends}"
    listed = [each["match"]["right"] for each in matches_json(match)]
    assert listed == ["ack", length, *(["tcp"] if bare else []), words, "@begun"]
