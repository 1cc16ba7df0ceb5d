"""Learned names: which addresses which name opened, at which ports, for which entry, until when."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from isolator.core.doors import Opening
from isolator.core.usable import UsableAddresses
from isolator.model.flow import Address, Destination, LearnedAddress
from isolator.model.policy import LearnLimits

GRACE_S = 5.0
"""Added to each TTL: an asker may connect in the last second of the answer's life."""

CROWD = 8
"""Bindings a name may have when its wildcard is full; more make room among themselves, not among others'."""

_BUCKET_S = 16.0
"""Expired bindings are forgotten in groups of that many seconds; look-ups check the exact instant."""


@dataclass(frozen=True, slots=True)
class NameLimits:
    """Bounds of the table. Names that an entry spells out, and pinned ones, have room of their own.

    `per_wildcard` and `wildcards` bound what made-up names under wildcards can take; beyond a bound the
    binding that was renewed longest ago goes, of the same name if it has a crowd of them, else of the same
    entry or kind: never another's.
    """

    per_answer: int = 64
    per_name: int = 256
    per_wildcard: int = 16_384
    wildcards: int = 65_536
    listed: int = 131_072


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an answer would change: `renewed` must be put into the kernel first, `known` is there already."""

    renewed: tuple[LearnedAddress, ...] = ()
    known: tuple[LearnedAddress, ...] = ()
    listed: bool = False


@dataclass(slots=True, eq=False)
class _Element:
    """One destination as the kernel has it, and the bindings that keep it open."""

    until: float
    bindings: dict[_Binding, None] = field(default_factory=dict)
    entries: dict[str, float] = field(default_factory=dict)
    """Until when which entry has it open; there may be thousands of names, but few entries."""


@dataclass(slots=True, eq=False)
class _Binding:
    learned: LearnedAddress
    element: _Element
    share: str
    bucket: int = 0


_LISTED = ""
"""The share of names that an attacker cannot make up."""


class LearnedNames:
    """The bounded table of bindings (name, destination). Not thread-safe; `now` is CLOCK_BOOTTIME seconds."""

    __slots__ = (
        *("_buckets", "_elements", "_inherited", "_limits"),
        *("_names", "_pinned", "_shares", "_size", "_swept_to"),
    )

    def __init__(self, limits: NameLimits | None = None) -> None:
        self._limits = limits or NameLimits()
        self._names: dict[str, OrderedDict[Destination, _Binding]] = {}
        self._elements: dict[Address, dict[Destination, _Element]] = {}
        self._inherited: dict[Destination, Mapping[str, float]] = {}
        self._shares: dict[str, OrderedDict[_Binding, None]] = {}
        self._buckets: dict[int, dict[_Binding, None]] = {}
        self._pinned: set[str] = set()
        self._size = 0
        self._swept_to = 0

    def __len__(self) -> int:
        return self._size

    def knows(self, name: str) -> bool:
        """Say whether any address of the name is on record."""
        return name in self._names

    def pin(self, name: str) -> None:
        """Give a name the room of listed ones from now on, as long as the policy covers it."""
        self._pinned.add(name)

    def is_pinned(self, name: str) -> bool:
        """Say whether the name was pinned."""
        return name in self._pinned

    def clear(self) -> None:
        """Forget everything: the kernel's sets are gone, or are about to be made anew."""
        self._names.clear()
        self._elements.clear()
        self._inherited.clear()
        self._shares.clear()
        self._buckets.clear()
        self._pinned.clear()
        self._size = 0

    def inherit(self, doors: Mapping[Destination, Mapping[str, float]]) -> None:
        """Take over doors that are in the kernel without their names: each with its entries, until when.

        They stay until their time is over, everything is forgotten or a policy comes that cannot judge them.
        """
        self._inherited = dict(doors)

    def propose(
        self,
        opening: Opening,
        addresses: Iterable[tuple[Address, int]],
        limits: LearnLimits,
        now: float,
        *,
        anew: bool = False,
    ) -> Proposal:
        """Give what to learn from (address, TTL) pairs; changes nothing.

        A lifetime is the TTL and a grace, between floor and ceiling. What the kernel holds long enough is not
        renewed: for the time the asker may keep the answer, and for half of the lifetime. So a name asked a
        thousand times a second costs the kernel one update in a while. What counts is the entry's own time,
        which the kernel has beside the element. `anew` renews all, for a kernel that may hold nothing yet.
        """
        renewed: list[LearnedAddress] = []
        known: list[LearnedAddress] = []
        mine = self._names.get(opening.name, _NOTHING)
        for address, ttl in addresses:
            lifetime = min(max(ttl + GRACE_S, limits.ttl_floor_s), limits.ttl_ceiling_s)
            enough = now + max(min(float(ttl), lifetime - GRACE_S), lifetime / 2)
            there = self._elements.get(address, _NO_ELEMENTS)
            for door in opening.doors:
                destination = Destination(address, door.transport, door.port)
                binding = mine.get(destination)
                element = binding.element if binding else there.get(destination)
                held = -math.inf if element is None else element.entries.get(door.entry, -math.inf)
                if held < enough or anew:
                    until = max(now + lifetime, held)
                    renewed.append(LearnedAddress(destination, opening.name, door.entry, until))
                elif binding is None or binding.learned.expires_at < enough:
                    until = min(now + lifetime, held)
                    known.append(LearnedAddress(destination, opening.name, door.entry, until))
        return Proposal(tuple(renewed), tuple(known), self._is_listed(opening))

    def _is_listed(self, opening: Opening) -> bool:
        return opening.exact or opening.name in self._pinned

    def add(self, proposal: Proposal) -> None:
        """Take over what was proposed, once the kernel has what had to be renewed."""
        for learned in (*proposal.renewed, *proposal.known):
            self._put(learned, listed=proposal.listed)

    def expire(self, now: float) -> None:
        """Forget what has expired, up to some seconds ago; costs time for what expires only."""
        current = int(now // _BUCKET_S)
        if current == self._swept_to:
            return
        self._swept_to = current
        for bucket in [each for each in self._buckets if each < current]:
            for binding in self._buckets.pop(bucket):
                if binding.learned.expires_at < now:
                    self._drop(binding)
                else:
                    self._file(binding)

    def snapshot(self, now: float) -> tuple[LearnedAddress, ...]:
        """Give all that is open now, by name."""
        return tuple(
            binding.learned
            for name in sorted(self._names)
            for binding in self._names[name].values()
            if binding.learned.expires_at >= now
        )

    def at(self, address: Address, now: float) -> tuple[LearnedAddress, ...]:
        """Give what opens the address now: every name, port and entry."""
        return tuple(
            binding.learned
            for element in self._elements.get(address, _NO_ELEMENTS).values()
            for binding in element.bindings
            if binding.learned.expires_at >= now
        )

    def is_open(self, destination: Destination, at: float, entry: str | None = None) -> bool:
        """Say whether the destination was learned and still alive at an instant, for that entry if given.

        Costs the same however many names there are at the address.
        """
        element = self._elements.get(destination.address, _NO_ELEMENTS).get(destination)
        inherited = self._inherited.get(destination, _NO_ENTRIES)
        if entry is not None:
            held = _NO_ENTRIES if element is None else element.entries
            return max(held.get(entry, -math.inf), inherited.get(entry, -math.inf)) >= at
        return (element is not None and element.until >= at) or any(
            until >= at for until in inherited.values()
        )

    def purposes(self, destination: Destination, now: float) -> dict[str, float]:
        """Give the entries for which the destination is open now, each until when; empty when it is not."""
        element = self._elements.get(destination.address, _NO_ELEMENTS).get(destination)
        held = _NO_ENTRIES if element is None else element.entries
        if self._inherited:  # not on the way of every answer
            held = dict(held)
            for entry, until in self._inherited.get(destination, _NO_ENTRIES).items():
                held[entry] = max(until, held.get(entry, -math.inf))
        return {entry: until for entry, until in held.items() if until >= now}

    def doors(self) -> tuple[Destination, ...]:
        """Give every destination on record, each once; some may have expired."""
        learned = (door for there in self._elements.values() for door in there)
        return tuple(dict.fromkeys((*learned, *self._inherited)))

    def retain(
        self, opening_of: Callable[[str], Opening | None], usable: UsableAddresses, now: float
    ) -> tuple[LearnedAddress, ...]:
        """Drop what a new policy does not open; gives what no name keeps open any more, each door once."""
        self._pinned = {name for name in self._pinned if opening_of(name) is not None}
        self._inherited.clear()
        closed: dict[Destination, LearnedAddress] = {}
        # What is kept is put again below; an entry's id may mean something else in the new policy.
        for there in self._elements.values():
            for element in there.values():
                element.entries.clear()
        for name in list(self._names):
            opening = opening_of(name)
            doors = {} if opening is None else {(d.transport, d.port): d.entry for d in opening.doors}
            listed = opening is not None and self._is_listed(opening)
            for destination, binding in list(self._names[name].items()):
                entry = doors.get((destination.transport, destination.port))
                if entry is None or destination.address not in usable:
                    self._drop(binding)
                    last = replace(binding.learned, expires_at=binding.element.until)
                    if last.expires_at >= now:
                        closed[destination] = last
                else:
                    kept = LearnedAddress(destination, name, entry, binding.learned.expires_at)
                    self._put(kept, listed=listed)
        return tuple(
            learned
            for door, learned in closed.items()
            if door not in self._elements.get(door.address, _NO_ELEMENTS)
        )

    def _put(self, learned: LearnedAddress, *, listed: bool) -> None:
        destination = learned.destination
        share = _LISTED if listed else learned.entry
        until = learned.expires_at
        binding = self._names.get(learned.name, _NOTHING).get(destination)
        if binding is not None and binding.share == share:
            binding.learned = learned
            binding.element.until = max(binding.element.until, until)
            _note_entry(binding.element, learned)
            self._names[learned.name].move_to_end(destination)
            self._shares[share].move_to_end(binding)
            return
        if binding is not None:
            until = max(until, binding.element.until)
            self._drop(binding)
        element = self._elements.setdefault(destination.address, {}).setdefault(destination, _Element(until))
        element.until = max(element.until, until)
        _note_entry(element, learned)
        binding = _Binding(learned, element, share)
        mine = self._names.setdefault(learned.name, OrderedDict())
        mine[destination] = binding
        element.bindings[binding] = None
        self._shares.setdefault(share, OrderedDict())[binding] = None
        self._size += 1
        self._file(binding)
        self._make_room(mine, share)

    def _make_room(self, mine: OrderedDict[Destination, _Binding], share: str) -> None:
        """Drop the binding that was renewed longest ago where a bound is passed, by one at most."""
        limits = self._limits
        if len(mine) > limits.per_name:
            self._drop(next(iter(mine.values())))
        listed = len(self._shares.get(_LISTED, ()))
        held = self._shares[share]
        if share == _LISTED:
            if listed > limits.listed:
                self._drop(next(iter(held)))
        elif len(held) > limits.per_wildcard or self._size - listed > limits.wildcards:
            own = [binding for binding in mine.values() if binding.share == share]
            if len(own) > CROWD:
                self._drop(own[0])
            elif len(held) > limits.per_wildcard:
                self._drop(next(iter(held)))
            else:
                largest = max((key for key in self._shares if key != _LISTED), key=self._share_size)
                self._drop(next(iter(self._shares[largest])))

    def _share_size(self, share: str) -> int:
        return len(self._shares[share])

    def _file(self, binding: _Binding) -> None:
        """Put the binding where `expire` will look at it; a renewed one is filed anew only then."""
        # Never behind the sweep: what was renewed so that it has expired already is met the next time.
        binding.bucket = max(int(binding.learned.expires_at // _BUCKET_S), self._swept_to)
        self._buckets.setdefault(binding.bucket, {})[binding] = None

    def _drop(self, binding: _Binding) -> None:
        destination, name = binding.learned.destination, binding.learned.name
        mine = self._names[name]
        del mine[destination]
        if not mine:
            del self._names[name]
        del binding.element.bindings[binding]
        if not binding.element.bindings:
            there = self._elements[destination.address]
            del there[destination]
            if not there:
                del self._elements[destination.address]
        share = self._shares[binding.share]
        del share[binding]
        if not share:
            del self._shares[binding.share]
        bucket = self._buckets.get(binding.bucket)
        if bucket is not None:
            bucket.pop(binding, None)
            if not bucket:
                del self._buckets[binding.bucket]
        self._size -= 1


def _note_entry(element: _Element, learned: LearnedAddress) -> None:
    element.entries[learned.entry] = max(learned.expires_at, element.entries.get(learned.entry, 0.0))


_NOTHING: OrderedDict[Destination, _Binding] = OrderedDict()
_NO_ELEMENTS: dict[Destination, _Element] = {}
_NO_ENTRIES: dict[str, float] = {}
