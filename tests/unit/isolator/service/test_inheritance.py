"""What an agent finds in the kernel's timed sets: its own is kept, everything else is shut and stops nobody."""

from __future__ import annotations

import logging
from dataclasses import replace
from ipaddress import ip_address

import pytest

from allowlists.model import Entry
from isolator.core import plan
from isolator.core.compiler import EMBEDDED, LEARNED, SEEN, SETS, compile_policy
from isolator.core.learned_elements import by_set, elements_of
from isolator.core.purpose_seal import PurposeSeal
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, LearnedAddress, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.ruleset import AddressSet, Element, FlushSet, Transaction
from isolator.service.enforcement import Enforcement
from isolator.service.inheritance import Inheritance, take_stock
from tests.fakes.clock import FakeClock
from tests.fakes.filter_backend import FakeFilterBackend
from tests.fakes.flow_table import FakeFlowTable

ENTRIES = (Entry(1, "a.test", "a.test", list_id="l"), Entry(2, "b.test", "b.test", list_id="l"))
KEY = b"k" * 16
SEAL = PurposeSeal(KEY, "boot", ENTRIES)
DOOR = Destination(ip_address("20.1.2.3"), Transport.TCP, 443)
DOOR6 = Destination(ip_address("2603:1061::1"), Transport.TCP, 443)
RULESET = compile_policy(Policy(IsolationScope.FULL, ENTRIES), 9)


