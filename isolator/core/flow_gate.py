"""The packet gate's judgement of connections: the first bytes must name an allowed host.

An adapter gives it each segment a client sends on a connection that the kernel has not marked yet, in the
order they come, and carries out the ruling. Nothing is queued for a connection that was passed with a mark.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Protocol

from isolator.core.flow_table import Flow, FlowLimits, FlowTable
from isolator.core.flow_talk import Heard, Readers, Resolvers, talk_for
from isolator.core.name_check import FlowPolicy
from isolator.core.tcp_reassembly import Fit, Placed, TcpStream
from isolator.model.flow import Destination, Transport
from isolator.model.segment import Acknowledgement, FlowRuling, Reset, Segment
from isolator.model.verdict import Decision, Reason, Verdict

_SPACE = 1 << 32
_KNOWN_FLAGS = frozenset({"fin", "syn", "rst", "psh", "ack", "ecn", "cwr"})
_PURPOSES = frozenset({"syn", "fin", "rst"})


class OpenDoors(Protocol):
    """Knows what is open (`core.names.LearnedNames` is one)."""

    def is_open(self, destination: Destination, at: float, entry: str | None = None, /) -> bool:
        """Say whether the destination was learned and alive at an instant, for that entry if given."""
        ...


class FlowGate:
    """Judges segments one by one; holds the bounded state that needs. Not thread-safe, never blocks.

    `names` is the DNS gate's table: whoever drives both holds one lock over them. `now` is CLOCK_BOOTTIME in
    seconds and must not go back.
    """

    __slots__ = ("_dns", "_names", "_policy", "_readers", "counts", "table")

    def __init__(
        self,
        names: OpenDoors,
        readers: Readers,
        policy: FlowPolicy | None = None,
        limits: FlowLimits | None = None,
        dns: Resolvers | None = None,
    ) -> None:
        self._dns = dns
        self._names = names
        self._readers = readers
        self._policy = policy or FlowPolicy()
        self.table = FlowTable(limits or FlowLimits())
        """Read its sizes, let the gate write it."""
        self.counts: Counter[Reason] = Counter()
        """How many segments were judged for which reason, and how many flows were given up."""

    def replace_policy(self, policy: FlowPolicy) -> None:
        """Go by another policy from now on, also for connections that have said something already."""
        self._policy = policy
        for flow in self.table.all():
            flow.granted = frozenset()

    def judge(self, segment: Segment, now: float) -> FlowRuling:
        """Judge one segment; the ruling may also end other connections, of which there were too many."""
        flow = self.table.get(segment.flow)
        if not _is_sound(segment.flags):
            ruling = _dropped(segment, Reason.TCP_MALFORMED)
        elif "syn" in segment.flags:
            ruling = self._judge_syn(flow, segment, now)
        elif flow is None:
            ruling = _unknown(segment)
        elif "rst" in segment.flags:
            ruling = self._judge_rst(flow, segment)
        elif segment.payload:
            ruling = self._judge_data(flow, segment, now)
        else:
            ruling = self._judge_bare(flow, segment, now)
        self.counts[ruling.reason] += 1
        return self._shed(ruling)

    def encourage(self, now: float) -> tuple[Acknowledgement, ...]:
        """Tell clients whose bytes are held that they have arrived, so that they send the rest.

        Call it every `FlowLimits.patience_s` as long as packets are held. What is acknowledged the client
        never sends again: it goes on its way from here, or the connection is ended.
        """
        found: tuple[Acknowledgement, ...] = ()
        for flow in self.table.impatient(now):
            flow.told = flow.stream.next
            found += (Acknowledgement(flow.key, flow.acknowledged, flow.stream.sequence_of(flow.told)),)
        return found

    def expire(self, now: float) -> FlowRuling | None:
        """Give up connections that took too long; call it every second or so. None when there is none."""
        dropped: tuple[int, ...] = ()
        resets: tuple[Reset, ...] = ()
        while (flow := self.table.overdue(now)) is not None:
            resets += (flow.reset(),)
            dropped += self.table.forget(flow)
            self.counts[Reason.FLOW_TIMED_OUT] += 1
        if not resets:
            return None
        return FlowRuling(Verdict.REJECT, Reason.FLOW_TIMED_OUT, dropped=dropped, resets=resets)

    def _judge_syn(self, flow: Flow | None, segment: Segment, now: float) -> FlowRuling:
        if "ack" in segment.flags:
            return _dropped(segment, Reason.TCP_MALFORMED)
        if segment.payload:
            # TCP Fast Open: a client whose data gets no answer sends a SYN without (RFC 7413 section 4.1.3).
            return _dropped(segment, Reason.TCP_SYN_DATA)
        if flow is not None:
            if flow.first == segment.sequence:
                return _passed(segment, Reason.HANDSHAKE)
            # The server may still have the old connection: numbers that it does not read would be judged.
            return self._refuse(flow, segment, Decision(Verdict.REJECT, Reason.TCP_OVERLAP))
        return self._open(segment, now)

    def _open(self, segment: Segment, now: float) -> FlowRuling:
        """A new connection. What goes to a resolver or proxy is judged even inside a listed network."""
        key = segment.flow
        door = Destination(key.server, Transport.TCP, key.server_port)
        resolver = self._dns if self._dns is not None and self._dns.serves(key) else None
        if resolver is None and (key.server, key.server_port) not in self._policy.proxies:
            network = self._policy.network_entry(key.server, key.server_port)
            if network is not None:
                return _passed(segment, Reason.LISTED_NETWORK, network, mark=True)
            if not self._names.is_open(door, now):
                return _refused(segment, Reason.NOT_LISTED)
            for entry in self._policy.unchecked.get(door.port, ()):
                if self._names.is_open(door, now, entry):
                    return _passed(segment, Reason.EXCLUSION, entry, mark=True)
        first = (segment.sequence + 1) % _SPACE
        stream = TcpStream(first)
        talk = (
            talk_for(self._policy, self._readers, door) if resolver is None else resolver.listen(key, first)
        )
        self.table.open(Flow(key, door, now, stream, talk, segment.sequence, now))
        return _passed(segment, Reason.HANDSHAKE)

    def _judge_rst(self, flow: Flow, segment: Segment) -> FlowRuling:
        """A client gives up. One that the server would not take must not make us forget the connection."""
        offset = flow.stream.offset_of(segment.sequence)
        if segment.payload or offset not in (flow.released, flow.sent):
            return _dropped(segment, Reason.TCP_OUTSIDE_WINDOW)
        if offset != flow.released:
            # It counts the bytes that are held here, which the server has not seen: it gets our own.
            return self._refuse(flow, segment, Decision(Verdict.REJECT, Reason.FLOW_CLOSED))
        held = self.table.forget(flow)
        return FlowRuling(Verdict.ACCEPT, Reason.FLOW_CLOSED, passed=(segment.token,), dropped=held)

    def _judge_bare(self, flow: Flow, segment: Segment, now: float) -> FlowRuling:
        """Acknowledgements and the end of a connection that has nothing more to say."""
        flow.acknowledged = segment.acknowledgement
        offset = flow.stream.offset_of(segment.sequence)
        if "fin" in segment.flags:
            if flow.held is not None and offset <= flow.stream.next:
                return self._refuse(flow, segment, Decision(Verdict.REJECT, Reason.FLOW_CUT_SHORT))
            if offset > flow.released:
                # It overtook data that is on its way here; it comes again.
                return _dropped(segment, Reason.FLOW_CUT_SHORT)
        if flow.released:
            self.table.keep(flow, now)
            return _passed(segment, Reason.HANDSHAKE)
        flow.bare += 1
        if flow.bare > self.table.limits.bare:
            return self._refuse(flow, segment, Decision(Verdict.REJECT, Reason.TCP_MALFORMED))
        return _passed(segment, Reason.HANDSHAKE)

    def _judge_data(self, flow: Flow, segment: Segment, now: float) -> FlowRuling:
        flow.acknowledged = segment.acknowledgement
        placed = flow.stream.add(segment.sequence, segment.payload)
        if placed.fit is Fit.CONFLICT:
            return self._refuse(flow, segment, Decision(Verdict.REJECT, Reason.TCP_OVERLAP))
        if placed.fit is Fit.OUTSIDE:
            return _dropped(segment, Reason.TCP_OUTSIDE_WINDOW)
        if placed.fit is Fit.AGAIN:
            # What has gone may go again; of what is held one copy is enough.
            went = placed.end <= flow.released
            return _passed(segment, Reason.HANDSHAKE) if went else _dropped(segment, Reason.FIRST_BYTES_HELD)
        flow.sent = max(flow.sent, placed.end)
        if placed.fit is Fit.AHEAD:
            return self._hold(flow, segment, placed, now)
        return self._judge_heard(flow, segment, placed, now)

    def _judge_heard(self, flow: Flow, segment: Segment, placed: Placed, now: float) -> FlowRuling:
        """New bytes in order: hold them, let them go, or end the connection."""
        heard = self._hear(flow, placed.data, now)
        decision = heard.decision
        if decision is None:
            if "fin" in segment.flags:
                return self._refuse(flow, segment, Decision(Verdict.REJECT, Reason.FLOW_CUT_SHORT))
            return self._hold(flow, segment, placed, now)
        if decision.verdict is not Verdict.ACCEPT:
            return self._refuse(flow, segment, decision)
        alone = flow.held is None
        if not alone:
            self.table.hold(flow, placed.end, segment.token, len(segment.payload), now)
        again = tuple(token for end, token, _ in flow.held or () if end <= flow.told)
        if heard.done:
            passed = self.table.forget(flow)
        else:
            flow.released = flow.stream.next
            passed = self.table.release(flow, flow.released)
            self.table.keep(flow, now)
        if alone:
            passed = (segment.token,)
        return FlowRuling(decision.verdict, decision.reason, decision.entry, heard.done, passed, again=again)

    def _hear(self, flow: Flow, data: bytes, now: float) -> Heard:
        def learned_for(entry: str) -> bool:
            """Whether it was when the connection was opened: it outlives the answer, as in the kernel."""
            if entry in flow.granted:
                return True
            if not self._names.is_open(flow.door, flow.opened_at, entry):
                return False
            flow.granted |= {entry}
            return True

        return flow.talk.hear(data, self._policy, learned_for, now)

    def _hold(self, flow: Flow, segment: Segment, placed: Placed, now: float) -> FlowRuling:
        self.table.hold(flow, placed.end, segment.token, len(segment.payload), now)
        return FlowRuling(Verdict.QUEUE, Reason.FIRST_BYTES_HELD)

    def _refuse(self, flow: Flow, segment: Segment, decision: Decision) -> FlowRuling:
        """End a connection: nothing that is held of it goes out any more."""
        reset = flow.reset()
        dropped = (*self.table.forget(flow), segment.token)
        return FlowRuling(
            *(Verdict.REJECT, decision.reason, decision.entry),
            dropped=dropped,
            resets=(reset,),
            said=decision.said,
        )

    def _shed(self, ruling: FlowRuling) -> FlowRuling:
        """Keep the table within its bounds. A packet of the ruling itself may be among those given up."""
        dropped, resets = ruling.dropped, ruling.resets
        while (flow := self.table.surplus()) is not None:
            resets += (flow.reset(),)
            dropped += self.table.forget(flow)
            self.counts[Reason.FLOW_TABLE_FULL] += 1
        if dropped is ruling.dropped and resets is ruling.resets:
            return ruling
        return FlowRuling(
            *(ruling.verdict, ruling.reason, ruling.entry, ruling.mark, ruling.passed),
            *(dropped, resets, ruling.again, ruling.said),
        )


@lru_cache(maxsize=256)
def _is_sound(flags: frozenset[str]) -> bool:
    """No urgent data (servers differ in where they put it), one purpose, and only SYN and RST without ACK."""
    purposes = flags & _PURPOSES
    return not flags - _KNOWN_FLAGS and len(purposes) < 2 and ("ack" in flags or purposes - {"fin"} != set())


def _passed(segment: Segment, reason: Reason, entry: str | None = None, *, mark: bool = False) -> FlowRuling:
    return FlowRuling(Verdict.ACCEPT, reason, entry, mark, passed=(segment.token,))


def _dropped(segment: Segment, reason: Reason) -> FlowRuling:
    return FlowRuling(Verdict.DROP, reason, dropped=(segment.token,))


def _unknown(segment: Segment) -> FlowRuling:
    """A connection whose beginning was not seen: where its bytes begin, and so what they say, is unknown."""
    if "rst" in segment.flags:
        return _dropped(segment, Reason.FLOW_UNKNOWN)
    return _refused(segment, Reason.FLOW_UNKNOWN)


def _refused(segment: Segment, reason: Reason) -> FlowRuling:
    """End a connection of which there is no record, from the numbers of its segment alone."""
    length = len(segment.payload) + len(segment.flags & {"syn", "fin"})
    acknowledged = (segment.sequence + length) % _SPACE
    reset = Reset(segment.flow, segment.sequence, segment.acknowledgement, acknowledged)
    return FlowRuling(Verdict.REJECT, reason, dropped=(segment.token,), resets=(reset,))
