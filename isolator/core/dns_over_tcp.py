"""DNS over TCP to the configured resolvers (RFC 7766): the same judgement, message by message.

The queries' side is a listener of the flow gate. The answers' side is here. Of an answer only the end is kept
back: the segment that makes it whole is delivered once the answer is judged and the kernel has what it opens.
So nothing is ever held, and what has to be acknowledged, repeated or slowed down on the way is the business
of the two ends. Whoever sends something else than an answer to a query under way is found out by its
question, so by its first 273 bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
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
UNFINISHED_S = 10.0
"""How long an answer may take to become whole: as long as its query is remembered (`core.pending`)."""

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

    def head(self) -> DnsMessage | Garbled | None:
        """Give the header and question of the message under way, None as long as they are not whole."""
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
    first: int
    """The number of the client's first byte: what the resolver acknowledges when it takes the connection."""
    stream: TcpStream | None = None
    """None until then."""
    acknowledged: int = 0
    """The resolver's last acknowledgement: the next byte it expects from the client."""
    expected: bool = False
    """Whether the answer under way is known to be to a query under way."""
    since: float | None = None
    """When the answer under way began, None when there is none."""

    def reset(self, flow: FlowKey, to_client: int) -> Reset:
        """Give the numbers that end it."""
        return Reset(flow, self.acknowledged, to_client, self.acknowledged)


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

    __slots__ = ("_connections", "_gate", "_most", "_queries", "_replies")

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

    def __len__(self) -> int:
        return len(self._connections)

    def serves(self, flow: FlowKey) -> bool:
        """Say whether a connection goes to a configured resolver."""
        return self._gate.is_resolver(flow.server, flow.server_port)

    def listen(self, flow: FlowKey, first: int) -> QueryTalk:
        """Give the listener for the queries of a new connection, whose answers are expected from now on.

        `first` is the sequence number of the client's first byte.
        """
        self._connections[flow] = _Answers(self._replies(), first)
        self._connections.move_to_end(flow)
        if len(self._connections) > self._most:
            self._connections.popitem(last=False)
        return QueryTalk(self._queries(), self._gate, flow)

    def expire(self, now: float) -> FlowRuling | None:
        """Give up answers that do not become whole; call it every second or so. None when there is none."""
        resets: tuple[Reset, ...] = ()
        for flow, known in tuple(self._connections.items()):
            stream, since = known.stream, known.since
            if stream is not None and since is not None and since + UNFINISHED_S <= now:
                resets += (known.reset(flow, stream.sequence_of(stream.next)),)
                del self._connections[flow]
        if not resets:
            return None
        return FlowRuling(Verdict.REJECT, Reason.FLOW_TIMED_OUT, resets=resets)

    def judge_answer(self, segment: Segment, now: float) -> AnswerRuling:
        """Judge a segment that a resolver sent; `segment.flow` is still seen from the client."""
        if not self.serves(segment.flow):
            return _alone(Verdict.DROP, Reason.RESOLVER_NOT_APPROVED, segment)
        known = self._connections.get(segment.flow)
        if "syn" in segment.flags:
            return _open(known, segment)
        if known is None or known.stream is None:
            # A reset may pass: it says no more than the silence that a drop would be.
            reset = "rst" in segment.flags and not segment.payload
            return _alone(Verdict.ACCEPT if reset else Verdict.DROP, Reason.FLOW_UNKNOWN, segment)
        if "rst" in segment.flags:
            return self._close(known.stream, segment)
        self._connections.move_to_end(segment.flow)
        if not segment.payload:
            return _alone(Verdict.ACCEPT, Reason.HANDSHAKE, segment)
        return self._judge_data(known, known.stream, segment, now)

    def _close(self, stream: TcpStream, segment: Segment) -> AnswerRuling:
        """A reset is the client's to believe; one that it cannot (RFC 5961 section 3) ends nothing here."""
        if segment.payload:
            return _alone(Verdict.DROP, Reason.TCP_MALFORMED, segment)
        if stream.offset_of(segment.sequence) == stream.next:
            del self._connections[segment.flow]
        return _alone(Verdict.ACCEPT, Reason.FLOW_CLOSED, segment)

    def _judge_data(self, known: _Answers, stream: TcpStream, segment: Segment, now: float) -> AnswerRuling:
        following = stream.sequence_of(stream.next)
        placed = stream.add(segment.sequence, segment.payload)
        if placed.fit is Fit.CONFLICT:
            return self._refuse(known, segment, following, Decision(Verdict.REJECT, Reason.TCP_OVERLAP))
        if placed.fit is Fit.OUTSIDE:
            return _alone(Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW, segment)
        if not placed.data:
            # What went may go again. What is ahead no program reads before the gap is closed, and that is
            # judged together with it; the resolver learns at once where the gap is.
            return _alone(Verdict.ACCEPT, Reason.HANDSHAKE, segment)
        answers: list[Ruling] = []
        refusal = self._hear(known, segment.flow, placed.data, answers, now)
        if refusal is not None:
            return self._refuse(known, segment, following, refusal)
        reason = answers[-1].decision.reason if answers else Reason.HANDSHAKE
        ruling = FlowRuling(Verdict.ACCEPT, reason, passed=(segment.token,))
        return AnswerRuling(ruling, tuple(answers))

    def _hear(
        self, known: _Answers, flow: FlowKey, data: bytes, answers: list[Ruling], now: float
    ) -> Decision | None:
        """Judge the answers that are whole now and how the next begins; a decision if one is refused."""
        unreadable = Decision(Verdict.REJECT, Reason.DNS_UNREADABLE)
        messages = known.reader.feed(data)
        if isinstance(messages, Garbled):
            return unreadable
        ends = _turned(flow)
        for message in messages:
            ruling = self._gate.judge_answer(ends, message, now)
            if ruling.decision.verdict is not Verdict.ACCEPT:
                return ruling.decision
            answers.append(ruling)
        if messages or known.since is None:
            known.expected, known.since = False, None if known.reader.between else now
        if known.since is None or known.expected:
            return None
        head = known.reader.head()
        if isinstance(head, Garbled):
            return unreadable
        if head is not None:
            if not self._gate.awaits(ends, head, now):
                return Decision(Verdict.REJECT, Reason.DNS_UNASKED_ANSWER)
            known.expected = True
        return None

    def _refuse(self, known: _Answers, segment: Segment, to_client: int, decision: Decision) -> AnswerRuling:
        """End a connection at the client: of this segment it gets nothing."""
        known.acknowledged = segment.acknowledgement
        del self._connections[segment.flow]
        reset = known.reset(segment.flow, to_client)
        ruling = FlowRuling(
            *(Verdict.REJECT, decision.reason, decision.entry),
            dropped=(segment.token,),
            resets=(reset,),
            said=decision.said,
        )
        return AnswerRuling(ruling)


def _open(known: _Answers | None, segment: Segment) -> AnswerRuling:
    """The resolver takes a connection. Whoever says so in its name would have to know the client's number."""
    if "ack" not in segment.flags or segment.payload:
        return _alone(Verdict.DROP, Reason.TCP_MALFORMED, segment)
    if known is None:
        return _alone(Verdict.DROP, Reason.FLOW_UNKNOWN, segment)
    first = (segment.sequence + 1) % _SPACE
    if segment.acknowledgement != known.first:
        return _alone(Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW, segment)
    if known.stream is None:
        known.stream = TcpStream(first)
        known.acknowledged = segment.acknowledgement
    elif known.stream.sequence_of(0) != first:
        return _alone(Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW, segment)
    return _alone(Verdict.ACCEPT, Reason.HANDSHAKE, segment)


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