class World:
    """A kernel with two learned doors, and time to pass."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.backend = FakeFilterBackend(self.clock)
        self.now = self.clock.boottime()
        learned = [
            LearnedAddress(DOOR, "a.test", "l#1", self.now + 300),
            LearnedAddress(DOOR, "b.test", "l#2", self.now + 60),
            LearnedAddress(DOOR6, "b.test", "l#2", self.now + 600),
        ]
        held = by_set(elements_of(learned, now=self.now, seal=SEAL))
        self.backend.apply(plan.replace(RULESET, held))

    def stock(self, seal: PurposeSeal = SEAL) -> Inheritance:
        return take_stock(self.backend, seal, self.clock.boottime())

    def learned(self) -> set[object]:
        return {each.key for name in LEARNED.values() for each in self.backend.elements(SETS[name])}

    def put(self, element: Element, name: str = LEARNED[4]) -> None:
        self.backend.learn([(SETS[name], element)])

    def enforcement(self) -> Enforcement:
        return Enforcement(self.backend, FakeFlowTable([]), self.clock, seal=SEAL)


@pytest.fixture
def world() -> World:
    return World()


def test_what_was_written_is_taken_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    found = world.stock()
    assert found.doors == {
        DOOR: {"l#1": world.now + 300, "l#2": world.now + 60},
        DOOR6: {"l#2": world.now + 600},
    }
    assert found.destinations() == {DOOR, DOOR6}
    assert found.purposes(DOOR6, world.now) == {"l#2": world.now + 600}
    assert found.purposes(replace(DOOR, port=80), world.now) == {}
    assert {spec.name for spec, _, _ in found.outliving} == {*SEEN.values(), *EMBEDDED.values()}
    assert found.shutting(()) is None
    assert found.emptying() is None
    assert not caplog.records


def test_it_is_put_back_as_it_was(world: World) -> None:
    before = {spec.name: set(world.backend.elements(spec)) for spec in RULESET.sets}
    elements = by_set(world.stock().elements(now=world.now, seal=SEAL))
    assert {name: set(held) for name, held in elements.items()} == {k: v for k, v in before.items() if v}


def test_what_expires_meanwhile_is_left_out(world: World) -> None:
    found = world.stock()
    elements = by_set(found.elements(now=world.now + 301, seal=SEAL))
    assert [each.key for each in elements[LEARNED[6]]] == [DOOR6]
    assert LEARNED[4] not in elements
    assert by_set(found.elements(now=world.now + 100_000, seal=SEAL)) == {}


def test_an_entry_whose_time_is_over_is_not_taken_over(world: World) -> None:
    world.clock.advance(100)
    assert world.stock().purposes(DOOR, world.now) == {"l#1": world.now + 300}


FORGED = (
    None,
    "",
    "AAAA",
    SEAL.write(DOOR6, {"l#1": 1e9}),
    PurposeSeal(b"x", "boot", ENTRIES).write(DOOR, {"l#1": 1e9}),
)


@pytest.mark.parametrize("comment", FORGED)
@pytest.mark.parametrize("timeout_s", [600, None])
def test_what_nobody_wrote_is_shut(
    world: World, comment: str | None, timeout_s: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """An element that never expires too."""
    intruder = replace(DOOR, address=ip_address("20.66.6.6"))
    world.put(Element(intruder, timeout_s, comment))
    enforcement = world.enforcement()
    enforcement.inherit()
    assert set(enforcement.inherited.doors) == {DOOR, DOOR6}
    assert enforcement.shut_strangers(())
    assert world.learned() == {DOOR, DOOR6}
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert said.getMessage().startswith("1 learned addresses")


def test_entries_that_have_gone_are_shut_without_a_word(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    enforcement = world.enforcement()
    enforcement.seal = PurposeSeal(KEY, "boot", ENTRIES[:1])
    enforcement.inherit()
    assert enforcement.inherited.doors == {DOOR: {"l#1": world.now + 300}}
    assert not enforcement.shut_strangers([LearnedAddress(DOOR6, "a.test", "l#1", world.now + 60)])
    assert world.learned() == {DOOR, DOOR6}, "it has been learned since"
    assert enforcement.shut_strangers(())
    assert world.learned() == {DOOR}
    assert not caplog.records


def test_a_kernel_that_does_not_let_shut_them_stops_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.backend.refusals["shut"] = IsolatorError(FailureCode.KERNEL_REFUSED, "shut", "no way")
    enforcement = world.enforcement()
    enforcement.seal = PurposeSeal(KEY, "boot", ())
    enforcement.inherit()
    assert enforcement.shut_strangers(())
    assert enforcement.inherited.doors == {}
    assert [each.getMessage() for each in caplog.records] == ["no way"]


class Odd(FakeFilterBackend):
    """A set of it holds what is not of our kind."""

    odd: AddressSet = SETS[LEARNED[4]]
    raises: IsolatorError | None = None

    def elements(self, spec: AddressSet) -> tuple[Element, ...]:
        if spec != self.odd:
            return super().elements(spec)
        if self.raises is not None:
            raise self.raises
        return (Element(DOOR6 if spec.name in EMBEDDED.values() else DOOR.address, 60),)


class TestOddSets:
    @pytest.mark.parametrize("name", [LEARNED[4], SEEN[6], EMBEDDED[4]])
    @pytest.mark.parametrize("code", [FailureCode.NOT_AS_WANTED, None])
    def test_they_are_emptied_and_the_others_stay(
        self, world: World, name: str, code: FailureCode | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        odd = Odd(world.clock)
        odd.table, odd.odd = world.backend.table, SETS[name]
        odd.raises = None if code is None else IsolatorError(code, "list", "not ours")
        found = take_stock(odd, SEAL, world.now)
        assert found.emptying() == Transaction("empty", (FlushSet(SETS[name]),))
        assert (DOOR6 in found.doors, DOOR in found.doors) == (True, name != LEARNED[4])
        assert len(caplog.records) == 1

    def test_a_kernel_that_does_not_answer_is_another_thing(self, world: World) -> None:
        odd = Odd(world.clock)
        odd.raises = IsolatorError(FailureCode.NO_PERMISSION, "list", "no")
        with pytest.raises(IsolatorError):
            take_stock(odd, SEAL, world.now)


def test_what_was_taken_over_stays_beside_what_is_learned_since(world: World) -> None:
    """Also where the rules have to be put back whole."""
    enforcement = world.enforcement()
    enforcement.inherit()
    world.backend.table = None
    enforcement.replace(RULESET, [LearnedAddress(DOOR, "b.test", "l#2", world.now + 90)])
    (element,) = world.backend.elements(SETS[LEARNED[4]])
    assert element.timeout_s == 300
    assert SEAL.read(DOOR, element.comment) == {"l#1": world.now + 300, "l#2": world.now + 90}
    assert world.learned() == {DOOR, DOOR6}
