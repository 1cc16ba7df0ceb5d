from __future__ import annotations

from ipaddress import ip_network

import pytest

from allowlists import merge
from allowlists.model import EndpointList, ListError, Profile
from allowlists.parse import parse_list

FIRST = parse_list(
    """\
header: {list_id: first}
entries:
- {pattern: everywhere.example}
- {pattern: us.example, geography: US, os: [windows]}
- {pattern: eu.example, geography: EU, isolation: false}
- {pattern: optional.example, required: false}
- {pattern: unknown.example, required: ~}
- {pattern: everywhere.example, duplicate_of: 1}
networks:
- {name: T, geography: US, prefixes: [192.0.2.0/28]}
- {name: T, prefixes: [192.0.2.16/28, '2001:db8::/48']}
- {name: O, isolation: false, prefixes: [192.0.2.32/28]}
""",
    "first",
)
SECOND = parse_list(
    """\
header: {list_id: second}
entries:
- {pattern: Everywhere.Example.}
- {pattern: everywhere.example, port: 80}
- {pattern: jp.example, geography: JP}
networks:
- {name: T2, prefixes: [192.0.2.16/28]}
""",
    "second",
)


def names(lists: list[EndpointList], **wishes: object) -> list[str]:
    return [entry.id for entry in merge.select(lists, **wishes)]  # type: ignore[arg-type]


def test_every_geography_by_default_and_each_destination_once() -> None:
    assert names([FIRST, SECOND], profile="all") == [
        *("first#1", "first#2", "first#3", "first#4", "first#5"),
        *("second#2", "second#3"),
    ]


def test_profile_isolation_is_the_default() -> None:
    assert names([FIRST]) == ["first#1", "first#2", "first#4", "first#5"]


@pytest.mark.parametrize(
    ("geo", "found"),
    [
        (["US"], ["first#1", "first#2", "first#4", "first#5"]),
        ([" us", "EU "], ["first#1", "first#2", "first#3", "first#4", "first#5"]),
        (["WW"], ["first#1", "first#4", "first#5"]),
        (["AU"], ["first#1", "first#4", "first#5"]),  # published, though this list has no row for it
    ],
)
def test_geographies(geo: list[str], found: list[str]) -> None:
    assert names([FIRST], geo=geo, profile="all") == found


def test_operating_systems_and_required() -> None:
    assert names([FIRST], os="linux") == ["first#1", "first#4", "first#5"]
    assert names([FIRST], os="windows") == ["first#1", "first#2", "first#4", "first#5"]
    assert names([FIRST], required_only=True) == ["first#1", "first#2", "first#5"]


def test_a_duplicate_stays_when_its_first_is_left_out() -> None:
    text = (
        "header: {list_id: t}\nentries:\n"
        "- {pattern: a.example, isolation: false}\n- {pattern: a.example, duplicate_of: 1}\n"
    )
    assert names([parse_list(text, "t")]) == ["t#2"]


def test_rows_keeps_duplicates() -> None:
    assert [entry.n for entry in merge.rows([FIRST])] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"geo": ["MARS"]}, "the geography 'MARS' is unknown; known are AU, EU, UK, US"),
        ({"geo": ["JP"]}, "the geography 'JP' is unknown"),
        ({"geo": [""]}, "the geography '' is unknown"),
        ({"geo": "US"}, "the geography 'S' is unknown"),
        ({"os": "beos"}, "the operating system 'beos' is unknown; known are linux, macos"),
        ({"profile": "none"}, "the profile 'none' is unknown; known are isolation, all"),
    ],
)
def test_what_nobody_knows(wishes: dict[str, object], reason: str) -> None:
    with pytest.raises(ListError, match=reason):
        merge.select([FIRST], **wishes)  # type: ignore[arg-type]


def test_a_geography_of_any_list_is_known() -> None:
    assert merge.known_geographies([FIRST, SECOND]) == ("AU", "EU", "JP", "UK", "US")
    assert names([FIRST, SECOND], geo=["JP"])[-1] == "second#3"


def test_networks() -> None:
    both = merge.select_networks([FIRST, SECOND], geo=["EU"])
    assert [prefix.network for prefix in both] == [ip_network("192.0.2.16/28"), ip_network("2001:db8::/48")]
    assert both[0].name == "T"
    every = merge.select_networks([FIRST], profile=Profile.ALL)
    assert [str(prefix.network) for prefix in every] == [
        *("192.0.2.0/28", "192.0.2.16/28", "2001:db8::/48"),
        "192.0.2.32/28",
    ]
