"""Judges queued packets: bytes to values, the gate's ruling, addresses into the kernel first."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

from allowlists.index import Index
from isolator.core.decide import MAX_QUERY, DnsGate, GateLimits, Ruling, gate_policy
from isolator.core.learned_elements import Purposes, door_elements, elements_of
from isolator.core.purpose_seal import UNSEALED, PurposeSeal
from isolator.model.datagram import Datagram
from isolator.model.dns import DnsMessage, LocalReply, Rcode
from isolator.model.event import Alert, Refusal
from isolator.model.flow import Address, Destination, Hook, LearnedAddress, Transport
from isolator.model.policy import Policy
from isolator.model.segment import FlowKey, FlowRuling
from isolator.model.verdict import Decision, Reason, Verdict
from isolator.ports import Clock, FilterBackend, FlowAnswer, QueueAnswer, QueuedPacket
from isolator.service.alerts import Alerts
from isolator.service.flow_judge import FlowJudge
from isolator.service.refusals import Refusals
from isolator.wire.dns_message import parse_dns
from isolator.wire.dns_render import render_format_error, render_local_answer
from isolator.wire.ip_packet import parse_ip, parse_udp, render_udp
from isolator.wire.parse_error import ParseError, Unreadable

_log = logging.getLogger(__name__)

_RESTATED = 100
"""Doors in one commit; it takes some 0.5 ms."""

_RCODES = {LocalReply.REFUSED: Rcode.REFUSED, LocalReply.EMPTY: Rcode.NOERROR}


class DnsLearner:
    """Judges queued packets on the queue's thread; any other thread may read it or replace its policy.

    One lock holds from the ruling until the kernel has what the answer opens. So a policy that has been
    replaced cannot be overtaken by an address of the one before.
    """

    def __init__(self, backend: FilterBackend, clock: Clock, limits: GateLimits | None = None) -> None:
        self._backend = backend
        self._clock = clock
        self._gate = DnsGate(limits=limits)
        self._seal = UNSEALED
        self._alerts = Alerts(clock)
        self._refusals = Refusals(clock)
        self._flows = FlowJudge(self._gate, self._learn, self._note_flow)
        self._lock = Lock()
        self._counts: Counter[Reason] = Counter()
        self._unreadable: Counter[Unreadable] = Counter()
        self._faults = 0

    def handle(self, packet: QueuedPacket) -> QueueAnswer:
        """Judge one packet; whatever happens there is an answer, and what cannot be judged is dropped."""
        with self._lock:
            try:
                ruling, reply = self._judge(packet)
            except Exception:  # noqa: BLE001  # the loop must go on: the packet does not, and it is logged
                ruling, reply = Ruling(Decision(Verdict.DROP, Reason.GATE_ERROR)), None
                self._log_fault()
            self._counts[ruling.decision.reason] += 1
            self._alerts.note(ruling.decision.reason, ruling.decision.entry)
        return QueueAnswer(ruling.decision.verdict, reply)

    def handle_segment(self, packet: QueuedPacket, number: int) -> FlowAnswer:
        """Judge one TCP segment; what cannot be judged is dropped."""
        with self._lock:
            try:
                return self._flows.judge(packet, number, self._clock.boottime())
            except Exception:  # noqa: BLE001  # the loop must go on: the packet does not, and it is logged
                self._flows.lose(number)
                self._counts[Reason.GATE_ERROR] += 1
                self._log_fault()
                return FlowAnswer(dropped=(number,))

    def expire_segments(self) -> FlowAnswer:
        """Give up connections that say too little for too long; call it every second or so."""
        with self._lock:
            return self._flows.expire(self._clock.boottime())

    def inherit(self, doors: Mapping[Destination, Purposes]) -> None:
        """Take over doors that an agent before had opened, each for its entries: their names are lost."""
        with self._lock:
            self._gate.names.inherit(doors)
            self._flows.await_older()

    def forget_connections(self) -> None:
        """Forget who was approved: the kernel's table was away, the same ends may be another connection."""
        with self._lock:
            self._flows.forget_connections()

    def spare(self, flows: Iterable[FlowKey]) -> None:
        """Let connections go on that were there before the gate."""
        with self._lock:
            self._flows.spare(flows)

    def replace_policy(
        self, policy: Policy, own_addresses: Sequence[Address], seal: PurposeSeal = UNSEALED
    ) -> Sequence[LearnedAddress]:
        """Judge by another policy from now on; gives the learned addresses that it no longer covers.

        Only what is still alive and what no other name keeps open is given, for the kernel to forget. When
        this returns no address of the former policy can be learned any more. `seal` is the policy's.
        """
        wanted = gate_policy(policy, Index(policy.entries), own_addresses)
        with self._lock:
            self._seal = seal
            self._flows.replace_policy(policy)
            self._alerts.replace_policy(policy)
            return self._gate.replace_policy(wanted, self._clock.boottime())

    def forget(self) -> None:
        """Forget what was learned: call it when the kernel's table is gone, or nothing is learned again."""
        with self._lock:
            self._gate.names.clear()
            self._flows.forget_connections()
            self._alerts.clear()
            self._refusals.clear()

    def preload(
        self, answers: Mapping[str, Sequence[tuple[Address, int]]], now: float
    ) -> Sequence[LearnedAddress]:
        """Take the agent's own look-ups, (address, TTL in seconds) by name, with the gate's checks.

        Gives everything the caller must put into the kernel in its own transaction; here it counts as done.
        """
        with self._lock:
            return tuple(
                learned
                for name, addresses in answers.items()
                for learned in self._gate.preload(name, addresses, now)
            )

    def restate(self) -> None:
        """Put all that is open into the kernel again, with the entries it is open for.

        After a policy was replaced what stands there may name others. A part at a time: packets wait.
        """
        with self._lock:
            doors = self._gate.names.doors()
        for start in range(0, len(doors), _RESTATED):
            with self._lock:
                now = self._clock.boottime()
                part = doors[start : start + _RESTATED]
                found = ((door, self._gate.names.purposes(door, now)) for door in part)
                self._backend.learn(
                    [
                        made
                        for door, purposes in found
                        if purposes
                        for made in door_elements(door, purposes, now=now, seal=self._seal)
                    ]
                )

    def learned(self, now: float) -> Sequence[LearnedAddress]:
        """Give the names and addresses that are open now, by name."""
        with self._lock:
            return self._gate.names.snapshot(now)

    def learned_at(self, address: Address, now: float) -> Sequence[LearnedAddress]:
        """Give the names that keep an address open now, and where; empty when none does."""
        with self._lock:
            return self._gate.names.at(address, now)

    def alerts(self) -> Sequence[Alert]:
        """Give the alerts of this isolation."""
        with self._lock:
            return self._alerts.all()

    def refusals(self) -> tuple[Sequence[Refusal], int]:
        """Give what was refused lately, the last at the beginning, and how many of these are forgotten."""
        with self._lock:
            return self._refusals.latest(), self._refusals.forgotten

    def counters(self) -> Mapping[Reason, int]:
        """Give how many packets were decided for which reason so far; reasons not met are left out."""
        with self._lock:
            return self._counts + self._flows.counters()

    def unreadable(self) -> Mapping[Unreadable, int]:
        """Give how many packets could not be read so far, by what was wrong with them."""
        with self._lock:
            return self._unreadable + self._flows.unreadable

    def _judge(self, queued: QueuedPacket) -> tuple[Ruling, bytes | None]:
        if queued.hook is Hook.FORWARD:
            return Ruling(Decision(Verdict.DROP, Reason.FORWARDED)), None
        inbound = queued.hook is Hook.INPUT
        try:
            datagram = _read(queued.payload, verify=inbound)
        except ParseError as error:
            return self._count(error), None
        now = self._clock.boottime()
        ruling, reply = self._judge_answer(datagram, now) if inbound else self._judge_query(datagram, now)
        decision = ruling.decision
        # Whoever is on the network can send answers: only those to a query of ours have a name.
        if decision.verdict is not Verdict.ACCEPT and (decision.said is not None or not inbound):
            ends = _turned(datagram) if inbound else datagram
            resolver = Destination(ends.destination, Transport.UDP, ends.destination_port)
            self._refusals.note(decision, resolver)
        return ruling, reply

    def _judge_query(self, datagram: Datagram, now: float) -> tuple[Ruling, bytes | None]:
        # Reading 64 KiB of questions takes 60 ms: a local flood of them would starve the service's look-ups.
        if len(datagram.payload) > MAX_QUERY:
            ruling = self._gate.judge_unreadable_query(datagram)
            return ruling, _reply(ruling, datagram, None)
        try:
            message = parse_dns(datagram.payload)
        except ParseError as error:
            self._count(error)
            ruling = self._gate.judge_unreadable_query(datagram)
            return ruling, _reply(ruling, datagram, None)
        ruling = self._gate.judge_query(datagram, message, now)
        return ruling, _reply(ruling, datagram, message)

    def _judge_answer(self, datagram: Datagram, now: float) -> tuple[Ruling, bytes | None]:
        stranger = self._gate.judge_stranger(datagram)
        if stranger is not None:
            return stranger, None
        try:
            message = parse_dns(datagram.payload)
        except ParseError as error:
            return self._count(error), None
        ruling = self._gate.judge_answer(datagram, message, now)
        self._learn(ruling)
        return ruling, _reply(ruling, _turned(datagram), message)

    def _learn(self, ruling: Ruling) -> None:
        """What an answer opens: first in the kernel, then in the table."""
        if ruling.learned:
            now = self._clock.boottime()
            known = self._gate.names.purposes
            made = elements_of(ruling.learned, now=now, seal=self._seal, known=known)
            self._backend.learn(made)
        self._gate.confirm(ruling)

    def _note_flow(self, ruling: FlowRuling, flow: FlowKey) -> None:
        self._alerts.note(ruling.reason, ruling.entry)
        self._refusals.note(ruling, Destination(flow.server, Transport.TCP, flow.server_port))

    def _count(self, error: ParseError) -> Ruling:
        self._unreadable[error.kind] += 1
        return Ruling(Decision(Verdict.DROP, Reason.DNS_UNREADABLE))

    def _log_fault(self) -> None:
        """Ever more rarely: a fault that hits every packet must not fill the disk with its traceback."""
        self._faults += 1
        if self._faults & (self._faults - 1) == 0:
            _log.exception("the DNS gate could not judge a packet and dropped it (fault %d)", self._faults)


def _read(payload: bytes, *, verify: bool) -> Datagram:
    """The datagram of a packet; ParseError also for IP options, which no DNS packet needs."""
    packet = parse_ip(payload, verify=verify)
    if packet.extras:
        raise ParseError(Unreadable.IP_OPTIONS)
    return parse_udp(packet, verify=verify)


def _turned(datagram: Datagram) -> Datagram:
    """The datagram's ends exchanged, so that an answer reads like the query it was to."""
    return Datagram(
        datagram.destination,
        datagram.destination_port,
        datagram.source,
        datagram.source_port,
        datagram.payload,
    )


def _reply(ruling: Ruling, query: Datagram, message: DnsMessage | None) -> bytes | None:
    """The packet that tells the asker, in the resolver's name; None when it is told nothing."""
    if ruling.reply is None:
        return None
    if ruling.reply is LocalReply.FORMERR or message is None:
        try:
            payload = render_format_error(query.payload)
        except ParseError:
            return None
    else:
        payload = render_local_answer(message, _RCODES[ruling.reply])
    return render_udp(
        Datagram(query.destination, query.destination_port, query.source, query.source_port, payload)
    )
