from __future__ import annotations

from ipaddress import ip_address

import pytest

from allowlists.lookup import Destination, look_up, parse_destination
from allowlists.model import ParseError, Profile
from allowlists.parse import parse_list


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("A.Example.", "a.example", None, "a.example"),
        ("a.example:443", "a.example", 443, "a.example:443"),
        ("bücher.example:1", "xn--bcher-kva.example", 1, "xn--bcher-kva.example:1"),
        ("192.0.2.7:65535", "192.0.2.7", 65535, "192.0.2.7:65535"),
        ("2001:DB8::1", "2001:db8::1", None, "[2001:db8::1]"),
        ("[2001:db8::1]", "2001:db8::1", None, "[2001:db8::1]"),
        ("[2001:db8::1]:443", "2001:db8::1", 443, "[2001:db8::1]:443"),
        ("::ffff:192.0.2.7", "192.0.2.7", None, "192.0.2.7"),
    ],
)
def test_destinations(text: str, host: str, port: int | None, shown: str) -> None:
    destination = parse_destination(text)
    assert (destination.host, destination.port, str(destination)) == (host, port, shown)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":443", "a.example:", "a.example:0", "a.example:65536", "a.example:+1", "a.example:٤٤٣"),
        *("a.example:4 4", "a..b", "a/b", "https://a.example/", "[::1", "[::1]443", "[::1]:", "[a..b]"),
        *("*.a.example", "10.0.0.0/8", "1.2.3", "a.example:443:443", "a.example:" + "1" * 5000),
    ],
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(ParseError):
        parse_destination(text)


LIST = parse_list(
    """\
header: {list_id: t}
entries:
- {pattern: crl.example, port: 80}
- {pattern: '*.a.example'}
- {pattern: '*.shut.example', isolation: false}
- {pattern: 192.0.2.0/24, port: 3478, protocol: udp}
networks:
- {name: T, prefixes: [198.51.100.0/24]}
- {name: O, isolation: false, prefixes: [203.0.113.0/24]}
""",
    "t",
)


@pytest.mark.parametrize(
    ("text", "profile", "rows", "prefixes", "ports"),
    [
        ("crl.example", Profile.ALL, [1], [], (80,)),
        ("crl.example:80", Profile.ALL, [1], [], (80,)),
        ("crl.example:443", Profile.ALL, [], [], (80,)),
        ("x.a.example:443", Profile.ALL, [2], [], (443,)),
        ("a.example", Profile.ALL, [], [], ()),
        ("x.shut.example", Profile.ALL, [3], [], (443,)),
        ("x.shut.example", Profile.ISOLATION, [], [], ()),
        ("192.0.2.9", Profile.ALL, [4], [], (3478,)),
        ("192.0.2.9:443", Profile.ALL, [], [], (3478,)),
        ("198.51.100.1", Profile.ISOLATION, [], ["T"], (443,)),
        ("198.51.100.1:80", Profile.ISOLATION, [], [], (443,)),
        ("203.0.113.1:443", Profile.ALL, [], ["O"], (443,)),
        ("203.0.113.1:443", Profile.ISOLATION, [], [], ()),
        ("2001:db8::1", Profile.ALL, [], [], ()),
    ],
)
def test_answers(
    text: str, profile: Profile, rows: list[int], prefixes: list[str], ports: tuple[int, ...]
) -> None:
    (answer,) = look_up([LIST], [parse_destination(text)], profile)
    assert [entry.n for entry in answer.entries] == rows
    assert [prefix.name for prefix in answer.prefixes] == prefixes
    assert answer.listed_ports == ports
    assert answer.matched is bool(rows or prefixes)


def test_an_address_is_held_as_one() -> None:
    assert parse_destination("192.0.2.7") == Destination("192.0.2.7", None, ip_address("192.0.2.7"))
