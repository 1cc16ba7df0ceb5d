"""DNS over TCP to the configured resolvers (RFC 7766): the same judgement, message by message.

The queries' side is a listener of the flow gate. The answers' side is here: what an answer opens has to be
in the kernel before the last segment of the answer is delivered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from isolator.core.decide import DnsGate, Ruling
from isolator.core.flow_talk import MORE, Heard
from isolator.core.name_check import FlowPolicy, LearnedFor
from isolator.core.tcp_reassembly import Fit, TcpStream
from isolator.model.datagram import Datagram
from isolator.model.dns import DnsMessage
from isolator.model.first_bytes import Garbled
from isolator.model.segment import FlowKey, FlowRuling, Reset, Segment
from isolator.model.verdict import Decision, Reason, Verdict

MAX_CONNECTIONS = 256
"""Connections to resolvers whose answers are read at one time; the least used one goes."""
MAX_HELD = 128
"""Segments of one connection's answers that may wait: the longest answer, in the smallest usual segments."""
MAX_HELD_TOGETHER = 512
"""Segments of all of them; the kernel's queue must be longer."""
HOLD_S = 10.0
"""How long an answer may take to become whole."""

_SPACE = 1 << 32


class MessageSource(Protocol):
    """Cuts a stream into messages and reads them (`wire.first_bytes.Messages` is one)."""

    def feed(self, data: bytes, /) -> tuple[DnsMessage, ...] | Garbled:
        """Take the next bytes; gives the messages that are whole now."""
        ...

    @property
    def between(self) -> bool:
        """Whether no message is begun and unfinished."""
        ...


class QueryTalk:
    """The queries of one connection. A refused one ends it: nobody can answer in the resolver's stream."""

    __slots__ = ("_gate", "_key", "_last", "_reader")

    def __init__(self, reader: MessageSource, gate: DnsGate, key: FlowKey) -> None:
        self._reader = reader
        self._gate = gate
        self._key = key
        self._last: Decision | None = None

    def hear(self, data: bytes, policy: FlowPolicy, learned_for: LearnedFor, now: float) -> Heard:
        """Judge each whole query; the list and the resolvers are the DNS gate's."""
        messages = self._reader.feed(data)
        if isinstance(messages, Garbled):
            return Heard(Decision(Verdict.REJECT, Reason.DNS_UNREADABLE))
        key = self._key
        ends = Datagram(key.client, key.client_port, key.server, key.server_port, b"")
        for message in messages:
            self._last = self._gate.judge_query(ends, message, now).decision
            if self._last.verdict is not Verdict.ACCEPT:
                return Heard(self._last)
        return Heard(self._last) if self._reader.between else MORE


@dataclass(slots=True, eq=False)
class _Answers:
    """One connection's answers on their way in."""

    reader: MessageSource
    stream: TcpStream | None = None
    """None until the resolver takes the connection."""
    released: int = 0
    acknowledged: int = 0
    """The resolver's last acknowledgement: the next byte it expects from the client."""
    held: list[tuple[int, int]] = field(default_factory=list)
    """End offset and token of each packet that waits."""
    since: float = 0.0
    """When the oldest of them came."""


@dataclass(frozen=True, slots=True)
class AnswerRuling:
    """What to do about a resolver's segment.

    The caller puts `learned` of each ruling into the kernel, confirms it at the DNS gate, then carries out
    `flow`.
    """

    flow: FlowRuling
    answers: tuple[Ruling, ...] = ()


