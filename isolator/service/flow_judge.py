"""Judges queued TCP segments: bytes to values, the flow gate's ruling, and what the kernel is told."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

from allowlists.index import Index
from isolator.core.decide import MAX_QUERY, DnsGate, Ruling
from isolator.core.dns_over_tcp import DnsOverTcp
from isolator.core.flow_gate import FlowGate
from isolator.core.flow_table import FlowLimits
from isolator.core.flow_talk import Readers
from isolator.core.name_check import FlowPolicy, networks_by_port
from isolator.model.flow import Destination, Hook, Transport
from isolator.model.policy import Policy
from isolator.model.segment import Acknowledgement, FlowKey, FlowRuling, Segment
from isolator.model.verdict import Reason, Verdict
from isolator.ports import FlowAnswer, QueuedPacket
from isolator.service.policy_builder import CONTROL_LIST, EXCLUSION_LIST
from isolator.wire.first_bytes import Hellos, Messages, Requests
from isolator.wire.parse_error import ParseError, Unreadable
from isolator.wire.tcp_options import without_multipath
from isolator.wire.tcp_render import render_acknowledgement, render_resets
from isolator.wire.tcp_segment import parse_segment

MAX_APPROVED = 65_536
"""Approved connections that are remembered here too; the least used one goes."""

SPARE_S = 10.0
"""How long after an isolation's first segment connections of the control channel may turn up that are older,
if nobody has told before which there are."""

Learn = Callable[[Ruling], None]
"""Puts what a DNS answer opens into the kernel and confirms it at the DNS gate."""

Note = Callable[[FlowRuling, FlowKey], None]
"""Is told of a connection that was refused (`service.alerts` and `service.refusals` listen)."""


class FlowJudge:
    """The TCP side of the gate. Not thread-safe: its caller holds the lock of the DNS gate.

    Segments that were queued before the kernel knew of their connection's approval come here after it, and so
    do those of approved connections that the kernel has no room for or has lost with its table. So what was
    approved is remembered here as well, and passes.
    """

    def __init__(self, dns: DnsGate, learn: Learn, note: Note, limits: FlowLimits | None = None) -> None:
        self._dns = dns
        self._learn = learn
        self._note = note
        self._limits = limits
        self._policy = FlowPolicy()
        self._over_tcp, self._gate = self._without_flows()
        self._orphans: tuple[int, ...] = ()
        self._approved: OrderedDict[FlowKey, None] = OrderedDict()
        self._waiting: dict[int, FlowKey] = {}
        self._kept: tuple[str, ...] = ()
        self._spare_until: float | None = -math.inf
        self._untold = False
        self._counts: Counter[Reason] = Counter()
        self.unreadable: Counter[Unreadable] = Counter()

    @property
    def waiting(self) -> int:
        """How many segments wait for a ruling."""
        return len(self._waiting)

    def counters(self) -> Counter[Reason]:
        """Give how many segments were decided for which reason so far, and how many flows given up."""
        return self._counts + self._gate.counts

    def replace_policy(self, policy: Policy) -> None:
        """Judge by another policy from now on; connections that were approved are not judged again."""
        unchecked: dict[int, tuple[str, ...]] = {}
        for entry in policy.entries:
            if entry.list_id == EXCLUSION_LIST:
                for port in entry.ports:
                    unchecked[port] = (*unchecked.get(port, ()), entry.id)
        networks = networks_by_port(policy.networks)
        proxies = frozenset((each.address, each.port) for each in policy.proxies)
        self._policy = FlowPolicy(Index(policy.entries), networks, proxies, unchecked)
        self._gate.replace_policy(self._policy)
        self._kept = tuple(
            entry.id for entry in policy.entries if entry.list_id in (CONTROL_LIST, EXCLUSION_LIST)
        )

    def forget_connections(self) -> None:
        """Forget every connection: the kernel's table is gone or is to be made, or another isolation begins.

        What one says now need not be what its server hears next: without the rules anything passed.
        """
        self._orphans += tuple(self._waiting)
        self._waiting.clear()
        self._counts += self._gate.counts
        self._over_tcp, self._gate = self._without_flows()
        self._approved.clear()
        self._spare_until = None
        self._untold = False

    def await_older(self) -> None:
        """Until `spare` tells which connections are older than this, one that is not known is neither
        passed nor ended: what its client says is dropped and comes again.
        """
        self._untold = True

    def spare(self, flows: Iterable[FlowKey]) -> None:
        """Let connections go on that were there before the gate; from now on there are no others."""
        self._spare_until = -math.inf
        self._untold = False
        for flow in flows:
            # One that began again since they were listed is another connection, and is judged.
            if self._gate.table.get(flow) is None:
                self._approve(flow, ())

    def judge(self, queued: QueuedPacket, token: int, now: float) -> FlowAnswer:
        """Judge one segment; a ParseError's packet is dropped and counted."""
        if queued.hook is Hook.FORWARD:
            return self._drop(Reason.FORWARDED, token)
        inbound = queued.hook is Hook.INPUT
        try:
            segment = parse_segment(queued.payload, token, inbound=inbound)
            if not inbound and "syn" in segment.flags:
                return self._judge_opening(segment, without_multipath(queued.payload), now)
        except ParseError as error:
            self.unreadable[error.kind] += 1
            return self._drop(Reason.TCP_MALFORMED, token)
        if inbound:
            return self._judge_answer(segment, now)
        return self._judge_outgoing(segment, now)

    def expire(self, now: float) -> FlowAnswer:
        """Give up connections that took too long, and what waited for ones that were forgotten.

        Clients that have more to say before they can be judged are encouraged.
        """
        if self._orphans:
            orphans, self._orphans = self._orphans, ()
            return FlowAnswer(dropped=orphans)
        ruling, late = self._gate.expire(now), self._over_tcp.expire(now)
        answer = FlowAnswer() if ruling is None else self._carry_out(ruling, None)
        told = tuple(render_acknowledgement(each) for each in self._gate.encourage(now))
        if told:
            answer = replace(answer, local_replies=answer.local_replies + told)
        if late is None:
            return answer
        self._counts[late.reason] += len(late.resets)
        more = self._carry_out(late, None, inbound=True)
        return replace(answer, local_replies=answer.local_replies + more.local_replies)

    def lose(self, token: int) -> None:
        """Note that a packet could not be judged and is dropped."""
        self._waiting.pop(token, None)

    def _without_flows(self) -> tuple[DnsOverTcp, FlowGate]:
        over_tcp = DnsOverTcp(self._dns, lambda: Messages(MAX_QUERY), Messages)
        readers = Readers(Hellos, Requests)
        return over_tcp, FlowGate(self._dns.names, readers, self._policy, self._limits, over_tcp)

    def _judge_opening(self, segment: Segment, plain: bytes | None, now: float) -> FlowAnswer:
        """A SYN goes on without its offer of another order of the bytes: as `plain`, if it made one."""
        if "ack" in segment.flags:
            return self._judge_outgoing(segment, now)
        self._approved.pop(segment.flow, None)
        ruling = self._gate.judge(segment, now)
        if ruling.verdict is Verdict.REJECT:
            self._note(ruling, segment.flow)
        answer = self._carry_out(ruling, segment)
        if plain is None or segment.token not in answer.passed:
            return answer
        return replace(answer, passed=(), replaced=(*answer.replaced, (segment.token, plain)))

    def _judge_outgoing(self, segment: Segment, now: float) -> FlowAnswer:
        flow = segment.flow
        if flow in self._approved or self._is_spared(flow, now):
            return self._approve(flow, (segment.token,))
        if self._untold and self._gate.table.get(flow) is None:
            return self._drop(Reason.FLOW_UNKNOWN, segment.token)
        ruling = self._gate.judge(segment, now)
        if ruling.verdict is Verdict.REJECT:
            self._note(ruling, flow)
        return self._carry_out(ruling, segment)

    def _is_spared(self, flow: FlowKey, now: float) -> bool:
        """Say whether it may be older than the isolation, to the controller say: it had named nobody here.

        Those that exist when the rules are in force are told to `spare`; this is for the instant before.
        """
        if self._spare_until is None:
            self._spare_until = now + SPARE_S
        if now >= self._spare_until or self._gate.table.get(flow) is not None:
            return False
        door = Destination(flow.server, Transport.TCP, flow.server_port)
        return any(self._dns.names.is_open(door, now, entry) for entry in self._kept)

    def _judge_answer(self, segment: Segment, now: float) -> FlowAnswer:
        """A resolver's segment: the kernel has what its answers open before the last of them is delivered."""
        ruling = self._over_tcp.judge_answer(segment, now)
        for answer in ruling.answers:
            self._counts[answer.decision.reason] += 1
            self._learn(answer)
        self._counts[ruling.flow.reason] += 1
        if ruling.flow.said is not None:
            self._note(ruling.flow, segment.flow)
        return self._carry_out(ruling.flow, segment, inbound=True)

    def _approve(self, flow: FlowKey, tokens: tuple[int, ...]) -> FlowAnswer:
        self._approved[flow] = None
        self._approved.move_to_end(flow)
        if len(self._approved) > MAX_APPROVED:
            self._approved.popitem(last=False)
        return FlowAnswer(passed=tokens, whole=True)

    def _carry_out(self, ruling: FlowRuling, segment: Segment | None, *, inbound: bool = False) -> FlowAnswer:
        waiting = self._waiting
        if segment is not None:
            waiting[segment.token] = segment.flow
        if ruling.mark and segment is not None:
            self._approve(segment.flow, ())
        for token in ruling.passed:
            waiting.pop(token, None)
        if not ruling.dropped and not ruling.resets:
            return FlowAnswer(ruling.passed, ruling.mark, again=ruling.again)
        return self._end(ruling, segment, inbound=inbound)

    def _end(self, ruling: FlowRuling, segment: Segment | None, *, inbound: bool) -> FlowAnswer:
        """What is dropped, and the resets: in the place of a dropped segment, or to the program here."""
        waiting = self._waiting
        ends: dict[FlowKey, int] = {}
        for token in ruling.dropped:
            flow = waiting.pop(token, None)
            if flow is not None:
                ends.setdefault(flow, token)
        replaced: list[tuple[int, bytes]] = []
        replies: list[bytes] = []
        # The server has seen nothing of a connection whose first SYN is refused.
        new = segment is not None and ruling.verdict is Verdict.REJECT and "syn" in segment.flags
        for reset in ruling.resets:
            to_server, to_client = render_resets(reset)
            token = ends.get(reset.flow, -1)
            if inbound and token >= 0:
                replaced.append((token, to_client))
                continue
            replies.append(to_client)
            if segment is None and not reset.to_client:
                # Its first acknowledgement passed without us, so our reset lacks the client's numbers. What
                # acknowledges beside them is answered with them (RFC 9293 section 3.10.7.4), and that answer
                # is one of a connection that nobody knows.
                replies.append(render_acknowledgement(Acknowledgement(reset.flow, 0, reset.acknowledged)))
            if token >= 0 and not new:
                replaced.append((token, to_server))
        used = {token for token, _ in replaced}
        dropped = tuple(token for token in ruling.dropped if token not in used)
        return FlowAnswer(
            ruling.passed, ruling.mark, dropped, tuple(replaced), tuple(replies), again=ruling.again
        )

    def _drop(self, reason: Reason, token: int) -> FlowAnswer:
        self._counts[reason] += 1
        return FlowAnswer(dropped=(token,))
