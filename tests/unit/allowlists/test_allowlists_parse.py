from __future__ import annotations

from ipaddress import ip_network

import pytest

from allowlists.model import (
    Change,
    ChangeKind,
    Entry,
    KnownHost,
    ListError,
    Match,
    Protocol,
    Source,
    StaticPrefix,
)
from allowlists.parse import parse_list

HEAD = "header: {list_id: mine}\n"
CHANGES = HEAD + "entries: [{pattern: a.b}]\nchanges:\n"


def test_the_least_a_list_needs() -> None:
    each = parse_list(
        HEAD + "entries:\n- pattern: a.example\n- {pattern: 192.0.2.0/24, port: 8443}\n", "f.yaml"
    )
    assert each.entries == (
        Entry(n=1, pattern="a.example", host="a.example", list_id="mine", line=3),
        Entry(
            n=2,
            pattern="192.0.2.0/24",
            host="192.0.2.0/24",
            match=Match.NETWORK,
            network=ip_network("192.0.2.0/24"),
            port=8443,
            list_id="mine",
            line=4,
        ),
    )
    assert (each.version, each.as_of, each.networks, each.changes, each.sources) == (
        "undated",
        "",
        (),
        (),
        (),
    )
    entry = each.entries[0]
    assert (entry.port, entry.protocol, entry.geography, entry.os) == (443, Protocol.TCP, "WW", ())
    assert (entry.required, entry.isolation, entry.apex) == (True, True, False)


FULL = """\
header:
  list_id: full
  name: A list
  cloud: commercial
  as_of: 2024-12
  known_until: 2025-12
  count: 2
  sources:
    A: {what: a page, where: there, commit: null, date: 2024-12-01}
entries:
- n: 5
  sheet_row: 6
  pattern: '*.a.example/x'
  host: '*.a.example'
  path: /x
  match: subdomains
  port: 80
  extra_ports: [443, 8080]
  protocol: udp
  scheme: http
  table: core
  service: S
  category: C
  purpose: P
  geography: US
  os: [windows, linux]
  required: null
  isolation: false
  isolation_reason: because
  apex: true
  bare_host_in_use: {host: a.example, source: A}
  known_hosts:
  - b.a.example
  - {host: a.example, geography: EU, source: A}
  source: [A]
  notes: N
  certainty: sure
  alternatives: [x]
  spellings: [y]
- n: 6
  pattern: '*.a.example'
  bare_host_in_use: {host: a.example}
  duplicate_of: 5
  os: null
networks:
- name: Tag
  as_of: 2024-12-31
  geography: US
  isolation: false
  prefixes: [192.0.2.0/28]
- name: Tag
  as_of: 2025-07-22
  prefixes: ['2001:db8::/48']
  port: 8443
  protocol: udp
changes:
- date: 2025-04-07
  dated: in spring
  change: removed
  n: 6
  notes: gone
  source: A
- date: 2025-05-01
  change: added
  entry: {n: 7, pattern: b.example}
removed_earlier: [whatever]
service_tags: {x: [y]}
"""


def test_everything_a_list_may_say() -> None:
    each = parse_list(FULL, "f.yaml")
    facts = (KnownHost("b.a.example"), KnownHost("a.example", "EU", ("A",)))
    first, second = each.entries
    assert first == Entry(
        n=5,
        pattern="*.a.example/x",
        host="*.a.example",
        match=Match.SUBDOMAINS,
        port=80,
        extra_ports=(443, 8080),
        protocol=Protocol.UDP,
        path="/x",
        scheme="http",
        service="S",
        category="C",
        purpose="P",
        geography="US",
        os=("windows", "linux"),
        required=None,
        isolation=False,
        isolation_reason="because",
        apex=True,
        known_hosts=("b.a.example", "a.example"),
        known_host_facts=facts,
        source=("A",),
        notes="N",
        certainty="sure",
        list_id="full",
        line=11,
    )
    assert (second.apex, second.duplicate_of, second.os) == (True, 5, ())
    assert each.sources == (Source("A", "a page", "there", "", "2024-12-01"),)
    assert (each.name, each.cloud, each.version, each.known_until) == (
        "A list",
        "commercial",
        "2024-12",
        "2025-12",
    )
    assert each.networks == (StaticPrefix(ip_network("192.0.2.0/28"), "Tag", "US", as_of="2024-12-31"),)
    later = StaticPrefix(
        ip_network("2001:db8::/48"), "Tag", "WW", 8443, Protocol.UDP, isolation=True, as_of="2025-07-22"
    )
    assert each.later_networks == (later,)
    added = Entry(n=7, pattern="b.example", host="b.example", list_id="full", line=65)
    assert each.changes == (
        Change("2025-04-07", ChangeKind.REMOVED, second, "in spring", "gone", ("A",)),
        Change("2025-05-01", ChangeKind.ADDED, added),
    )


