"""Judges queued DNS packets: bytes to values, the gate's ruling, addresses into the kernel first."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from threading import Lock

from isolator.core.decide import DnsGate, GatePolicy, Ruling
from isolator.model.datagram import Datagram
from isolator.model.dns import DnsMessage, LocalReply, Rcode
from isolator.model.flow import Address, Destination, Hook, LearnedAddress
from isolator.model.verdict import Decision, Reason, Verdict
from isolator.ports import Clock, Learner, QueueAnswer, QueuedPacket
from isolator.wire.dns_message import parse_dns
from isolator.wire.dns_render import render_format_error, render_local_answer
from isolator.wire.ip_packet import parse_ip, parse_udp, render_udp
from isolator.wire.parse_error import ParseError, Unreadable

_log = logging.getLogger(__name__)

_RCODES = {LocalReply.REFUSED: Rcode.REFUSED, LocalReply.EMPTY: Rcode.NOERROR}


class DnsLearner:
    """Judges queued packets on the queue's thread; any other thread may read it or replace its policy.

    One lock holds from the ruling until the kernel has what the answer opens. So a policy that has been
    replaced cannot be overtaken by an address of the one before.
    """

    def __init__(self, gate: DnsGate, learn: Learner, clock: Clock) -> None:
        self._gate = gate
        self._learn = learn
        self._clock = clock
        self._lock = Lock()
        self._counts: dict[Verdict, Counter[Reason]] = {Verdict.ACCEPT: Counter(), Verdict.DROP: Counter()}
        self._unreadable: Counter[Unreadable] = Counter()
        self._faults = 0

    def handle(self, queued: QueuedPacket) -> QueueAnswer:
        """Judge one packet; whatever happens there is an answer, and what cannot be judged is dropped."""
        with self._lock:
            try:
                ruling, reply = self._judge(queued)
            except Exception:  # noqa: BLE001  # the loop must go on: the packet does not, and it is logged
                ruling, reply = Ruling(Decision(Verdict.DROP, Reason.GATE_ERROR)), None
                self._log_fault()
            decision = ruling.decision
            self._counts[decision.verdict][decision.reason] += 1
        return QueueAnswer(decision.verdict, reply)

    def replace_policy(self, policy: GatePolicy) -> tuple[Destination, ...]:
        """Go by another policy from now on; gives the destinations that no name opens any more.

        When this returns no address of the former policy can be learned. `GatePolicy()` opens nothing.
        """
        with self._lock:
            return self._gate.replace_policy(policy)

    def preload(self, resolved: Mapping[str, Iterable[tuple[Address, int]]]) -> tuple[LearnedAddress, ...]:
        """Take (address, TTL) pairs by name that the agent asked for itself, with the gate's checks.

        Gives what the caller must put into the kernel, since it does so in a transaction of its own.
        """
        with self._lock:
            now = self._clock.boottime()
            return tuple(
                learned
                for name, addresses in resolved.items()
                for learned in self._gate.preload(name, addresses, now)
            )

    def learned(self) -> tuple[LearnedAddress, ...]:
        """Give the names and addresses that are open now."""
        with self._lock:
            return self._gate.names.snapshot(self._clock.boottime())

    def learned_at(self, address: Address) -> tuple[LearnedAddress, ...]:
        """Give the names that keep an address open now, and where; empty when none does."""
        with self._lock:
            return self._gate.names.at(address, self._clock.boottime())

    def counters(self) -> Mapping[Verdict, Mapping[Reason, int]]:
        """Give how many packets were accepted and dropped so far, by reason; reasons not met are left out."""
        with self._lock:
            return {verdict: Counter(counts) for verdict, counts in self._counts.items()}

    def unreadable(self) -> Mapping[Unreadable, int]:
        """Give how many packets could not be read so far, by what was wrong with them."""
        with self._lock:
            return Counter(self._unreadable)

    def _judge(self, queued: QueuedPacket) -> tuple[Ruling, bytes | None]:
        if queued.hook is Hook.FORWARD:
            return Ruling(Decision(Verdict.DROP, Reason.FORWARDED)), None
        inbound = queued.hook is Hook.INPUT
        try:
            datagram = _read(queued.payload, verify=inbound)
        except ParseError as error:
            return self._count(error), None
        try:
            message = parse_dns(datagram.payload)
        except ParseError as error:
            dropped = self._count(error)
            if inbound:
                return dropped, None
            ruling = self._gate.judge_unreadable_query(datagram)
            return ruling, _reply(ruling, datagram, None)
        now = self._clock.boottime()
        if not inbound:
            ruling = self._gate.judge_query(datagram, message, now)
            return ruling, _reply(ruling, datagram, message)
        ruling = self._gate.judge_answer(datagram, message, now)
        if ruling.learned:
            self._learn(ruling.learned)
        self._gate.confirm(ruling)
        return ruling, _reply(ruling, _turned(datagram), message)

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
