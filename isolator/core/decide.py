"""The packet gate's judgement of DNS: which query may leave, which answer is believed, what it opens."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from isolator.core.doors import NameIndex, Opening, opening
from isolator.core.names import LearnedNames, NameLimits, Proposal
from isolator.core.new_names import MAX_NEW_BYTES, MAX_NEW_NAMES, NewNames
from isolator.core.pending import PendingLimits, PendingQueries
from isolator.core.usable import UsableAddresses, unscoped
from isolator.model.datagram import Datagram
from isolator.model.dns import (
    AD,
    CD,
    CLASS_IN,
    DNS_PORT,
    RD,
    DnsMessage,
    Edns,
    LocalReply,
    Question,
    RecordType,
    addresses_in,
)
from isolator.model.flow import Address, LearnedAddress
from isolator.model.policy import LearnLimits, Policy
from isolator.model.verdict import Decision, Reason, Verdict

MAX_QUERY = 512
"""Bytes of a query's message: a name takes 255 at most, EDNS the rest (RFC 1035 section 2.3.4)."""

MAX_OPTION_BYTES = 64
"""EDNS option bytes of a query, the four-byte heads included: a cookie and a client subnet fit."""

OPTION_CODES = frozenset({3, 8, 10, 11, 12})
"""Options stub resolvers send: NSID, client subnet, cookie, TCP keepalive, padding. No others leave."""

_FORWARDED = frozenset({RecordType.A, RecordType.AAAA, RecordType.CNAME})
_WITHHELD = frozenset({RecordType.HTTPS, RecordType.SVCB})
_QUERY_FLAGS = RD | AD | CD
_DO = 0x8000
_MAX_OPENINGS = 8_192


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """What the gate goes by. The default opens nothing."""

    index: NameIndex | None = None
    resolvers: frozenset[Address] = frozenset()
    limits: LearnLimits = field(default_factory=LearnLimits)
    usable: UsableAddresses = field(default_factory=lambda: UsableAddresses((), ()))


def gate_policy(policy: Policy, index: NameIndex, own_addresses: Collection[Address]) -> GatePolicy:
    """Give the gate's part of a policy; `index` finds the policy's entries by name.

    Zones of link-local resolvers are dropped: packets do not carry them.
    """
    return GatePolicy(
        index,
        frozenset(unscoped(address) for address in policy.resolvers),
        policy.limits,
        UsableAddresses(own_addresses, policy.limits.private_answers),
    )


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Bounds of the gate's tables."""

    pending: PendingLimits = field(default_factory=PendingLimits)
    names: NameLimits = field(default_factory=NameLimits)
    new_names: int = MAX_NEW_NAMES
    new_bytes: int = MAX_NEW_BYTES


@dataclass(frozen=True, slots=True)
class Ruling:
    """The judgement of one packet.

    `proposal.renewed` has to be in the kernel before an accepted answer is delivered; then the caller
    confirms. `reply` is what the local asker is told when the packet does not pass.
    """

    decision: Decision
    reply: LocalReply | None = None
    proposal: Proposal | None = None

    @property
    def learned(self) -> tuple[LearnedAddress, ...]:
        """What must be put into the kernel first."""
        return () if self.proposal is None else self.proposal.renewed