def test_scheme_sets_the_port_unless_a_port_is_given() -> None:
    text = "entries:\n- pattern: http://a.example/\n- {pattern: 'http://b.example', port: 8080}\n- pattern: https://c.example\n"
    ports = [(entry.port, entry.scheme) for entry in parse_list(HEAD + text, "f").entries]
    assert ports == [(80, "http"), (8080, "http"), (443, "https")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{}", "row 1 has no pattern"),
        ("{pattern: ' '}", "row 1 has no pattern"),
        ("{pattern: a..b}", "'a..b' is not a host name: it has an empty label"),
        ("{pattern: '*'}", "opens every name"),
        ("{pattern: a.example, prot: udp}", "row 1 has the unknown key 'prot'"),
        ("{pattern: a.example, port: 0}", "`port` of row 1 has 0; ports go from 1 to 65535"),
        ("{pattern: a.example, port: 65536}", "65536"),
        ("{pattern: a.example, extra_ports: [80, 0]}", "`extra_ports` of row 1 has 0"),
        ("{pattern: a.example, extra_ports: [443]}", "row 1 has a port twice"),
        ("{pattern: a.example, protocol: icmp}", "known are tcp, udp"),
        ("{pattern: a.example, protocol: TCP}", "known are tcp, udp"),
        ("{pattern: a.example, scheme: ftp}", "`scheme` of row 1 is 'ftp'"),
        ("{pattern: a.example, n: 0}", "number `n` from 1 on"),
        ("{pattern: a.example, os: [beos]}", "`os` of row 1 has 'beos'; known are linux"),
        ("{pattern: a.example, geography: usa!}", "must be a code like WW or US"),
        ("{pattern: a.example, required: maybe}", "true or false"),
        ("{pattern: a.example, isolation: ~}", "true or false"),
        ("{pattern: a.example, apex: true}", "begins with \\*\\."),
        (
            "{pattern: a.example, host: b.example}",
            "`host` of row 1 is 'b.example', its pattern says 'a.example'",
        ),
        ("{pattern: a.example, path: /x}", "its pattern says ''"),
        ("{pattern: '*.a.example', match: exact}", "its pattern says 'subdomains'"),
        ("{pattern: '*.a.example', known_hosts: [b.example]}", "'b.example' is not covered by"),
        ("{pattern: '*.a.example', known_hosts: [a.example]}", "'a.example' is not covered by"),
        ("{pattern: '*.a.example', known_hosts: [X.a.example]}", "'X.a.example' is not covered by"),
        ("{pattern: '*.a.example', known_hosts: [{name: x}]}", "the unknown key 'name'"),
        ("{pattern: '*.a.example', known_hosts: [{geography: US}]}", "'' is not covered by"),
        ("{pattern: 192.0.2.1, known_hosts: [a.example]}", "is not covered by"),
        ("{pattern: a.example, duplicate_of: 1}", "row 1 is no duplicate of row 1"),
        ("a.example", "row 1 must be a mapping"),
    ],
)
def test_bad_rows(row: str, reason: str) -> None:
    with pytest.raises(ListError, match=reason) as caught:
        parse_list(f"{HEAD}entries:\n- {row}\n", "f.yaml")
    assert str(caught.value).startswith("f.yaml:3: ")
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("entries: [{pattern: a.example}]", 1, "the header is missing"),
        ("header: {}\nentries: [{pattern: a.example}]", 1, "`list_id` must be"),
        ("header: {list_id: 'a b'}\nentries: [{pattern: a.example}]", 1, "`list_id` must be"),
        ("header: {list_id: a/../b}\nentries: [{pattern: a.example}]", 1, "`list_id` must be"),
        ("header: [x]\nentries: [{pattern: a.example}]", 1, "the header must be a mapping"),
        ("header: {list_id: x, colour: red}\nentries: [{pattern: a.example}]", 1, "unknown key 'colour'"),
        ("header: {list_id: x, as_of: lately}\nentries: [{pattern: a.example}]", 1, "must be a date"),
        (
            "header: {list_id: x, sources: [a]}\nentries: [{pattern: a.example}]",
            1,
            "must be a mapping of names",
        ),
        ("header: {list_id: x, sources: {A: {why: b}}}\nentries: [{pattern: a.b}]", 1, "unknown key 'why'"),
        (HEAD, 1, "no entries; an empty list would cut off everything"),
        (HEAD + "entries:\n", 2, "no entries"),
        (HEAD + "entries: []\n", 2, "no entries"),
        (HEAD + "entries: {pattern: a.example}\n", 2, "`entries` of the file must be a list"),
        (HEAD + "entires: []\n", 2, "the file has the unknown key 'entires'"),
        (HEAD + "entries:\n- {n: 2, pattern: a.b}\n- {pattern: c.d}\n", 4, "the number 2 is used twice"),
        (
            HEAD + "entries:\n- pattern: a.b\n- {pattern: c.d, duplicate_of: 1}\n",
            4,
            "row 2 is no duplicate of row 1",
        ),
        (HEAD + "entries:\n- {pattern: a.b, duplicate_of: 2}\n- pattern: a.b\n", 3, "no duplicate of row 2"),
        ("header: {list_id: x, count: 3}\nentries: [{pattern: a.b}]", 1, "counts 3 rows, the file has 1"),
        (HEAD + "entries: [{pattern: a.b}]\nnetworks: [{name: x}]", 3, "has no prefixes"),
        (HEAD + "entries: [{pattern: a.b}]\nnetworks: [{prefixes: [x]}]", 3, "no IPv4 or IPv6"),
        (HEAD + "entries: [{pattern: a.b}]\nnetworks: [{prefix: [x]}]", 3, "unknown key 'prefix'"),
        (HEAD + "entries: [{pattern: a.b}]\nchanges: [{change: removed, n: 1}]", 3, "needs a date"),
        (
            HEAD + "entries: [{pattern: a.b}]\nchanges: [{date: 2025-01-01, n: 1}]",
            3,
            "known are added, removed",
        ),
        (
            HEAD + "entries: [{pattern: a.b}]\nchanges: [{date: 2025-01-01, change: removed, n: 2}]",
            3,
            "row that is there",
        ),
        (
            HEAD + "entries: [{pattern: a.b}]\nchanges: [{date: 2025-01-01, change: added}]",
            3,
            "no row has had",
        ),
        (CHANGES + "- {date: 2025-01-01, change: added, entry: {pattern: c.d}}", 4, "number `n` from 1 on"),
        (
            CHANGES + "- {date: 2025-01-01, change: removed, n: 1}\n"
            "- {date: 2025-02-01, change: added, entry: {n: 1, pattern: c.d}}",
            5,
            "no row has had",
        ),
        (
            CHANGES + "- {date: 2025-02-01, change: removed, n: 1}\n"
            "- {date: 2025-01-01, change: added, entry: {n: 2, pattern: c.d}}",
            5,
            "not before the change above",
        ),
    ],
)
def test_bad_lists(text: str, line: int, reason: str) -> None:
    with pytest.raises(ListError, match=reason) as caught:
        parse_list(text, "f.yaml")
    assert (caught.value.file, caught.value.line) == ("f.yaml", line)
