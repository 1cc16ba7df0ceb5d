"""Learned addresses as set elements."""

from __future__ import annotations

from ipaddress import ip_address

from allowlists.model import Entry
from isolator.core.compiler import EMBEDDED, LEARNED, SEEN, SETS
from isolator.core.learned_elements import FLOW_LIFETIME_S, by_set, doors_of, elements_of
from isolator.core.purpose_seal import PurposeSeal
from isolator.model.flow import Destination, LearnedAddress, Transport
from isolator.model.ruleset import Element

DOOR = Destination(ip_address("20.1.1.1"), Transport.TCP, 443)
DOOR6 = Destination(ip_address("2603:1061::1"), Transport.TCP, 80)


def learned(door: Destination = DOOR, expires_at: float = 160.0) -> LearnedAddress:
    return LearnedAddress(door, "a.test", "l#1", expires_at)


def test_an_address_opens_connections_flows_and_path_mtu_errors() -> None:
    assert by_set(elements_of([learned()], now=100.0)) == {
        LEARNED[4]: (Element(DOOR, 60),),
        SEEN[4]: (Element(DOOR, FLOW_LIFETIME_S),),
        EMBEDDED[4]: (Element(DOOR.address, FLOW_LIFETIME_S),),
    }


def test_each_door_once_with_all_that_has_it_open() -> None:
    entries = (Entry(1, "a.test", "a.test", list_id="l"), Entry(2, "b.test", "b.test", list_id="l"))
    seal = PurposeSeal(b"k", "boot", entries)
    known = {DOOR: {"l#2": 700.0}, DOOR6: {}}
    both = [learned(), learned(expires_at=400.0), learned(expires_at=130.0), learned(DOOR6)]
    elements = by_set(elements_of(both, now=100.0, seal=seal, known=lambda door, _: known[door]))
    (here,), (there,) = elements[LEARNED[4]], elements[LEARNED[6]]
    assert (here.key, here.timeout_s) == (DOOR, 600), "never shorter than what is known"
    assert seal.read(DOOR, here.comment) == {"l#1": 400.0, "l#2": 700.0}
    assert there.timeout_s == 60
    assert seal.read(DOOR6, there.comment) == {}, "the entry is not for port 80"
    assert all(
        each.comment is None for name in (*SEEN.values(), *EMBEDDED.values()) for each in elements[name]
    )


def test_a_part_of_a_second_counts_whole_and_the_past_as_one_second() -> None:
    for expires_at, alive in ((100.2, 1), (101.5, 2), (90.0, 1)):
        elements = by_set(elements_of([learned(expires_at=expires_at)], now=100.0))
        assert elements[LEARNED[4]] == (Element(DOOR, alive),)


def test_a_lifetime_longer_than_a_flow_s_holds_for_the_flow_too() -> None:
    elements = by_set(elements_of([learned(expires_at=200_000.0)], now=0.0))
    assert elements[SEEN[4]] == (Element(DOOR, 200_000),)


def test_of_two_elements_with_one_key_the_longer_lived_stays() -> None:
    spec = SETS[LEARNED[4]]
    for order in ((30, 60), (60, 30)):
        grouped = by_set((spec, Element(DOOR, seconds)) for seconds in order)
        assert grouped == {LEARNED[4]: (Element(DOOR, 60),)}


def test_an_element_that_never_expires_outlives_every_other() -> None:
    spec = SETS[LEARNED[4]]
    for order in ((None, 60), (60, None)):
        grouped = by_set((spec, Element(DOOR, seconds)) for seconds in order)
        assert grouped == {LEARNED[4]: (Element(DOOR, None),)}


def test_doors_are_shut_for_new_connections_and_open_flows() -> None:
    assert doors_of([DOOR, DOOR6]) == {
        LEARNED[4]: (Element(DOOR),),
        SEEN[4]: (Element(DOOR),),
        LEARNED[6]: (Element(DOOR6),),
        SEEN[6]: (Element(DOOR6),),
    }
