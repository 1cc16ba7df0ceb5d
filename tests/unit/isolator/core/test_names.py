"""The table of learned names: lifetimes, what the kernel must be told, bounds, another policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import ClassVar

import pytest

from isolator.core.doors import Door, Opening, opening
from isolator.core.names import GRACE_S, LearnedNames, NameLimits
from isolator.core.usable import UsableAddresses
from isolator.model.flow import Address, Destination, LearnedAddress, Transport
from isolator.model.policy import LearnLimits
from tests.unit.isolator.core.gate_fakes import INDEX, FakeEntry, FakeIndex

NOW = 1_000.0
X, Y = ip_address("20.0.0.1"), ip_address("20.0.0.2")
LIMITS = LearnLimits(ttl_floor_s=60, ttl_ceiling_s=3_600)
ALL = UsableAddresses((), ())


def named(name: str) -> Opening:
    found = opening(INDEX, name)
    assert found is not None
    return found


def learn(
    names: LearnedNames, name: str, *addresses: tuple[Address, int], now: float = NOW, anew: bool = False
) -> tuple[LearnedAddress, ...]:
    """An answer for the name arrives; gives what the kernel is told."""
    proposal = names.propose(named(name), addresses, LIMITS, now, anew=anew)
    names.add(proposal)
    return proposal.renewed


def door(address: Address, port: int = 443) -> Destination:
    return Destination(address, Transport.TCP, port)


def openings(*entries: FakeEntry) -> Callable[[str], Opening | None]:
    return lambda name: opening(FakeIndex(*entries), name)


def test_an_address_opens_every_port_of_every_entry() -> None:
    names = LearnedNames()
    learned = learn(names, "exact.wild.test", (X, 300))
    assert [(each.destination, each.entry) for each in learned] == [(door(X, 8443), "l#3"), (door(X), "l#2")]
    assert names.snapshot(NOW) == learned
    assert names.at(X, NOW) == learned
    assert names.at(Y, NOW) == ()
    assert names.knows("exact.wild.test")
    assert not names.knows("other.wild.test")
    assert len(names) == 2


@pytest.mark.parametrize(
    ("ttl", "lifetime"),
    [
        (0, 60),
        (1, 60),
        (55, 60),
        (56, 56 + GRACE_S),
        (300, 300 + GRACE_S),
        (3_595, 3_600),
        (0x7FFF_FFFF, 3_600),
    ],
)
def test_lifetime_is_the_ttl_and_a_grace_between_floor_and_ceiling(ttl: int, lifetime: float) -> None:
    (learned,) = learn(LearnedNames(), "a.wild.test", (X, ttl))
    assert learned.expires_at == NOW + lifetime


class TestRenewal:
    @pytest.mark.parametrize(
        ("first", "later", "second", "renewed"),
        [
            # The kernel's element (305 s) outlives what the asker may keep.
            (300, 0, 300, False),
            (300, 5, 300, False),
            (300, 6, 300, True),
            # A caching resolver counts down: nothing to do until the TTL is fresh again.
            (300, 100, 200, False),
            (300, 290, 10, True),
            # Short TTLs live as long as the floor and are renewed at half of it.
            (1, 30, 1, False),
            (1, 31, 1, True),
            # At the ceiling there is no grace left: renewed a little before.
            (86_400, 5, 86_400, False),
            (86_400, 6, 86_400, True),
        ],
    )
    def test_only_when_the_kernel_would_forget_too_early(
        self, first: int, later: float, second: int, renewed: bool
    ) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, first))
        assert bool(learn(names, "a.wild.test", (X, second), now=NOW + later)) is renewed

    def test_a_renewed_element_is_never_shortened(self) -> None:
        names = LearnedNames()
        (long,) = learn(names, "a.wild.test", (X, 3_000))
        assert learn(names, "b.wild.test", (X, 1)) == ()
        (again,) = learn(names, "b.wild.test", (X, 1), anew=True)
        assert again.expires_at == long.expires_at

    def test_a_name_on_an_open_address_is_noted_without_the_kernel(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 300))
        assert learn(names, "b.wild.test", (X, 10), now=NOW + 1) == ()
        by_name = {each.name: each.expires_at for each in names.at(X, NOW)}
        assert by_name == {"a.wild.test": NOW + 305, "b.wild.test": NOW + 61}

    def test_the_noted_name_lives_no_longer_than_the_element(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 300))
        assert learn(names, "b.wild.test", (X, 300), now=NOW + 3) == ()
        assert names.snapshot(NOW)[1].expires_at == NOW + 305

    def test_a_known_name_whose_binding_runs_out_is_noted_again(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 3_000))
        learn(names, "b.wild.test", (X, 1))
        assert learn(names, "b.wild.test", (X, 1), now=NOW + 40) == ()
        assert names.snapshot(NOW)[1].expires_at == NOW + 100

    def test_nothing_is_known_before_it_is_added(self) -> None:
        names = LearnedNames()
        names.propose(named("a.wild.test"), [(X, 300)], LIMITS, NOW)
        assert names.snapshot(NOW) == ()
        assert len(learn(names, "a.wild.test", (X, 300))) == 1

    def test_anew_gives_all_although_known(self) -> None:
        names = LearnedNames()
        learned = learn(names, "www.listed.test", (X, 300))
        assert learn(names, "www.listed.test", (X, 300)) == ()
        assert learn(names, "www.listed.test", (X, 300), anew=True) == learned
        assert len(names) == 2


class TestExpiry:
    def test_what_is_over_is_not_shown_before_it_is_swept(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 1))
        assert len(names.snapshot(NOW + 60)) == len(names.at(X, NOW + 60)) == 1
        assert names.snapshot(NOW + 60.5) == names.at(X, NOW + 60.5) == ()

    def test_sweep(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 1))
        learn(names, "b.wild.test", (Y, 300))
        names.expire(NOW + 30)
        assert len(names) == 2
        names.expire(NOW + 80)
        names.expire(NOW + 81)
        assert [each.name for each in names.snapshot(NOW)] == ["b.wild.test"]
        assert not names.knows("a.wild.test")
        names.expire(NOW + 86_400)
        assert len(names) == 0
        assert names.at(Y, 0) == ()

    def test_what_was_renewed_stays(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 1))
        learn(names, "a.wild.test", (X, 1), now=NOW + 50)
        names.expire(NOW + 90)
        assert len(names) == 1
        names.expire(NOW + 130)
        assert len(names) == 0

    def test_an_element_lives_as_long_as_a_name_keeps_it(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 1))
        learn(names, "b.wild.test", (X, 300))
        names.expire(NOW + 90)
        assert learn(names, "c.wild.test", (X, 1), now=NOW + 90) == ()

    def test_no_trace_is_left(self) -> None:
        names = LearnedNames()
        for n in range(50):
            learn(names, f"n{n}.wild.test", (X, n), (Y, n * 20))
        names.expire(NOW + 100_000)
        left = names._names, names._elements, names._shares, names._buckets
        assert left == ({}, {}, {}, {})


class TestBounds:
    def test_of_one_name_what_was_renewed_longest_ago_goes(self) -> None:
        names = LearnedNames(NameLimits(per_name=2))
        for n, address in enumerate((X, Y, ip_address("20.0.0.3"))):
            learn(names, "a.wild.test", (address, 300), now=NOW + n)
        assert [str(each.destination.address) for each in names.snapshot(NOW)] == ["20.0.0.2", "20.0.0.3"]

    def test_of_one_name_what_was_renewed_stays(self) -> None:
        names = LearnedNames(NameLimits(per_name=2))
        for n, address in enumerate((X, Y, X, ip_address("20.0.0.3"))):
            learn(names, "a.wild.test", (address, 1), now=NOW + 40 * n)
        kept = {str(each.destination.address) for each in names.snapshot(NOW)}
        assert kept == {"20.0.0.1", "20.0.0.3"}

    def test_of_one_wildcard(self) -> None:
        names = LearnedNames(NameLimits(per_wildcard=2))
        learn(names, "a.wild.test", (X, 100))
        learn(names, "b.wild.test", (X, 100))
        learn(names, "a.wild.test", (X, 400), now=NOW + 50)
        learn(names, "c.wild.test", (X, 400), now=NOW + 51)
        assert [each.name for each in names.snapshot(NOW)] == ["a.wild.test", "c.wild.test"]

    def test_of_all_wildcards_the_largest_gives_way(self) -> None:
        names = LearnedNames(NameLimits(wildcards=4))
        index = FakeIndex(FakeEntry("w#1", "*.one.test"), FakeEntry("w#2", "*.two.test"))
        for name in ("s.two.test", "a.one.test", "b.one.test", "c.one.test", "d.one.test"):
            found = opening(index, name)
            assert found is not None
            names.add(names.propose(found, [(X, 300)], LIMITS, NOW))
        assert [each.name for each in names.snapshot(NOW)] == [
            "b.one.test",
            "c.one.test",
            "d.one.test",
            "s.two.test",
        ]

    def test_of_listed_names(self) -> None:
        names = LearnedNames(NameLimits(listed=2))
        learn(names, "www.listed.test", (X, 300))
        learn(names, "relay.listed.test", (X, 300))
        assert {str(each.destination) for each in names.snapshot(NOW)} == {
            "tcp://20.0.0.1:80",
            "udp://20.0.0.1:3478",
        }

    def test_a_flood_under_a_wildcard_pushes_out_neither_listed_nor_pinned_names(self) -> None:
        names = LearnedNames(NameLimits(per_wildcard=100, wildcards=150, listed=10))
        names.pin("service.wild.test")
        learn(names, "service.wild.test", (X, 3_000))
        learn(names, "exact.wild.test", (X, 3_000))
        for n in range(5_000):
            learn(names, f"n{n}.wild.test", (IPv4Address(0x1500_0000 + n), 3_000), now=NOW + n / 1_000)
        kept = {each.name for each in names.snapshot(NOW)}
        assert {"service.wild.test", "exact.wild.test"} <= kept
        assert len(names) == 100 + 3
        assert sum(map(len, names._buckets.values())) == 103
        assert names.is_pinned("service.wild.test")
        assert not names.is_pinned("n1.wild.test")

    @pytest.mark.parametrize("limits", [NameLimits(per_wildcard=50), NameLimits(wildcards=50)])
    def test_names_with_many_addresses_push_out_their_own(self, limits: NameLimits) -> None:
        names = LearnedNames(limits)
        learn(names, "service.wild.test", (X, 3_000))
        for n in range(500):
            learn(names, f"n{n % 5}.wild.test", (IPv4Address(0x1500_0000 + n), 3_000), now=NOW + n / 1_000)
        assert len(names) == 50
        assert "service.wild.test" in {each.name for each in names.snapshot(NOW)}

    def test_pinned_later_moves_the_name_to_safety_and_keeps_the_element(self) -> None:
        names = LearnedNames(NameLimits(per_wildcard=1))
        (learned,) = learn(names, "a.wild.test", (X, 3_000))
        names.pin("a.wild.test")
        learn(names, "a.wild.test", (X, 1), anew=True)
        learn(names, "b.wild.test", (Y, 1))
        learn(names, "c.wild.test", (Y, 1))
        assert [each.name for each in names.snapshot(NOW)] == ["a.wild.test", "c.wild.test"]
        assert names.snapshot(NOW)[0].expires_at == learned.expires_at


class TestRetain:
    def test_the_same_policy_keeps_everything(self) -> None:
        names = LearnedNames()
        for name in ("www.listed.test", "a.wild.test", "exact.wild.test"):
            learn(names, name, (X, 300))
        before = names.snapshot(NOW)
        assert names.retain(lambda name: opening(INDEX, name), ALL, NOW) == ()
        assert names.snapshot(NOW) == before

    def test_what_no_entry_covers_goes_and_is_given_back(self) -> None:
        names = LearnedNames()
        learned = learn(names, "www.listed.test", (X, 300))
        assert names.retain(openings(), ALL, NOW) == learned
        assert len(names) == 0

    def test_a_port_that_goes(self) -> None:
        names = LearnedNames()
        learn(names, "www.listed.test", (X, 300))
        closed = names.retain(openings(FakeEntry("n#1", "www.listed.test", (443,))), ALL, NOW)
        assert [each.destination for each in closed] == [door(X, 80)]
        assert [(each.destination, each.entry) for each in names.snapshot(NOW)] == [(door(X), "n#1")]

    def test_what_another_name_keeps_open_is_not_given_back(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 3_000))
        learn(names, "www.listed.test", (X, 300))
        closed = names.retain(openings(FakeEntry("l#2", "*.wild.test")), ALL, NOW)
        assert [each.destination for each in closed] == [door(X, 80)]

    def test_what_has_expired_is_not_given_back(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 1))
        assert names.retain(openings(), ALL, NOW + 61) == ()
        assert len(names) == 0

    def test_an_address_that_is_no_longer_usable(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 300), (Y, 300))
        closed = names.retain(lambda name: opening(INDEX, name), UsableAddresses([X], ()), NOW)
        assert [each.destination for each in closed] == [door(X)]

    def test_a_name_that_a_new_entry_spells_out_becomes_safe(self) -> None:
        names = LearnedNames(NameLimits(per_wildcard=1))
        learn(names, "a.wild.test", (X, 300))
        exact = FakeEntry("n#1", "a.wild.test")
        names.retain(openings(exact, FakeEntry("l#2", "*.wild.test")), ALL, NOW)
        learn(names, "b.wild.test", (X, 300))
        learn(names, "c.wild.test", (X, 300))
        assert [each.name for each in names.snapshot(NOW)] == ["a.wild.test", "c.wild.test"]

    def test_an_entry_that_takes_a_door_over_has_its_own_time_there(self) -> None:
        names = LearnedNames()
        learn(names, "a.wild.test", (X, 3_000))
        learn(names, "exact.wild.test", (X, 1))
        only = openings(FakeEntry("n#1", "exact.wild.test"))
        assert [each.destination for each in names.retain(only, ALL, NOW)] == [door(X, 8443)]
        learn(names, "b.wild.test", (X, 1))
        names.retain(openings(FakeEntry("n#2", "b.wild.test")), ALL, NOW)
        (renewed,) = learn(names, "b.wild.test", (X, 300))
        assert (renewed.entry, renewed.expires_at) == ("l#2", NOW + 305), "not the hour of the name that went"

    def test_pins_go_with_their_entries(self) -> None:
        names = LearnedNames()
        names.pin("a.wild.test")
        names.pin("www.listed.test")
        names.retain(openings(FakeEntry("l#2", "*.wild.test")), ALL, NOW)
        assert names.is_pinned("a.wild.test")
        assert not names.is_pinned("www.listed.test")

    def test_clear(self) -> None:
        names = LearnedNames()
        names.pin("a.wild.test")
        learned = learn(names, "a.wild.test", (X, 300))
        names.clear()
        assert len(names) == 0
        assert not names.is_pinned("a.wild.test")
        assert learn(names, "a.wild.test", (X, 300)) == learned


class TestIsOpen:
    def test_for_which_entry_and_until_when(self) -> None:
        names = LearnedNames()
        here = ip_address("20.1.2.3")
        door = Destination(here, Transport.TCP, 443)
        for name, ttl in (("www.listed.test", 600), ("a.wild.test", 100)):
            found = opening(INDEX, name)
            assert found is not None
            names.add(names.propose(found, [(here, ttl)], LearnLimits(), 0.0))
        assert names.is_open(door, 605.0)
        assert not names.is_open(door, 605.1)
        assert names.is_open(door, 105.0, "l#2")
        assert not names.is_open(door, 606.0, "l#2")
        assert not names.is_open(door, 0.0, "l#9")
        assert not names.is_open(Destination(here, Transport.UDP, 443), 0.0)
        assert not names.is_open(Destination(ip_address("20.1.2.4"), Transport.TCP, 443), 0.0)

    def test_a_new_policy_with_the_same_id_for_another_name(self) -> None:
        names = LearnedNames()
        here = ip_address("20.1.2.3")
        door = Destination(here, Transport.TCP, 443)
        found = opening(INDEX, "www.listed.test")
        assert found is not None
        names.add(names.propose(found, [(here, 600)], LearnLimits(), 0.0))
        moved = replace(found, doors=(Door(Transport.TCP, 443, "l#7"),))
        names.retain(lambda name: moved, UsableAddresses((), ()), 1.0)
        assert names.is_open(door, 1.0, "l#7")
        assert not names.is_open(door, 1.0, "l#1")


class TestEntries:
    """The kernel has beside each element for which entries it is there, so it is told of each."""

    def test_a_second_entry_at_a_door_is_told_with_its_own_time(self) -> None:
        names = LearnedNames()
        learn(names, "www.listed.test", (X, 3_000))
        (renewed,) = learn(names, "a.wild.test", (X, 300))
        assert (renewed.entry, renewed.expires_at) == ("l#2", NOW + 305)
        assert names.purposes(door(X), NOW) == {"l#1": NOW + 3_005, "l#2": NOW + 305}
        assert names.purposes(door(X), NOW + 306) == {"l#1": NOW + 3_005}

    def test_a_second_name_of_an_entry_is_not_and_has_no_longer_time(self) -> None:
        names = LearnedNames()
        learn(names, "www.listed.test", (X, 3_000))
        learn(names, "a.wild.test", (X, 300))
        assert learn(names, "b.wild.test", (X, 250)) == ()
        assert names.purposes(door(X), NOW)["l#2"] == NOW + 305

    def test_nothing_is_open_for_anybody_where_nothing_is(self) -> None:
        assert LearnedNames().purposes(door(X), NOW) == {}
        assert LearnedNames().doors() == ()


class TestInherited:
    """Doors that an agent before had opened: their entries are known, their names are not."""

    HELD: ClassVar = {door(X): {"l#2": NOW + 100.0, "l#3": NOW + 50.0}}

    def names(self) -> LearnedNames:
        made = LearnedNames()
        made.inherit(self.HELD)
        return made

    def test_open_for_their_entries_until_their_time(self) -> None:
        names = self.names()
        assert names.is_open(door(X), NOW + 100)
        assert not names.is_open(door(X), NOW + 101)
        assert names.is_open(door(X), NOW + 50, "l#3")
        assert not names.is_open(door(X), NOW + 51, "l#3")
        assert not names.is_open(door(X), NOW, "l#1")
        assert not names.is_open(door(Y), NOW)
        assert names.doors() == (door(X),)
        assert names.snapshot(NOW) == ()

    def test_what_is_learned_there_is_one_more(self) -> None:
        names = self.names()
        renewed = learn(names, "www.listed.test", (X, 300))
        assert {each.expires_at for each in renewed} == {NOW + 305}
        assert names.purposes(door(X), NOW + 60) == {"l#1": NOW + 305, "l#2": NOW + 100}
        learn(names, "a.wild.test", (X, 300))
        assert names.purposes(door(X), NOW + 60) == {"l#1": NOW + 305, "l#2": NOW + 305}
        assert sorted(names.doors(), key=str) == sorted({each.destination for each in renewed}, key=str)

    def test_another_policy_or_isolation_ends_them(self) -> None:
        for end in (LearnedNames.clear, lambda names: names.retain(openings(), ALL, NOW)):
            names = self.names()
            end(names)
            assert not names.is_open(door(X), NOW)
            assert names.purposes(door(X), NOW) == {}
            assert names.doors() == ()
