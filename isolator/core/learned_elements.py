"""Learned addresses as set elements, and the other way round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from isolator.core.compiler import EMBEDDED, LEARNED, SEEN, SETS
from isolator.core.purpose_seal import UNSEALED, PurposeSeal
from isolator.model.flow import Destination, LearnedAddress
from isolator.model.ruleset import AddressSet, Element

FLOW_LIFETIME_S = 86_400
"""How long a flow that was opened in time may go on after its DNS answer has expired."""

Purposes = Mapping[str, float]
"""For which entries a door was learned, by id, each with the instant until which it is open."""


def elements_of(
    learned: Iterable[LearnedAddress],
    *,
    now: float,
    seal: PurposeSeal = UNSEALED,
    known: Callable[[Destination, float], dict[str, float]] | None = None,
) -> list[tuple[AddressSet, Element]]:
    """The elements that open the addresses, as `door_elements`, each door once.

    `known` gives anew what else has a door open now: an element says for all of them what it is there for.
    """
    doors: dict[Destination, dict[str, float]] = {}
    for each in learned:
        held = doors.get(each.destination)
        if held is None:
            held = doors[each.destination] = {} if known is None else known(each.destination, now)
        held[each.entry] = max(each.expires_at, held.get(each.entry, -math.inf))
    made: list[tuple[AddressSet, Element]] = []
    for door, purposes in doors.items():
        made += door_elements(door, purposes, now=now, seal=seal)
    return made


def door_elements(
    door: Destination, purposes: Purposes, *, now: float, seal: PurposeSeal
) -> tuple[tuple[AddressSet, Element], ...]:
    """The elements that open one door: new connections, open flows, path-MTU errors.

    One that has expired already gets one second, so that the order of clock and answer cannot matter.
    """
    version = door.address.version
    alive = max(1, math.ceil(max(purposes.values()) - now))
    outlives = max(alive, FLOW_LIFETIME_S)
    return (
        (SETS[LEARNED[version]], Element(door, alive, seal.write(door, purposes))),
        (SETS[SEEN[version]], Element(door, outlives)),
        (SETS[EMBEDDED[version]], Element(door.address, outlives)),
    )


def by_set(elements: Iterable[tuple[AddressSet, Element]]) -> dict[str, tuple[Element, ...]]:
    """Grouped by set name; of elements with one key the longest lifetime, none at all being the longest."""
    grouped: dict[str, dict[object, Element]] = {}
    for spec, element in elements:
        held = grouped.setdefault(spec.name, {})
        before = held.get(element.key)
        if before is None or _lifetime(before) < _lifetime(element):
            held[element.key] = element
    return {name: tuple(held.values()) for name, held in grouped.items()}


def _lifetime(element: Element) -> float:
    return math.inf if element.timeout_s is None else element.timeout_s


def doors_of(destinations: Iterable[Destination]) -> dict[str, tuple[Element, ...]]:
    """The elements to delete so that the destinations are shut, open flows included.

    Path-MTU elements stay until they expire: their key is an address that another door may share.
    """
    shut: dict[str, list[Element]] = {}
    for door in destinations:
        for names in (LEARNED, SEEN):
            shut.setdefault(names[door.address.version], []).append(Element(door))
    return {name: tuple(elements) for name, elements in shut.items()}
