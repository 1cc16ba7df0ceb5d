"""The kernel side of an order: prepare, arm, update, release, verify, repair.

Every change is a transaction of `core.plan`; after each the kernel is read back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from isolator.core import plan
from isolator.core.learned_elements import by_set, doors_of, elements_of
from isolator.core.purpose_seal import UNSEALED, PurposeSeal
from isolator.core.trace import trace
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Destination, LearnedAddress, Packet, Transport
from isolator.model.ruleset import (
    AddElements,
    AddressSet,
    Element,
    ObservedTable,
    Ruleset,
    Transaction,
)
from isolator.model.segment import FlowKey
from isolator.model.verdict import Verdict
from isolator.ports import Clock, EndedFlows, FilterBackend, FlowTable
from isolator.render.nft import expected_table
from isolator.service.inheritance import Inheritance, take_stock
from isolator.service.policy_builder import CONTROL_LIST, EXCLUSION_LIST

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass
class Enforcement:
    """One host's filter, as far as this agent rules it."""

    backend: FilterBackend
    flows: FlowTable
    clock: Clock
    repairs: int = 0
    verified_at: str | None = None
    listing: ObservedTable | None = None
    """The table as it was listed last, for a report right after an order was verified."""
    took_ms: dict[str, float] = field(default_factory=dict)
    """How long the last commit, flow ending and read-back took, for the order's report."""
    spared: list[FlowKey] = field(default_factory=list)
    """Connections that the last isolation left alone although nobody has heard whom they named."""
    on_gap: Callable[[], None] = lambda: None
    """Called before rules that somebody took away whole are armed again: anything passed in between."""
    seal: PurposeSeal = UNSEALED
    """Writes beside each learned door for which entries it is open, and reads it."""
    inherited: Inheritance = field(default_factory=Inheritance)
    """What is in the kernel although nobody knows its names any more. It is kept as it is; a new policy
    cannot judge it and drops it."""

    def observe(self) -> ObservedTable | None:
        """Our table as the kernel has it."""
        return self.backend.observe()

    def check(self, ruleset: Ruleset) -> None:
        """Have the kernel judge the whole ruleset without touching anything."""
        self.backend.check(plan.replace(ruleset, {}))

    def inherit(self) -> None:
        """Take over what an agent before, or a gate that has been emptied, had put into the kernel."""
        self.inherited = take_stock(self.backend, self.seal, self.clock.boottime())
        self._tidy(self.inherited.emptying())

    def shut_strangers(self, learned: Sequence[LearnedAddress]) -> bool:
        """Shut the doors that nobody answers for; says whether there were any.

        `learned` is what the agent has learned itself by now: it stays open. Where shutting fails the gate
        refuses connections there.
        """
        return self._tidy(self.inherited.shutting({each.destination for each in learned}))

    def _tidy(self, transaction: Transaction | None) -> bool:
        if transaction is None:
            return False
        try:
            self.backend.apply(transaction)
        except IsolatorError as error:
            _log.error("%s", error.sentence)
        return True

    def isolate(self, ruleset: Ruleset, learned: Sequence[LearnedAddress]) -> EndedFlows:
        """From connected to isolated: two commits, old flows ended, read back.

        No connection has named a host to the gate yet, so those to learned doors end too; `spared` has
        those to doors that the controller's name or an exclusion opened, for the gate to let them go on.
        """
        elements = self._elements(learned)
        remnant = self.backend.observe() is not None
        self.backend.apply(plan.prepare(ruleset, elements, remnant=remnant))
        self._timed("commit_ms", lambda: self.backend.apply(plan.arm(ruleset)))
        return self.end_older(ruleset, learned)

    def end_older(self, ruleset: Ruleset, learned: Sequence[LearnedAddress]) -> EndedFlows:
        """Once the rules are in force: end the flows that are older and may not go on, and read back."""
        self.spared = []
        kept = _doors_of(learned, (CONTROL_LIST, EXCLUSION_LIST))
        return self._settle(ruleset, self._elements(learned), kept)

    def take_spared(self) -> list[FlowKey]:
        """Give what was spared since this was asked last, for the gate to be told once."""
        found, self.spared = self.spared, []
        return found

    def excluded_flows(self, learned: Sequence[LearnedAddress]) -> list[FlowKey]:
        """Connections that exist now to doors that an exclusion by name opened: nobody judges these."""
        kept = _doors_of(learned, (EXCLUSION_LIST,))
        found: list[FlowKey] = []

        def look(packet: Packet) -> bool:
            flow = _flow(packet)
            if flow is not None and Destination(flow.server, Transport.TCP, flow.server_port) in kept:
                found.append(flow)
            return True

        if kept:
            self.flows.end(look)
        return found

    def replace(self, ruleset: Ruleset, learned: Sequence[LearnedAddress]) -> EndedFlows:
        """Whatever is there: after this it is exactly the ruleset, and never less in between.

        Where no rule is in force yet it is done as any isolation: sets first, rules in a commit of their own.
        """
        observed = self.backend.observe()
        if observed is None or all(chain.hook is None for chain in observed.chains.values()):
            self.on_gap()
            return self.isolate(ruleset, learned)
        elements = self._elements(learned)
        transaction = self._mending(ruleset, elements) or plan.replace(ruleset, elements)
        self._timed("commit_ms", lambda: self.backend.apply(transaction))
        return self._settle(ruleset, elements)

    def _mending(
        self, ruleset: Ruleset, elements: Mapping[str, tuple[Element, ...]], *, strays: bool = True
    ) -> Transaction | None:
        """The transaction that mends what stands. `strays`: learned elements that are not among these go."""
        try:
            held = {
                spec.name: self.backend.elements(spec)
                for spec in ruleset.sets
                if not spec.room and (strays or not spec.timed)
            }
        except IsolatorError as error:
            if error.code is FailureCode.NOT_AS_WANTED:
                return None  # somebody put elements there that are not of our kind
            raise
        return plan.mend(self.backend.observe(), expected_table(ruleset), held, ruleset, elements)

    def update(
        self,
        current: Ruleset,
        wanted: Ruleset,
        *,
        add: Sequence[LearnedAddress],
        forget: Sequence[LearnedAddress],
        keep: Sequence[LearnedAddress],
    ) -> EndedFlows:
        """From one isolation to another in one commit; flows the new one forbids end."""
        known = {each.destination for each in keep}
        shut = {each.destination for each in forget}
        shut |= self.inherited.destinations() - known
        transaction = plan.update(
            current, wanted, add=by_set(self._learned_elements(add)), forget=doors_of(shut)
        )
        self._timed("commit_ms", lambda: self.backend.apply(transaction))
        self.inherited = Inheritance()
        return self._settle(wanted, self._elements(keep))

    def release(self, ruleset: Ruleset | None) -> None:
        """Everything passes again, then our table is gone."""
        started = time.perf_counter()
        if ruleset is not None and self.backend.observe() is not None:
            self.backend.apply(plan.open_up(ruleset))
            self.took_ms["commit_ms"] = _ms_since(started)
        self.backend.apply(plan.remove())
        if self.backend.observe() is not None:
            raise IsolatorError(
                FailureCode.NOT_AS_WANTED, "release", "the kernel still lists our table after its removal"
            )
        self.verified_at = self.listing = None
        self.inherited = Inheritance()

    def verify(self, ruleset: Ruleset, observed: ObservedTable | None = None) -> tuple[str, ...]:
        """What differs from the ruleset; remembers the time when nothing does.

        `observed` is a listing the caller has just made; without it the kernel is asked.
        """
        self.listing = observed or self.backend.observe()
        found = plan.drift(self.listing, expected_table(ruleset))
        if not found:
            fixed = (spec for spec in ruleset.sets if not spec.timed)
            found = tuple(sentence for spec in fixed for sentence in self._contents_drift(spec, ruleset))
        if not found:
            self.verified_at = self.clock.utc_now()
        return found

    def _contents_drift(self, spec: AddressSet, ruleset: Ruleset) -> tuple[str, ...]:
        """Listing a table leaves elements out: one added by hand, or never committed, shows only here."""
        try:
            return plan.contents_drift(spec, self.backend.elements(spec), ruleset)
        except IsolatorError as error:
            if error.code is FailureCode.NOT_AS_WANTED:
                return (error.sentence,)
            raise

    def repair(self, ruleset: Ruleset, learned: Sequence[LearnedAddress]) -> tuple[str, ...]:
        """Put back what somebody changed; gives what was wrong, empty when nothing was."""
        found = self.verify(ruleset)
        if found:
            # The rules first: listing or adding many learned addresses takes long enough to matter.
            rules = self._mending(ruleset, {}, strays=False)
            if rules is not None:
                self.backend.apply(rules)
                elements = self._elements(learned)
                adding = [
                    AddElements(spec, elements[spec.name]) for spec in ruleset.sets if spec.name in elements
                ]
                self.backend.apply(Transaction("refill", tuple(adding)))
                self._settle(ruleset, elements)
            else:
                self.replace(ruleset, learned)
            self.repairs += 1
        return found

    def _settle(
        self,
        ruleset: Ruleset,
        learned: Mapping[str, tuple[Element, ...]],
        kept: frozenset[Destination] | None = None,
    ) -> EndedFlows:
        """End what may not go on, and read back. `kept`: of the learned doors only flows to these go on."""
        held = {name: frozenset(each.key for each in elements) for name, elements in learned.items()}

        def may_go_on(packet: Packet) -> bool:
            if trace(ruleset, packet, held).verdict is Verdict.ACCEPT:
                return True
            if trace(ruleset, packet, held, gate=Verdict.ACCEPT).verdict is not Verdict.ACCEPT:
                return False
            flow = _flow(packet)
            if flow is None or kept is None:
                return True  # a flow to a resolver goes on under the gate
            if Destination(flow.server, Transport.TCP, flow.server_port) not in kept:
                return False
            self.spared.append(flow)
            return True

        ended = self._timed("flows_ms", lambda: self.flows.end(may_go_on))
        found = self._timed("verify_ms", lambda: self.verify(ruleset))
        if found:
            raise IsolatorError(
                FailureCode.NOT_AS_WANTED,
                "verify",
                f"the kernel does not hold what was committed: {'; '.join(found)}",
            )
        return ended

    def _elements(self, learned: Sequence[LearnedAddress]) -> dict[str, tuple[Element, ...]]:
        """What the timed sets are to hold: what is learned, and what was inherited and is alive."""
        alive = self.inherited.elements(now=self.clock.boottime(), seal=self.seal)
        return by_set((*self._learned_elements(learned), *alive))

    def _learned_elements(self, learned: Sequence[LearnedAddress]) -> list[tuple[AddressSet, Element]]:
        now, known = self.clock.boottime(), self.inherited.purposes
        return elements_of(learned, now=now, seal=self.seal, known=known)

    def _timed(self, name: str, action: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = action()
        self.took_ms[name] = _ms_since(started)
        return result


def _flow(packet: Packet) -> FlowKey | None:
    """The connection of a packet on its way out; None when it is no TCP."""
    if packet.protocol != "tcp" or packet.source_port is None or packet.destination_port is None:
        return None
    return FlowKey(packet.source, packet.source_port, packet.destination, packet.destination_port)


def _doors_of(learned: Sequence[LearnedAddress], lists: Sequence[str]) -> frozenset[Destination]:
    """Doors that entries of these lists opened."""
    return frozenset(each.destination for each in learned if each.entry.rpartition("#")[0] in lists)


def _ms_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