class DnsGate:
    """Judges DNS datagrams one by one; holds the bounded state that needs. Not thread-safe, never blocks.

    `now` is CLOCK_BOOTTIME in seconds and must not go back.
    """

    __slots__ = ("_limits", "_new_names", "_next_sweep", "_openings", "_pending", "_policy", "names")

    def __init__(self, policy: GatePolicy | None = None, limits: GateLimits | None = None) -> None:
        self._limits = limits or GateLimits()
        self._policy = policy or GatePolicy()
        self._pending = PendingQueries(self._limits.pending)
        self._new_names = NewNames(self._limits.new_names, self._limits.new_bytes)
        self._next_sweep = 0.0
        self.names = LearnedNames(self._limits.names)
        """What has been learned; read it, let the gate write it."""
        self._openings: dict[str, Opening] = {}

    def replace_policy(self, policy: GatePolicy, now: float) -> tuple[LearnedAddress, ...]:
        """Go by another policy from now on.

        Gives what was open and no name opens any more, for the kernel to forget. Queries under way stay
        remembered: their answers are judged by the new policy.
        """
        self._policy = policy
        self._openings.clear()
        return self.names.retain(self._opening, policy.usable, now)

    def is_resolver(self, address: Address, port: int) -> bool:
        """Say whether a destination is a configured resolver."""
        return port == DNS_PORT and address in self._policy.resolvers

    def judge_query(self, query: Datagram, message: DnsMessage, now: float) -> Ruling:
        """Judge a readable message on its way out to port 53."""
        self._sweep(now)
        if query.destination_port != DNS_PORT:
            return _drop(Reason.RESOLVER_NOT_APPROVED)
        if message.is_response:
            return _drop(Reason.DNS_NOT_A_QUERY)
        if not _is_plain_query(message):
            return _drop(Reason.DNS_UNREADABLE, LocalReply.FORMERR)
        if query.destination not in self._policy.resolvers:
            return _drop(Reason.RESOLVER_NOT_APPROVED, LocalReply.REFUSED)
        question = message.questions[0]
        found = self._opening(question.name)
        if found is None or question.qclass != CLASS_IN:
            return _drop(Reason.DNS_NAME_NOT_ALLOWED, LocalReply.REFUSED, said=question.name)
        if question.qtype in _WITHHELD:
            # Their answers carry addresses and ECH keys past the check of names; clients do without.
            return _drop(Reason.DNS_TYPE_WITHHELD, LocalReply.EMPTY, found.entry)
        if question.qtype not in _FORWARDED:
            return _drop(Reason.DNS_TYPE_NOT_ALLOWED, LocalReply.REFUSED, found.entry, question.name)
        return self._let_out(query, message.id, question, found, now)

    def judge_unreadable_query(self, query: Datagram) -> Ruling:
        """Judge a datagram on its way out that is no DNS message: it stays, a resolver's asker is told so."""
        if query.destination_port != DNS_PORT or query.destination not in self._policy.resolvers:
            return _drop(Reason.RESOLVER_NOT_APPROVED)
        return _drop(Reason.DNS_UNREADABLE, LocalReply.FORMERR)

    def judge_stranger(self, answer: Datagram) -> Ruling | None:
        """Judge an answer by its ends alone; None when it may be one and has to be read.

        A flood of forged answers is met here: to be read at all they must guess a port that waits.
        """
        if answer.source_port != DNS_PORT or answer.source not in self._policy.resolvers:
            return _drop(Reason.RESOLVER_NOT_APPROVED)
        return None if self._pending.expects(answer) else _drop(Reason.DNS_UNASKED_ANSWER)

    def awaits(self, answer: Datagram, head: DnsMessage, now: float) -> bool:
        """Say whether a message whose records are not there yet begins as the answer to a query under way."""
        if self.judge_stranger(answer) is not None:
            return False
        question = _question_answered(head)
        return question is not None and self._pending.awaits(answer, head.id, question, now=now)

    def judge_answer(self, answer: Datagram, message: DnsMessage, now: float) -> Ruling:
        """Judge a readable message on its way in from port 53.

        An answer counts once; a second copy is unasked for. One of which every address is refused is kept
        back, and the asker is told REFUSED so that it need not wait.
        """
        self._sweep(now)
        stranger = self.judge_stranger(answer)
        if stranger is not None:
            return stranger
        question = _question_answered(message)
        if question is None or not self._pending.take(answer, message.id, question, now=now):
            return _drop(Reason.DNS_UNASKED_ANSWER)
        found = self._opening(question.name)
        if found is None:
            return _drop(Reason.DNS_NAME_NOT_ALLOWED, LocalReply.REFUSED, said=question.name)
        # Of a truncated answer nothing is learned: a client that sees TC asks again.
        addresses = () if message.is_truncated else addresses_in(message)
        if not addresses:
            return Ruling(Decision(Verdict.ACCEPT, Reason.DNS_ANSWER_EMPTY, found.entry))
        return self._believe(found, addresses, now)

    def confirm(self, ruling: Ruling) -> None:
        """Take over what a ruling proposed; call it once the kernel has `ruling.learned`."""
        if ruling.proposal is not None:
            self.names.add(ruling.proposal)

    def preload(
        self, name: str, addresses: Iterable[tuple[Address, int]], now: float
    ) -> tuple[LearnedAddress, ...]:
        """Take (address, TTL in seconds) pairs that the agent asked for itself, with the same checks.

        Gives what the caller must put into the kernel, all of it whatever the table says; the table has it
        already. The name is pinned: no other can push it out. Empty for a name that the policy does not
        cover and when no address is usable.
        """
        found = self._opening(name)
        if found is None:
            return ()
        self.names.pin(name)
        proposal = self._propose(found, addresses, now, anew=True)
        if proposal is None:
            return ()
        self.names.add(proposal)
        return proposal.renewed

    def _opening(self, name: str) -> Opening | None:
        """What the name opens; remembered, because each allowed name is looked up twice at least."""
        found = self._openings.get(name)
        if found is None and self._policy.index is not None:
            found = opening(self._policy.index, name)
            if found is not None:
                if len(self._openings) >= _MAX_OPENINGS:
                    self._openings.clear()
                self._openings[name] = found
        return found

    def _let_out(self, query: Datagram, id_: int, question: Question, found: Opening, now: float) -> Ruling:
        """An allowed query: within the bounds it is remembered and may leave."""
        listed = found.exact or self.names.is_pinned(question.name)
        known = listed or self.names.knows(question.name)
        refusal = None if known else self._new_names.refusal(found.entry, question.name, now)
        if refusal is not None:
            return _drop(refusal, LocalReply.REFUSED, found.entry, question.name)
        if not self._pending.remember(query, id_, question, exact=listed, now=now):
            return _drop(Reason.DNS_TABLE_FULL, LocalReply.REFUSED, found.entry, question.name)
        return Ruling(Decision(Verdict.ACCEPT, Reason.DNS_NAME_ALLOWED, found.entry))

    def _believe(self, found: Opening, addresses: tuple[tuple[Address, int], ...], now: float) -> Ruling:
        proposal = self._propose(found, addresses, now)
        if proposal is None:
            return _drop(Reason.DNS_REBINDING, LocalReply.REFUSED, found.entry, found.name)
        return Ruling(Decision(Verdict.ACCEPT, Reason.DNS_ANSWER_LEARNED, found.entry), proposal=proposal)

    def _propose(
        self, found: Opening, addresses: Iterable[tuple[Address, int]], now: float, *, anew: bool = False
    ) -> Proposal | None:
        """What the usable ones of the addresses would open; None when there is none."""
        policy = self._policy
        usable = [pair for pair in addresses if pair[0] in policy.usable]
        if not usable:
            return None
        few = usable[: self._limits.names.per_answer]
        return self.names.propose(found, few, policy.limits, now, anew=anew)

    def _sweep(self, now: float) -> None:
        if now >= self._next_sweep:
            self._next_sweep = now + 1.0
            self._pending.expire(now)
            self.names.expire(now)


def _is_plain_query(message: DnsMessage) -> bool:
    """Say whether a query is one question and nothing that could carry data of its own."""
    return (
        message.opcode == 0
        and message.flags & ~_QUERY_FLAGS == 0
        and len(message.questions) == 1
        and not message.answers
        and message.authority == message.additional == message.trailing == 0
        and message.size <= MAX_QUERY
        and (message.edns is None or _is_plain_edns(message.edns))
    )


def _question_answered(message: DnsMessage) -> Question | None:
    """The one question of a response; None for whatever else it is."""
    if not message.is_response or message.opcode or len(message.questions) != 1:
        return None
    return message.questions[0]


def _is_plain_edns(edns: Edns) -> bool:
    if edns.version or edns.extended_rcode or edns.flags & ~_DO:
        return False
    if any(option.code not in OPTION_CODES for option in edns.options):
        return False
    return sum(4 + len(option.data) for option in edns.options) <= MAX_OPTION_BYTES


def _drop(
    reason: Reason, reply: LocalReply | None = None, entry: str | None = None, said: str | None = None
) -> Ruling:
    return Ruling(Decision(Verdict.DROP, reason, entry, said), reply)
