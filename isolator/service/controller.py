"""Carries out orders: the host's state machine with its effects.

One order at a time, in the caller's thread. The journal is written before the kernel is touched
and after it is read back, so that whoever finds it later knows what was wanted.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from isolator.core.compiler import compile_policy
from isolator.core.control_check import cut_doors
from isolator.core.learned_elements import Purposes, by_set, elements_of
from isolator.core.lifecycle import Event, ImpossibleEventError, step
from isolator.core.purpose_seal import UNSEALED, PurposeSeal
from isolator.model.config import AgentConfig
from isolator.model.event import Alert, EventKind, HostEvent, Refusal
from isolator.model.failure import FailureCode, IsolatorError
from isolator.model.flow import Address, Destination, LearnedAddress, Transport
from isolator.model.order import HostState, IsolationOrder, OnSilence, ReleaseOrder
from isolator.model.policy import Policy
from isolator.model.ruleset import ObservedChain, Ruleset
from isolator.model.segment import FlowKey
from isolator.model.verdict import Reason
from isolator.ports import (
    Clock,
    ControlProbe,
    EndedFlows,
    FilterBackend,
    FlowAnswer,
    FlowQueue,
    FlowTable,
    HostInspector,
    NameResolver,
    Notifier,
    PacketQueue,
    QueueAnswer,
    QueuedPacket,
    StateStore,
)
from isolator.service import journal
from isolator.service.enforcement import Enforcement
from isolator.service.inheritance import Inheritance
from isolator.service.journal import Expiry, Isolation, Record
from isolator.service.name_cache import NameCache
from isolator.service.policy_builder import (
    CONTROL_LIST,
    EXCLUSION_LIST,
    BuiltPolicy,
    LoadList,
    build_policy,
    fixed_control_doors,
    names_to_resolve,
)

LOG = logging.getLogger(__name__)

CONTROL_DEADLINE_S = 3.0
"""How long the control channel may take to answer after the commit (commit-confirm)."""


class NameGate(Protocol):
    """The packet gate with its table of learned names; all methods may be called from any thread."""

    def handle(self, packet: QueuedPacket) -> QueueAnswer:
        """Judge one queued datagram."""
        ...

    def handle_segment(self, packet: QueuedPacket, number: int) -> FlowAnswer:
        """Judge one queued segment."""
        ...

    def expire_segments(self) -> FlowAnswer:
        """Give up connections that say too little for too long."""
        ...

    def inherit(self, doors: Mapping[Destination, Purposes]) -> None:
        """Take over doors that an agent before had opened, each for its entries."""
        ...

    def restate(self) -> None:
        """Put all that is open into the kernel again, with the entries it is open for."""
        ...

    def spare(self, flows: Iterable[FlowKey]) -> None:
        """Let connections go on that were there before the gate."""
        ...

    def forget_connections(self) -> None:
        """Forget who was approved: the rules were away for a while."""
        ...

    def replace_policy(
        self, policy: Policy, own_addresses: Sequence[Address], seal: PurposeSeal = UNSEALED
    ) -> Sequence[LearnedAddress]:
        """Judge by another policy from now on; gives the learned addresses it no longer covers."""
        ...

    def preload(
        self, answers: Mapping[str, Sequence[tuple[Address, int]]], now: float
    ) -> Sequence[LearnedAddress]:
        """Learn from the agent's own look-ups, under the same rules as from seen answers."""
        ...

    def forget(self) -> None:
        """Forget what was learned: the kernel's table is gone."""
        ...

    def learned(self, now: float) -> Sequence[LearnedAddress]:
        """What is learned and still alive."""
        ...

    def alerts(self) -> Sequence[Alert]:
        """What of this isolation somebody should look at."""
        ...

    def refusals(self) -> tuple[Sequence[Refusal], int]:
        """What was refused lately, and how many of these are forgotten."""
        ...

    def counters(self) -> Mapping[Reason, int]:
        """How often the gate decided what."""
        ...


