"""What is in the kernel's timed sets although no gate knows its names: an agent before has put it there.

Learned doors count only with what is written beside them (`core.purpose_seal`). The others are strangers and
are shut: somebody else's, those of an agent that did not write yet, those of entries that have gone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from isolator.core.compiler import EMBEDDED, LEARNED, SEEN, SETS
from isolator.core.learned_elements import Purposes
from isolator.core.purpose_seal import PurposeSeal
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination
from isolator.model.ruleset import (
    AddressSet,
    DeleteElements,
    Element,
    ElementKey,
    FlushSet,
    Transaction,
)
from isolator.ports import FilterBackend

_log = logging.getLogger(__name__)

_OUTLIVING = (*SEEN.values(), *EMBEDDED.values())
_NONE: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What was found, with boot times until when. The default is nothing."""

    doors: Mapping[Destination, Purposes] = field(default_factory=dict)
    """Learned doors, and for which entries of the policy that is in force."""
    outliving: tuple[tuple[AddressSet, ElementKey, float], ...] = ()
    """What keeps open flows and their path-MTU errors."""
    strangers: tuple[Destination, ...] = ()
    """Learned doors that do not count."""
    odd: tuple[AddressSet, ...] = ()
    """Sets that hold what is not of our kind."""

    def purposes(self, door: Destination, now: float) -> dict[str, float]:
        """For which entries a door that was taken over is open now, with the instants; empty for others."""
        return {entry: until for entry, until in self.doors.get(door, _NONE).items() if until >= now}

    def destinations(self) -> set[Destination]:
        """Every destination among it, also those that only open flows may still use."""
        return {*self.doors, *(key for _, key, _ in self.outliving if isinstance(key, Destination))}

    def elements(self, *, now: float, seal: PurposeSeal) -> Iterator[tuple[AddressSet, Element]]:
        """What of it is alive, as set elements."""
        for door, purposes in self.doors.items():
            left = math.ceil(max(purposes.values()) - now)
            if left > 0:
                yield SETS[LEARNED[door.address.version]], Element(door, left, seal.write(door, purposes))
        for spec, key, until in self.outliving:
            if until > now:
                yield spec, Element(key, math.ceil(until - now))

    def emptying(self) -> Transaction | None:
        """The transaction that empties the odd sets; None when there are none."""
        return Transaction("empty", tuple(FlushSet(spec) for spec in self.odd)) if self.odd else None

    def shutting(self, known: Container[Destination]) -> Transaction | None:
        """The transaction that shuts the strangers that are not known since; None when there are none.

        Connections that were approved there go on.
        """
        shut: dict[str, list[Element]] = {}
        for door in self.strangers:
            if door not in known:
                shut.setdefault(LEARNED[door.address.version], []).append(Element(door))
        if not shut:
            return None
        return Transaction(
            "shut", tuple(DeleteElements(SETS[name], tuple(doors)) for name, doors in shut.items())
        )


def take_stock(backend: FilterBackend, seal: PurposeSeal, now: float) -> Inheritance:
    """Read the timed sets. What somebody damaged there stops nobody: it is said once and shut."""
    doors: dict[Destination, Purposes] = {}
    strangers: list[Destination] = []
    odd: list[AddressSet] = []
    untold = 0
    for name in LEARNED.values():
        for each in _held(backend, SETS[name], odd):
            assert isinstance(each.key, Destination)  # as `_held` has made sure
            purposes = seal.read(each.key, each.comment)
            alive = {entry: until for entry, until in (purposes or _NONE).items() if until > now}
            if alive:
                doors[each.key] = alive
            else:
                strangers.append(each.key)
            untold += purposes is None
    outliving = tuple(
        (SETS[name], each.key, now + each.timeout_s)
        for name in _OUTLIVING
        for each in _held(backend, SETS[name], odd)
        if each.timeout_s is not None
    )
    if untold:
        _log.warning(
            "%d learned addresses in the kernel do not say credibly for which entry they are open: "
            "they are shut until their names are asked for again",
            untold,
        )
    return Inheritance(doors, outliving, tuple(strangers), tuple(odd))


def _held(backend: FilterBackend, spec: AddressSet, odd: list[AddressSet]) -> tuple[Element, ...]:
    """The elements of a set; one that holds what is not of our kind counts as empty, and is emptied."""
    try:
        found = backend.elements(spec)
        why = f"set {spec.name} lists other keys than ours"
        fits = all(
            isinstance(each.key, Destination) is (spec.name not in EMBEDDED.values()) for each in found
        )
    except IsolatorError as error:
        if error.code is not FailureCode.NOT_AS_WANTED:
            raise
        found, why, fits = (), error.sentence, False
    if not fits:
        _log.warning("%s; it is emptied", why)
        odd.append(spec)
        return ()
    return found
