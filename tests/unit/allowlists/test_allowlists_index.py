from __future__ import annotations

from ipaddress import ip_address

import pytest

from allowlists.index import Index
from allowlists.model import Entry, Match, Protocol
from allowlists.parse import parse_list


def entries(*rows: str) -> tuple[Entry, ...]:
    text = "header: {list_id: t}\nentries:\n" + "".join(f"- {{{row}}}\n" for row in rows)
    return parse_list(text, "t").entries


ROWS = entries(
    "pattern: a.example",  # 1
    "pattern: '*.a.example'",  # 2
    "pattern: '*.b.a.example', port: 8443",  # 3
    "pattern: '*.c.example', apex: true",  # 4
    "pattern: '*pre.d.example'",  # 5
    "pattern: 'x.*.d.example', extra_ports: [80]",  # 6
    "pattern: 192.0.2.0/24",  # 7
    "pattern: 192.0.2.128/25, port: 53, protocol: udp",  # 8
    "pattern: '2001:db8::/32'",  # 9
    "pattern: a.example, port: 80",  # 10
    "pattern: '*.example.org'",  # 11
    "pattern: '*.www.example.org'",  # 12
    "pattern: '*.com'",  # 13
)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("a.example", [1, 10]),
        ("A.EXAMPLE.", [1, 10]),
        ("x.a.example", [2]),
        ("b.a.example", [2]),
        ("x.b.a.example", [3, 2]),
        ("z.y.x.b.a.example", [3, 2]),
        ("c.example", [4]),
        ("x.c.example", [4]),
        ("d.example", []),
        ("pre.d.example", [5]),
        ("XPRE.d.example.", [5]),
        ("x.pre.d.example", [6]),
        ("x.y.z.d.example", [6]),
        ("y.z.d.example", []),
        ("www.example.org", [11]),
        ("x.www.example.org", [12, 11]),
        ("example.org", []),
        ("com", []),
        ("x.com", [13]),
        ("xa.example", []),
        ("a.example.evil", []),
        ("bücher.com", [13]),
        ("bücher.net", []),
        ("a.example..", []),
        (".a.example", []),
        ("x..a.example", []),
        ("-x.a.example", []),
        ("x y.a.example", []),
        ("x\0.a.example", []),
        ("x\n.a.example", []),
        ("*.a.example", []),
        ("a" * 64 + ".a.example", []),
        ("a." * 124 + "a.example", []),
        ("x?pre.d.example", []),
        ("-pre.d.example", []),
        ("x..d.example", []),
        ("x.y z.d.example", []),
        ("☃.a.example", []),
        ("192.0.2.7", []),
        ("", []),
        (".", []),
    ],
)
def test_names(name: str, rows: list[int]) -> None:
    index = Index(ROWS)
    assert [entry.n for entry in index.match(name)] == rows
    assert index.covers(name) is bool(rows)


@pytest.mark.parametrize(
    ("name", "port", "protocol", "rows"),
    [
        ("a.example", 443, None, [1]),
        ("a.example", 80, Protocol.TCP, [10]),
        ("a.example", 8080, None, []),
        ("a.example", 443, Protocol.UDP, []),
        ("a.example", None, Protocol.TCP, [1, 10]),
        ("x.a.example", 443, None, [2]),
        ("x.a.example", 80, None, []),
        ("x.b.a.example", 8443, None, [3]),
        ("x.pre.d.example", 80, None, [6]),
        ("nobody.test", 443, None, []),
    ],
)
def test_ports_and_protocols(name: str, port: int | None, protocol: Protocol | None, rows: list[int]) -> None:
    assert [entry.n for entry in Index(ROWS).match(name, port, protocol)] == rows


@pytest.mark.parametrize(
    ("address", "port", "protocol", "rows"),
    [
        ("192.0.2.7", None, None, [7]),
        ("192.0.2.200", None, None, [8, 7]),
        ("192.0.2.200", 53, Protocol.UDP, [8]),
        ("192.0.2.200", 53, Protocol.TCP, []),
        ("192.0.3.0", None, None, []),
        ("2001:db8::1", None, None, [9]),
        ("2001:db9::1", None, None, []),
        ("::c000:207", None, None, []),
    ],
)
def test_addresses(address: str, port: int | None, protocol: Protocol | None, rows: list[int]) -> None:
    assert [entry.n for entry in Index(ROWS).match_address(ip_address(address), port, protocol)] == rows


def test_order_of_rows_does_not_hide_any() -> None:
    forward, backward = Index(ROWS), Index(reversed(ROWS))
    for name in ("x.b.a.example", "x.www.example.org", "c.example"):
        assert set(forward.match(name)) == set(backward.match(name))


def test_a_network_row_without_a_network_covers_nothing() -> None:
    index = Index([Entry(n=1, pattern="192.0.2.1", host="192.0.2.1/32", match=Match.NETWORK)])
    assert index.match_address(ip_address("192.0.2.1")) == ()
    assert index.match("192.0.2.1/32") == ()


def test_an_empty_index_covers_nothing() -> None:
    assert Index(()).match("a.example") == ()
    assert Index(()).match_address(ip_address("192.0.2.1")) == ()