class DnsOverTcp:
    """Both sides of the connections to resolvers; shares the DNS gate and its lock. Never blocks."""

    __slots__ = ("_connections", "_gate", "_held", "_most", "_orphans", "_queries", "_replies")

    def __init__(
        self,
        gate: DnsGate,
        queries: Callable[[], MessageSource],
        replies: Callable[[], MessageSource],
        most: int = MAX_CONNECTIONS,
    ) -> None:
        self._gate = gate
        self._queries = queries
        self._replies = replies
        self._most = most
        self._connections: OrderedDict[FlowKey, _Answers] = OrderedDict()
        self._held = 0
        self._orphans: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._connections)

    def serves(self, flow: FlowKey) -> bool:
        """Say whether a connection goes to a configured resolver."""
        return self._gate.is_resolver(flow.server, flow.server_port)

    def listen(self, flow: FlowKey) -> QueryTalk:
        """Give the listener for the queries of a new connection, whose answers are expected from now on."""
        known = self._connections.get(flow)
        if known is not None:
            self._orphans += self._forget(flow, known)
        self._connections[flow] = _Answers(self._replies())
        if len(self._connections) > self._most:
            self._orphans += self._forget(*next(iter(self._connections.items())))
        return QueryTalk(self._queries(), self._gate, flow)

    def expire(self, now: float) -> FlowRuling | None:
        """Give up answers that do not become whole; call it every second or so. None when there is none."""
        dropped, self._orphans = self._orphans, ()
        resets: tuple[Reset, ...] = ()
        for flow, known in tuple(self._connections.items()):
            if known.stream is not None and known.held and known.since + HOLD_S <= now:
                resets += (_reset(flow, known.stream, known),)
                dropped += self._forget(flow, known)
        if not dropped:
            return None
        return FlowRuling(Verdict.REJECT, Reason.FLOW_TIMED_OUT, dropped=dropped, resets=resets)

    def judge_answer(self, segment: Segment, now: float) -> AnswerRuling:
        """Judge a segment that a resolver sent; `segment.flow` is still seen from the client."""
        if not self.serves(segment.flow):
            return _alone(Verdict.DROP, Reason.RESOLVER_NOT_APPROVED, segment)
        known = self._connections.get(segment.flow)
        if "syn" in segment.flags:
            return self._open(known, segment)
        if known is None or known.stream is None:
            # A reset may pass: it says no more than the silence that a drop would be.
            reset = "rst" in segment.flags and not segment.payload
            return _alone(Verdict.ACCEPT if reset else Verdict.DROP, Reason.FLOW_UNKNOWN, segment)
        self._connections.move_to_end(segment.flow)
        if "rst" in segment.flags:
            dropped = self._forget(segment.flow, known)
            return AnswerRuling(
                FlowRuling(Verdict.ACCEPT, Reason.FLOW_CLOSED, passed=(segment.token,), dropped=dropped)
            )
        if not segment.payload:
            return _alone(Verdict.ACCEPT, Reason.HANDSHAKE, segment)
        return self._judge_data(known, known.stream, segment, now)

    def _open(self, known: _Answers | None, segment: Segment) -> AnswerRuling:
        if "ack" not in segment.flags or segment.payload:
            return _alone(Verdict.DROP, Reason.TCP_MALFORMED, segment)
        if known is None:
            # Nobody here asked for it: whoever is on the network may say it in the resolver's name.
            return _alone(Verdict.DROP, Reason.FLOW_UNKNOWN, segment)
        first = (segment.sequence + 1) % _SPACE
        if known.stream is None:
            known.stream = TcpStream(first)
        elif known.stream.sequence_of(0) != first:
            return _alone(Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW, segment)
        return _alone(Verdict.ACCEPT, Reason.HANDSHAKE, segment)

    def _judge_data(self, known: _Answers, stream: TcpStream, segment: Segment, now: float) -> AnswerRuling:
        placed = stream.add(segment.sequence, segment.payload)
        if placed.fit is Fit.CONFLICT:
            return self._refuse(known, stream, segment, Reason.TCP_OVERLAP)
        if placed.fit is Fit.OUTSIDE:
            return _alone(Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW, segment)
        if placed.fit is Fit.AGAIN:
            went = placed.end <= known.released
            reason = Reason.HANDSHAKE if went else Reason.FIRST_BYTES_HELD
            return _alone(Verdict.ACCEPT if went else Verdict.DROP, reason, segment)
        messages = known.reader.feed(placed.data)
        if isinstance(messages, Garbled):
            return self._refuse(known, stream, segment, Reason.DNS_UNREADABLE)
        answers: list[Ruling] = []
        for message in messages:
            ruling = self._gate.judge_answer(_turned(segment.flow), message, now)
            if ruling.decision.verdict is not Verdict.ACCEPT:
                decision = ruling.decision
                return self._refuse(known, stream, segment, decision.reason, decision.entry)
            answers.append(ruling)
        if placed.fit is Fit.AHEAD or not known.reader.between:
            return self._hold(known, stream, segment, placed.end, tuple(answers), now)
        passed = self._release(known, stream, (placed.end, segment.token))
        reason = answers[-1].decision.reason if answers else Reason.HANDSHAKE
        return AnswerRuling(FlowRuling(Verdict.ACCEPT, reason, passed=passed), tuple(answers))

    def _hold(
        self,
        known: _Answers,
        stream: TcpStream,
        segment: Segment,
        end: int,
        answers: tuple[Ruling, ...],
        now: float,
    ) -> AnswerRuling:
        """Let a segment wait; a connection that wants to hold too many ends."""
        if len(known.held) >= MAX_HELD or self._held >= MAX_HELD_TOGETHER:
            return self._refuse(known, stream, segment, Reason.FLOW_TABLE_FULL)
        if not known.held:
            known.since = now
        known.held.append((end, segment.token))
        known.acknowledged = segment.acknowledgement
        self._held += 1
        return AnswerRuling(FlowRuling(Verdict.QUEUE, Reason.FIRST_BYTES_HELD), answers)

    def _release(self, known: _Answers, stream: TcpStream, last: tuple[int, int]) -> tuple[int, ...]:
        """Give what waits no more, `last` included, in order."""
        known.released = stream.next
        waiting = [*known.held, last]
        free = sorted(each for each in waiting if each[0] <= known.released)
        left = [each for each in waiting if each[0] > known.released]
        self._held += len(left) - len(known.held)
        known.held = left
        return tuple(token for _, token in free)

    def _refuse(
        self, known: _Answers, stream: TcpStream, segment: Segment, reason: Reason, entry: str | None = None
    ) -> AnswerRuling:
        known.acknowledged = segment.acknowledgement
        reset = _reset(segment.flow, stream, known)
        dropped = (*self._forget(segment.flow, known), segment.token)
        return AnswerRuling(FlowRuling(Verdict.REJECT, reason, entry, dropped=dropped, resets=(reset,)))

    def _forget(self, flow: FlowKey, known: _Answers) -> tuple[int, ...]:
        del self._connections[flow]
        self._held -= len(known.held)
        return tuple(token for _, token in known.held)


def _reset(flow: FlowKey, stream: TcpStream, known: _Answers) -> Reset:
    """The numbers that end a connection whose answers are not taken any further."""
    return Reset(flow, known.acknowledged, stream.sequence_of(known.released), known.acknowledged)


def _turned(flow: FlowKey) -> Datagram:
    """The ends of an answer, as the DNS gate reads them."""
    return Datagram(flow.server, flow.server_port, flow.client, flow.client_port, b"")


def _alone(verdict: Verdict, reason: Reason, segment: Segment) -> AnswerRuling:
    """A ruling about this segment only."""
    token = (segment.token,)
    accepted = verdict is Verdict.ACCEPT
    return AnswerRuling(
        FlowRuling(verdict, reason, passed=token if accepted else (), dropped=() if accepted else token)
    )
