"""A packet filter made of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.ruleset import (
    AcceptFirst,
    Action,
    AddChain,
    AddCounter,
    AddElements,
    AddressSet,
    AddRule,
    AddSet,
    AddTable,
    Chain,
    DeleteElements,
    DeleteTable,
    Element,
    ElementKey,
    FlushChain,
    FlushSet,
    ObservedChain,
    ObservedTable,
    Operation,
    Rule,
    Ruleset,
    Transaction,
)
from isolator.model.verdict import Reason
from isolator.ports import Capability
from isolator.render import nft
from tests.fakes.clock import FakeClock


@dataclass
class HeldChain:
    """A chain with its rules, each with the queue number it names."""

    shape: Chain
    policy: str
    rules: list[tuple[Rule, int]] = field(default_factory=list)


@dataclass
class HeldTable:
    """Our table. An element is held until the instant beside it; None is for ever.

    `comments` are those that came with elements: one that is there keeps what it has.
    """

    sets: dict[str, AddressSet] = field(default_factory=dict)
    elements: dict[str, dict[ElementKey, float | None]] = field(default_factory=dict)
    comments: dict[tuple[str, ElementKey], str] = field(default_factory=dict)
    counters: dict[Reason, int] = field(default_factory=dict)
    chains: dict[str, HeldChain] = field(default_factory=dict)

    def copy(self) -> HeldTable:
        """A table that can be changed without changing this one."""
        chains = {
            name: HeldChain(chain.shape, chain.policy, list(chain.rules))
            for name, chain in self.chains.items()
        }
        elements = {name: dict(held) for name, held in self.elements.items()}
        return HeldTable(dict(self.sets), elements, dict(self.comments), dict(self.counters), chains)

    def comment(self, name: str, element: Element) -> None:
        """Put down or remove the comment of an element that comes anew."""
        if element.comment is None:
            self.comments.pop((name, element.key), None)
        else:
            self.comments[name, element.key] = element.comment


class FakeFilterBackend:
    """Interprets transactions as the kernel does: whole or not at all, elements expire with the clock.

    `refusals` maps a purpose ("arm", "learn", ...) to the error to raise instead of doing it.
    `applied` and `learned` tell what was asked for, in order. `table` may be edited, as an
    intruder would edit the kernel's.
    """

    name = "fake"

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.table: HeldTable | None = None
        self.applied: list[Transaction] = []
        self.learned: list[tuple[AddressSet, Element]] = []
        self.refusals: dict[str, IsolatorError] = {}
        self.once: set[str] = set()
        self.missing: frozenset[str] = frozenset()

    def capabilities(self) -> tuple[Capability, ...]:
        """Codes of the real backend; those in `missing` are not there."""
        codes = ("permission", "nftables", "inet_family", "fib", "queue")
        return tuple(
            Capability(code, code not in self.missing, f"{code} of the fake", "nothing works")
            for code in codes
        )

    def check(self, transaction: Transaction) -> None:
        """Judge without keeping the outcome."""
        self._refuse(f"check {transaction.purpose}")
        self._after(transaction)

    def apply(self, transaction: Transaction) -> None:
        """Judge and keep."""
        self._refuse(transaction.purpose)
        self.table = self._after(transaction)
        self.applied.append(transaction)

    def observe(self) -> ObservedTable | None:
        """The table as the kernel would list it."""
        table = self.table
        if table is None:
            return None
        chains = {
            name: ObservedChain(
                hook=chain.shape.hook.value if chain.shape.hook else None,
                priority=chain.shape.priority if chain.shape.hook else None,
                policy=chain.policy if chain.shape.hook else None,
                rules=tuple(nft.rule_json(rule, number) for rule, number in chain.rules),
            )
            for name, chain in table.chains.items()
        }
        sets = nft.expected_table(Ruleset(tuple(table.sets.values()), ())).sets
        return ObservedTable(chains, sets, {reason.value: n for reason, n in table.counters.items()})

    def elements(self, spec: AddressSet) -> tuple[Element, ...]:
        """Live elements with the time they have left."""
        if self.table is None:
            return ()
        now = self.clock.boottime()
        held, comments = self.table.elements.get(spec.name, {}), self.table.comments
        return tuple(
            Element(key, None if until is None else round(until - now), comments.get((spec.name, key)))
            for key, until in held.items()
            if until is None or until > now
        )

    def learn(self, additions: Sequence[tuple[AddressSet, Element]]) -> None:
        """As the real one: all or none, an element that is there gets the new timeout."""
        if not additions:
            return
        self._refuse("learn")
        _need(self.table is not None, "table")
        assert self.table is not None
        table = self.table.copy()
        now = self.clock.boottime()
        fresh: dict[tuple[str, ElementKey], tuple[float, Element]] = {}
        for spec, element in additions:
            until = math.inf if element.timeout_s is None else now + element.timeout_s
            at = (spec.name, element.key)
            if at not in fresh or fresh[at][0] < until:
                fresh[at] = (until, element)
            _need(spec.name in table.elements, f"set {spec.name}")
        for (name, key), (until, element) in fresh.items():
            if element.comment is not None or key not in table.elements[name]:
                table.comment(name, element)
            table.elements[name][key] = None if until == math.inf else until
        self.table = table
        self.learned += additions

    def fails_once(self, purpose: str) -> None:
        """Have the next attempt at this refused, and none after it."""
        self.refusals[purpose] = IsolatorError(FailureCode.KERNEL_REFUSED, purpose, "not this time")
        self.once.add(purpose)

    def _refuse(self, purpose: str) -> None:
        if purpose in self.once:
            self.once.remove(purpose)
            raise self.refusals.pop(purpose)
        if purpose in self.refusals:
            raise self.refusals[purpose]

    def _after(self, transaction: Transaction) -> HeldTable | None:
        table = self.table.copy() if self.table is not None else None
        for operation in transaction.operations:
            table = _interpret(table, operation, self.clock.boottime())
        return table


def _need(is_there: bool, what: str) -> None:
    if not is_there:
        sentence = f"the kernel refused to change the table: no {what}"
        raise IsolatorError(FailureCode.KERNEL_REFUSED, "apply", sentence)


def _interpret(table: HeldTable | None, operation: Operation, now: float) -> HeldTable | None:
    if isinstance(operation, AddTable):
        return table or HeldTable()
    _need(table is not None, "table")
    assert table is not None
    if isinstance(operation, DeleteTable):
        return None
    match operation:
        case AddSet(spec):
            _need(table.sets.setdefault(spec.name, spec) == spec, f"equal set {spec.name}")
            table.elements.setdefault(spec.name, {})
        case AddCounter(reason):
            table.counters.setdefault(reason, 0)
        case AddElements(spec, elements):
            _add(table, spec, elements, now)
        case DeleteElements(spec, elements):
            _need(spec.name in table.sets, f"set {spec.name}")
            for element in elements:
                table.elements[spec.name].pop(element.key, None)
        case FlushSet(spec):
            _need(spec.name in table.sets, f"set {spec.name}")
            table.elements[spec.name].clear()
        case _:
            _change_chains(table, operation)
    return table


def _add(table: HeldTable, spec: AddressSet, elements: tuple[Element, ...], now: float) -> None:
    _need(spec.name in table.sets, f"set {spec.name}")
    held = table.elements[spec.name]
    for element in elements:
        until = held.get(element.key, 0.0)
        if until is not None and until <= now:
            table.comment(spec.name, element)
        held[element.key] = None if element.timeout_s is None else now + element.timeout_s


def _change_chains(table: HeldTable, operation: Operation) -> None:
    match operation:
        case AddChain(chain, accepting):
            held = table.chains.setdefault(chain.name, HeldChain(chain, "drop"))
            held.policy = "accept" if accepting else "drop"
        case FlushChain(name):
            _chain(table, name).rules.clear()
        case AddRule(chain_name, rule, number):
            _chain(table, chain_name).rules.append((rule, number))
        case AcceptFirst(name):
            _chain(table, name).rules.insert(0, (Rule((), Action.ACCEPT), 0))


def _chain(table: HeldTable, name: str) -> HeldChain:
    _need(name in table.chains, f"chain {name}")
    return table.chains[name]
