"""What a name opens."""

from __future__ import annotations

import pytest

from allowlists.index import Index
from allowlists.model import Entry, Match, Protocol
from isolator.core.doors import Door, Opening, opening
from isolator.model.flow import Transport
from tests.unit.isolator.core.gate_fakes import INDEX, FakeEntry, FakeIndex


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "www.listed.test",
            Opening(
                "www.listed.test",
                "l#1",
                True,
                (Door(Transport.TCP, 443, "l#1"), Door(Transport.TCP, 80, "l#1")),
            ),
        ),
        ("a.b.wild.test", Opening("a.b.wild.test", "l#2", False, (Door(Transport.TCP, 443, "l#2"),))),
        (
            "exact.wild.test",
            Opening(
                "exact.wild.test",
                "l#3",
                True,
                (Door(Transport.TCP, 8443, "l#3"), Door(Transport.TCP, 443, "l#2")),
            ),
        ),
        ("relay.listed.test", Opening("relay.listed.test", "l#4", True, (Door(Transport.UDP, 3478, "l#4"),))),
        ("wild.test", None),
        ("evil.test", None),
        ("", None),
        # A dot inside a label: text that a matcher by suffix would take for a name under the wildcard.
        ("a\\046b.wild.test", None),
    ],
)
def test_opening(name: str, expected: Opening | None) -> None:
    assert opening(INDEX, name) == expected


def test_of_entries_with_one_port_the_first_counts() -> None:
    index = FakeIndex(FakeEntry("a#1", "x.test"), FakeEntry("b#1", "x.test"))
    found = opening(index, "x.test")
    assert found is not None
    assert found.doors == (Door(Transport.TCP, 443, "a#1"),)


def test_the_real_index_and_its_entries_fit() -> None:
    index = Index(
        [
            Entry(1, "*.x.test", "*.x.test", Match.SUBDOMAINS, list_id="own", apex=True, extra_ports=(80,)),
            Entry(2, "u.x.test", "u.x.test", protocol=Protocol.UDP, port=5, list_id="own"),
        ]
    )
    under = opening(index, "u.x.test")
    assert under is not None
    assert under.exact
    assert {str(door.port) + door.transport.value for door in under.doors} == {"5udp", "443tcp", "80tcp"}
    bare = opening(index, "x.test")
    assert bare is not None
    assert not bare.exact
    assert opening(index, "a\\000b.x.test") is None