@dataclass(frozen=True, slots=True)
class Outside:
    """The ports of one host."""

    backend: FilterBackend
    queue: PacketQueue
    flows: FlowTable
    notifier: Notifier
    store: StateStore
    clock: Clock
    resolver: NameResolver
    probe: ControlProbe
    inspector: HostInspector
    flow_queue: FlowQueue


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an order ended: the state in force, whether anything changed, and times in milliseconds."""

    state: HostState
    changed: bool
    ended: EndedFlows
    took_ms: Mapping[str, float]


class Controller:
    """The one who rules this host's filter."""

    def __init__(
        self,
        outside: Outside,
        gate: NameGate,
        *,
        load_config: Callable[[], AgentConfig],
        load_list: LoadList,
        queue_number: int,
        new_key: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.outside = outside
        self.gate = gate
        self.enforcement = Enforcement(outside.backend, outside.flows, outside.clock)
        self.enforcement.on_gap = gate.forget_connections
        self.names = NameCache(outside.resolver, outside.clock)
        self.load_config = load_config
        self.load_list = load_list
        self._queue_number = queue_number
        self._new_key = new_key
        self._lock = threading.RLock()
        self._checked = False
        self.control_ok = True
        self.state = HostState.CONNECTED
        self.generation = 0
        self.isolation: Isolation | None = None
        self.ruleset: Ruleset | None = None

    # Orders

    def isolate(self, order: IsolationOrder) -> Outcome:
        """Reach and verify isolation as ordered; the host is untouched or rolled back on an error."""
        with self._lock:
            follow = self._step(Event.ISOLATE)
            self.enforcement.took_ms.clear()
            config = self.load_config()
            facts = self.outside.inspector.facts()
            built = build_policy(order, config, facts, self.load_list)
            self._need_capabilities()
            expiry = self._expiry(order)
            since, key = self.outside.clock.utc_now(), self._new_key(journal.KEY_LENGTH)
            isolation = Isolation(order, built.policy, built.lists, since, expiry, key)
            if follow is HostState.ISOLATING:
                return self._isolate(isolation, facts.own_addresses)
            if self.isolation is None:
                return self._adopt(isolation, facts.own_addresses)
            return self._update(self.isolation, isolation, built, facts.own_addresses)

    def preview(self, order: IsolationOrder) -> Mapping[str, object]:
        """What an order would put in force, judged by the kernel, with nothing changed."""
        with self._lock:
            config = self.load_config()
            facts = self.outside.inspector.facts()
            built = build_policy(order, config, facts, self.load_list)
            self._need_capabilities()
            ruleset = compile_policy(built.policy, self._queue_number)
            self._check_control(
                ruleset, built.policy, self._would_learn(built.policy, order.geo), facts.own_addresses
            )
            self.enforcement.check(ruleset)
        return {
            "dry_run": True,
            "state": self.state.value,
            "lists": [
                {"id": each.id, "version": each.version, "entries": each.entries} for each in built.lists
            ],
            "open_names": [
                {"entry": entry.id, "pattern": entry.pattern, "ports": list(entry.ports)}
                for entry in built.policy.entries
            ],
            "open_networks": [
                {"entry": each.entry, "network": str(each.network), "port": each.port}
                for each in built.policy.networks
            ],
            "resolvers": [str(address) for address in built.policy.resolvers],
            "open_proxies": [str(proxy) for proxy in built.policy.proxies],
        }

    def release(self, order: ReleaseOrder, *, why: EventKind = EventKind.RELEASED) -> Outcome:
        """Reach and verify that nothing of ours is left in the kernel; twice does no harm."""
        with self._lock:
            event = Event.EXPIRED if why is EventKind.EXPIRED else Event.RELEASE
            self.enforcement.took_ms.clear()
            if self._step(event) is HostState.CONNECTED and self.enforcement.observe() is None:
                return self._outcome(changed=False)
            self._save(HostState.RELEASING)
            try:
                self.enforcement.release(self.ruleset)
            except IsolatorError as error:
                self._release_failed(error)
                raise
            self._close_queues()
            self.gate.forget()
            last = self.isolation
            self.generation += 1
            try:
                self._save(HostState.CONNECTED)  # before anybody is told that the host is free
            finally:
                self.state, self.isolation, self.ruleset = HostState.CONNECTED, None, None
            scope = last.order.scope.value if last else ""
            self._tell(why, reason=order.comment, scope=scope)
            return self._outcome(changed=True)

    def _open_queues(self) -> None:
        """The gate listens: to datagrams in one queue, to connections in the next."""
        self.outside.queue.open(self._queue_number, self.gate.handle)
        try:
            self.outside.flow_queue.open_flows(
                self._queue_number + 1, self.gate.handle_segment, self.gate.expire_segments
            )
        except IsolatorError:
            self.outside.queue.close()
            raise

    def _close_queues(self) -> None:
        self.outside.flow_queue.close()
        self.outside.queue.close()

    def _isolate(self, isolation: Isolation, own: Sequence[Address]) -> Outcome:
        ruleset = compile_policy(isolation.policy, self._queue_number)
        learned = self._fill_gate(isolation, own)
        self._check_control(ruleset, isolation.policy, learned, own)
        self.enforcement.check(ruleset)
        before = self.generation
        self.generation += 1
        self.state, self.isolation, self.ruleset = HostState.ISOLATING, isolation, ruleset
        try:
            self._save(HostState.ISOLATING)
        except IsolatorError:
            self.state, self.isolation, self.ruleset, self.generation = (
                HostState.CONNECTED,
                None,
                None,
                before,
            )
            raise
        try:
            self._open_queues()
            ended = self.enforcement.isolate(ruleset, learned)
            self.gate.spare(self.enforcement.take_spared())
            self._confirm(isolation, learned)
            self._save(HostState.ISOLATED)
        except IsolatorError as error:
            self._roll_back(error, before)
            raise
        self.state = HostState.ISOLATED
        self._tell_isolated(EventKind.ISOLATED, isolation)
        return self._outcome(changed=True, ended=ended)

    def _adopt(self, isolation: Isolation, own: Sequence[Address]) -> Outcome:
        """Rules stand but nobody knows whose order they keep: this order takes their place, no gap."""
        ruleset = compile_policy(isolation.policy, self._queue_number)
        self.enforcement.check(ruleset)
        self._judge_by(isolation, own)
        # The rules that stand send our own look-ups to the gate: it must listen before they are made.
        self._open_queues()
        try:
            self._preload(isolation)
            learned = self._learned()
            self._check_control(ruleset, isolation.policy, learned, own)
            self.generation += 1
            self.isolation, self.ruleset = isolation, ruleset
            self._save(HostState.ISOLATED)
        except IsolatorError:
            self._close_queues()
            self.gate.forget()
            self.isolation = self.ruleset = None
            raise
        ended = self.enforcement.replace(ruleset, learned)
        self.gate.restate()
        self.gate.spare(self.enforcement.take_spared())
        self._tell_isolated(EventKind.ISOLATED, isolation)
        return self._outcome(changed=True, ended=ended)

    def _update(
        self, old: Isolation, isolation: Isolation, built: BuiltPolicy, own: Sequence[Address]
    ) -> Outcome:
        was = self.ruleset
        isolation = replace(isolation, since=old.since, key=old.key)
        wanted = compile_policy(built.policy, self._queue_number)
        if was is not None and built.policy == old.policy and not self.enforcement.verify(was):
            self.isolation = isolation
            if isolation.order != old.order:
                self.generation += 1
                self._save(HostState.ISOLATED)
            return self._outcome(changed=isolation.order != old.order)
        self.enforcement.check(wanted)
        self._check_control(wanted, built.policy, self._would_learn(built.policy, isolation.order.geo), own)
        self.generation += 1
        self.isolation = isolation
        try:
            self._save(HostState.ISOLATED)
        except IsolatorError:
            self.isolation = old
            self.generation -= 1
            raise
        try:
            ended = self._commit_update(isolation, was, wanted, own)
            self._confirm(isolation, self._learned())
        except IsolatorError as error:
            self._restore(old, was, own, error)
            raise
        self._tell_isolated(EventKind.POLICY_UPDATED, isolation)
        return self._outcome(changed=True, ended=ended)

    def _commit_update(
        self, isolation: Isolation, was: Ruleset | None, wanted: Ruleset, own: Sequence[Address]
    ) -> EndedFlows:
        """Narrow the gate before the kernel, so that nothing can be learned for an entry that goes.

        Last the kernel is told anew for which entries the addresses are that both policies open.
        """
        forget = self._judge_by(isolation, own)
        add = self._preload(isolation)
        if was is None or self.enforcement.verify(was):
            self.enforcement.inherited = Inheritance()
            ended = self.enforcement.replace(wanted, self._learned())
            self.gate.spare(self.enforcement.take_spared())
        else:
            ended = self.enforcement.update(was, wanted, add=add, forget=forget, keep=self._learned())
        self.gate.restate()
        self.ruleset = wanted
        return ended

    # Start, time and trouble

    def recover(self) -> None:
        """On start: compare journal and kernel and converge to what was last ordered."""
        with self._lock:
            record = self._last_record()
            observed = self.enforcement.observe()
            armed = observed is not None and _is_armed(observed.chains)
            if record is None or record.isolation is None:
                self.generation = record.generation if record else 0
                self._recover_without_order(record, armed=armed)
                return
            self.generation = record.generation
            self.isolation = record.isolation
            self.ruleset = compile_policy(record.isolation.policy, self._queue_number)
            if record.state is HostState.RELEASING:
                self.state = HostState.ISOLATED
                self.release(ReleaseOrder(record.isolation.order.comment))
                return
            isolation = self._recover_isolation(record, record.isolation, armed=armed)
            self.state = HostState.ISOLATED
            if record.state is HostState.ISOLATING:
                self._finish_isolation(isolation)
            else:
                self._save(HostState.ISOLATED)

    def _finish_isolation(self, isolation: Isolation) -> None:
        """The agent before died in its order: the control channel is untried and nobody was told."""
        try:
            self._confirm(isolation, self._learned())
        except IsolatorError as error:
            self._roll_back(error, self.generation - 1)
            return
        self._save(HostState.ISOLATED)
        self._tell_isolated(EventKind.ISOLATED, isolation)

    def _last_record(self) -> Record | None:
        """The journal; None also for one that cannot be read: without an agent nobody could order anew."""
        try:
            return journal.decode(self.outside.store.load())
        except IsolatorError as error:
            if error.code is not FailureCode.STATE_UNREADABLE:
                raise
            LOG.error("%s", error.sentence)
            return None

    def _recover_without_order(self, record: Record | None, *, armed: bool) -> None:
        if armed and record is None:
            # No journal while the rules stand: whoever removed or damaged it must not be let out by that.
            LOG.error("the host is isolated but no journal says why; it stays isolated until released")
            self.state = HostState.ISOLATED
        elif self.enforcement.observe() is not None:
            self.enforcement.release(None)

    def _recover_isolation(self, record: Record, isolation: Isolation, *, armed: bool) -> Isolation:
        if isolation.expiry is not None:
            # From now on the rest is counted on this boot's clock.
            left = Expiry(
                self._left(isolation.expiry), self.outside.clock.boottime(), self.outside.clock.boot_id()
            )
            isolation = self.isolation = replace(isolation, expiry=left)
        if not isolation.key:
            isolation = self.isolation = replace(isolation, key=self._new_key(journal.KEY_LENGTH))
        own = self.outside.inspector.facts().own_addresses
        assert self.ruleset is not None
        if armed:
            # The rules stand: what is open stays open, what was damaged is mended first, and our own
            # look-ups go through the gate, which therefore listens before they are made.
            self._judge_by(isolation, own)
            self.enforcement.inherit()
            self.gate.inherit(self.enforcement.inherited.doors)
            self._open_queues()
            self.enforcement.repair(self.ruleset, ())
            self._preload(isolation)
            self._restate()
            self._spare_older(self.ruleset, finished=record.state is HostState.ISOLATED)
        else:
            learned = self._fill_gate(isolation, own)
            self._open_queues()
            try:
                self.enforcement.replace(self.ruleset, learned)
            except IsolatorError:
                self._need_capabilities()  # after a boot it may be another kernel: this says what it lacks
                raise
            self.gate.spare(self.enforcement.take_spared())
        LOG.info("isolation of %s is in force again", isolation.since)
        return isolation

    def _spare_older(self, ruleset: Ruleset, *, finished: bool) -> None:
        """Tell the gate which connections that it does not know go on.

        When the agent before died in its order, that is what the order would have left, and the others end
        now. Later an unknown one may be from between the agents, opened and unread: only those that nobody
        reads go on.
        """
        learned = self._learned()
        if finished:
            self.gate.spare(self.enforcement.excluded_flows(learned))
            return
        self.enforcement.end_older(ruleset, learned)
        self.gate.spare(self.enforcement.take_spared())

    def tick(self) -> None:
        """What time brings: the end of an isolation, a repair, fresh names. Called about once a second."""
        with self._lock:
            isolation = self.isolation
            if self.state is not HostState.ISOLATED:
                self._keep_names_warm()
                return
            if isolation is None or self.ruleset is None:
                return
            if isolation.expiry is not None and self._left(isolation.expiry) <= 0:
                self.release(ReleaseOrder("the ordered time is over"), why=EventKind.EXPIRED)
                return
            self._persist_remaining(isolation)
            found = self.enforcement.repair(self.ruleset, self._learned())
            if found:
                self.gate.spare(self.enforcement.take_spared())
                LOG.warning("our rules were changed by somebody and are back: %s", "; ".join(found))

    def _keep_names_warm(self) -> None:
        if not self.names.due():
            return
        config = self.load_config()
        facts = self.outside.inspector.facts()
        try:
            built = build_policy(
                IsolationOrder(lists=config.lists, geo=config.geo, profile=config.profile),
                config,
                facts,
                self.load_list,
            )
        except IsolatorError as error:
            LOG.warning("names cannot be asked for in advance: %s", error.sentence)
            return
        self.names.refresh(names_to_resolve(built.policy, config.geo), built.policy.resolvers, 2.0)

    def _persist_remaining(self, isolation: Isolation) -> None:
        """Once a minute, so that a reboot costs at most a minute of the ordered time."""
        expiry = isolation.expiry
        now = self.outside.clock.boottime()
        if expiry is not None and now - expiry.boottime >= 60:
            left = Expiry(self._left(expiry), now, self.outside.clock.boot_id())
            self.isolation = replace(isolation, expiry=left)
            self._save(HostState.ISOLATED)

    def _left(self, expiry: Expiry) -> float:
        return expiry.left(self.outside.clock.boottime(), self.outside.clock.boot_id())

    def _expiry(self, order: IsolationOrder) -> Expiry | None:
        if order.duration_s is None:
            return None
        return Expiry(order.duration_s, self.outside.clock.boottime(), self.outside.clock.boot_id())

    # Pieces

    def _step(self, event: Event) -> HostState:
        try:
            return step(self.state, event)
        except ImpossibleEventError as error:
            raise IsolatorError(
                FailureCode.IN_PROGRESS, event.value, f"{error}: wait for the order before to end"
            ) from error

    def _need_capabilities(self) -> None:
        """Refuse at once what this host cannot do; asked for once, the answer does not change."""
        if self._checked:
            return
        codes = {"permission": FailureCode.NO_PERMISSION, "queue": FailureCode.NO_QUEUE}
        for capability in self.outside.backend.capabilities():
            if capability.required and not capability.available:
                code = codes.get(capability.code, FailureCode.NO_NFTABLES)
                raise IsolatorError(
                    code, "probe", f"{capability.detail}; without it {capability.lost_without}"
                )
        self._checked = True

    def _fill_gate(self, isolation: Isolation, own: Sequence[Address]) -> Sequence[LearnedAddress]:
        """The gate anew for this isolation, with the names that are known in advance."""
        self.gate.forget()
        self._judge_by(isolation, own)
        self._preload(isolation)
        return self._learned()

    def _restate(self) -> None:
        """Put into the kernel what is known to be open, then shut what is not: nothing listed is cut off."""
        self.gate.restate()
        if self.enforcement.shut_strangers(self._learned()):
            self.gate.restate()  # what was learned in between

    def _judge_by(self, isolation: Isolation, own: Sequence[Address]) -> Sequence[LearnedAddress]:
        """Have the gate go by an isolation's policy; gives what that no longer opens."""
        policy = isolation.policy
        boot = self.outside.clock.boot_id()
        seal = PurposeSeal(isolation.key, boot, policy.entries, (CONTROL_LIST, EXCLUSION_LIST))
        self.enforcement.seal = seal
        return self.gate.replace_policy(policy, own, seal)

    def _preload(self, isolation: Isolation) -> Sequence[LearnedAddress]:
        answers = self._answers(isolation.policy, isolation.order.geo)
        return self.gate.preload(answers, self.outside.clock.boottime())

    def _answers(self, policy: Policy, geo: Sequence[str]) -> Mapping[str, tuple[tuple[Address, int], ...]]:
        return self.names.get(names_to_resolve(policy, geo), policy.resolvers)

    def _would_learn(self, policy: Policy, geo: Sequence[str]) -> Sequence[LearnedAddress]:
        """What the control channel's names resolve to, without touching the gate's table."""
        answers = self._answers(policy, geo)
        far = self.outside.clock.boottime() + 60
        return [
            LearnedAddress(Destination(address, Transport.TCP, entry.port), entry.host, entry.id, far)
            for entry in policy.entries
            if entry.list_id == CONTROL_LIST
            for address, _ in answers.get(entry.host, ())
        ]

    def _check_control(
        self,
        ruleset: Ruleset,
        policy: Policy,
        learned: Sequence[LearnedAddress],
        own: Sequence[Address],
    ) -> None:
        """P8, first half: walk the compiled rules with the control channel's packets."""
        named = _control_doors(learned)
        known = {each.name for each in learned}
        for entry in policy.entries:
            if entry.list_id == CONTROL_LIST and entry.host not in known:
                raise IsolatorError(
                    FailureCode.CONTROL_CHANNEL_CUT,
                    "check_control_channel",
                    f"the control channel {entry.host}:{entry.port} has no address now: isolation would "
                    "cut it, so nothing was changed; give it by address in agent.yaml or mend DNS",
                )
        held = {
            name: frozenset(each.key for each in elements)
            for name, elements in by_set(elements_of(learned, now=self.outside.clock.boottime())).items()
        }
        cut = cut_doors(ruleset, (*fixed_control_doors(policy), *named), own, held)
        if cut:
            raise IsolatorError(
                FailureCode.CONTROL_CHANNEL_CUT,
                "check_control_channel",
                f"these rules would cut the control channel {', '.join(map(str, cut))}: nothing was changed",
            )

    def _confirm(self, isolation: Isolation, learned: Sequence[LearnedAddress]) -> None:
        """P8, second half: try the control channel for real; without an answer, as the order says."""
        doors = (*fixed_control_doors(isolation.policy), *_control_doors(learned))
        if not doors:
            self.control_ok = True
            return
        self.control_ok = self.outside.probe.reachable(doors, CONTROL_DEADLINE_S)
        if not self.control_ok and isolation.order.on_silence is OnSilence.ROLL_BACK:
            raise IsolatorError(
                FailureCode.CONTROL_CHANNEL_SILENT,
                "confirm",
                f"the control channel {', '.join(map(str, doors))} did not answer within "
                f"{CONTROL_DEADLINE_S:g} s of the isolation, which was rolled back",
            )

    def _roll_back(self, error: IsolatorError, generation: int) -> None:
        LOG.error("isolation failed in %s (%s): rolling back", error.operation, error.code.value)
        try:
            self.enforcement.release(self.ruleset)
        except IsolatorError as worse:
            # Half is not an option: the order stands, the journal says so, and `tick` repairs it.
            self.state = HostState.ISOLATED
            sentence = (
                f"{error.sentence}; the roll-back failed too ({worse.sentence}): the host stays isolated"
            )
            raise IsolatorError(error.code, "roll_back", sentence) from worse
        self._close_queues()
        self.state, self.isolation, self.ruleset = HostState.CONNECTED, None, None
        self.generation = generation
        self._save(HostState.CONNECTED)
        self._tell(EventKind.ISOLATION_FAILED, failure=error.sentence)

    def _restore(
        self, old: Isolation, was: Ruleset | None, own: Sequence[Address], error: IsolatorError
    ) -> None:
        """An update failed: the isolation before it is put back, never less."""
        LOG.error("update failed in %s (%s): the isolation before stays", error.operation, error.code.value)
        self.isolation = old
        self._fill_gate(old, own)
        self.enforcement.inherit()
        self.gate.inherit(self.enforcement.inherited.doors)
        self.gate.spare(self.enforcement.excluded_flows(self._learned()))
        self.ruleset = was or compile_policy(old.policy, self._queue_number)
        self._save(HostState.ISOLATED)
        if self.enforcement.verify(self.ruleset):
            self.enforcement.replace(self.ruleset, self._learned())
            self.gate.spare(self.enforcement.take_spared())
        self._restate()

    def _release_failed(self, error: IsolatorError) -> None:
        """A release that failed leaves the host isolated, as it was."""
        LOG.error("release failed in %s (%s): the host stays isolated", error.operation, error.code.value)
        self.state = HostState.ISOLATED
        self._save(HostState.ISOLATED)
        if self.ruleset is not None:
            self.enforcement.repair(self.ruleset, self._learned())
        self._tell_isolated(EventKind.RELEASE_FAILED, self.isolation, failure=error.sentence)

    def _learned(self) -> Sequence[LearnedAddress]:
        return self.gate.learned(self.outside.clock.boottime())

    def _save(self, state: HostState) -> None:
        isolation = None if state is HostState.CONNECTED else self.isolation
        if isolation is None and state is not HostState.CONNECTED:
            return  # rules without a journal (see _recover_without_order): there is nothing true to write
        self.outside.store.save(journal.encode(Record(state, self.generation, isolation)))

    def _tell_isolated(self, kind: EventKind, isolation: Isolation | None, *, failure: str = "") -> None:
        """Tell about an isolation that is in force: its reason, scope and end."""
        if isolation is None:
            self._tell(kind, failure=failure)
            return
        order = isolation.order
        self._tell(
            kind,
            reason=order.comment,
            scope=order.scope.value,
            expires_at=self.expires_at(isolation),
            failure=failure,
        )

    def expires_at(self, isolation: Isolation) -> str | None:
        """When it ends by itself as RFC 3339 in UTC, from what is left on the boot clock; None for never."""
        if isolation.expiry is None:
            return None
        at = datetime.fromisoformat(self.outside.clock.utc_now())
        end = at + timedelta(seconds=max(0.0, self._left(isolation.expiry)))
        return end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _tell(
        self,
        kind: EventKind,
        *,
        reason: str = "",
        scope: str = "",
        expires_at: str | None = None,
        failure: str = "",
    ) -> None:
        now = self.outside.clock.utc_now()
        event = HostEvent(kind, now, reason=reason, scope=scope, expires_at=expires_at, failure=failure)
        self.outside.notifier.tell(event)

    def _outcome(self, *, changed: bool, ended: EndedFlows | None = None) -> Outcome:
        return Outcome(self.state, changed, ended or EndedFlows(), dict(self.enforcement.took_ms))


def _control_doors(learned: Sequence[LearnedAddress]) -> tuple[Destination, ...]:
    """Doors learned for the control channel's host names."""
    return tuple(each.destination for each in learned if each.entry.startswith(f"{CONTROL_LIST}#"))


def _is_armed(chains: Mapping[str, ObservedChain]) -> bool:
    """Does any chain of the table see packets?"""
    return any(chain.hook is not None for chain in chains.values())
