"""One question under way: whom to ask when, and which of the answers counts. No sockets here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from connectivity_check.failure import Seen
from connectivity_check.probes.dns_answer import NOERROR, Answer, AnswerError, parse_answer
from connectivity_check.probes.dns_question import Question
from connectivity_check.probes.dns_socket import Server, Ticket
from connectivity_check.probes.dns_trouble import SILENCE, Trouble

MOST_SERVERS = 3
"""As resolv.conf (MAXNS): a host asks no more of them either."""

_SCHEDULE = {1: (0.0, 0.15, 0.4, 0.7), 2: (0.0, 0.15, 0.4, 0.7), 3: (0.0, 0.12, 0.27, 0.45, 0.63, 0.8)}
"""When to send, in parts of the budget, by the number of servers, which take turns. A lost datagram must not
cost much, and the last one must leave time for its answer."""

_PAUSE_S = 0.1
"""Before a server that refused by ICMP is asked again: it may be starting."""

_WITHOUT_EDNS = frozenset({"FORMERR", "NOTIMP", "BADVERS"})
"""What servers say that do not know EDNS: ask again without it (RFC 6891 section 6.2.2)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One datagram that came for the question, believed or not."""

    sender: str
    after_s: float
    """Since the question was first sent."""
    answer: Answer


@dataclass(frozen=True, slots=True)
class Settled:
    """How a question ended: an answer, or the trouble that took its place."""

    server: Server | None
    """Who answered; without an answer the first who was asked."""
    at: float
    answer: Answer | None = None
    trouble: Trouble = SILENCE
    passed_over: tuple[tuple[str, str], ...] = ()
    """Resolvers that were asked before, with what they said instead: an rcode, or a `Seen`."""


class Asked:
    """A question that goes from server to server until one gives an answer that counts.

    As a stub resolver does it: silence, a refusal by ICMP and any rcode but NOERROR and NXDOMAIN lead to
    the next server, and the first error stands when no other server knows better.
    """

    def __init__(
        self,
        question: Question,
        servers: Sequence[Server],
        *,
        tcp: bool,
        budget_s: float,
        now: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.question = question
        self.settled: Settled | None = None
        self.tcp = tcp
        """Asked over TCP: from the start, or since an answer said that only TCP gives the whole of it."""
        self.truncated = False
        self.edns = True
        self.sent = 0
        self.heard_all: list[Heard] = []
        self.wrong_source: list[str] = []
        self.troubles: dict[Server, Trouble] = {}
        self._servers = servers
        self._steps = _plan(servers, now(), budget_s, tcp=tcp)
        self._asked_at: dict[Server, float] = {}
        self._tickets: list[Ticket] = []
        self._held: tuple[Answer, Server] | None = None
        self._instead: dict[Server, str] = {}
        self._unreadable = ""
        self._now = now
        self._wake = wake

    @property
    def next_at(self) -> float:
        """When something is to be sent again; infinity when nothing is."""
        return self._steps[0][0] if self._steps else float("inf")

    def due(self) -> Server | None:
        """Whom to ask now; each time it is called the schedule moves on by one. None: nobody yet."""
        if self.next_at > self._now():
            return None
        _, server = self._steps.pop(0)
        if not self._steps and not self.tcp and server in self._asked_at:
            self.edns = False  # the last try: some boxes drop what they do not know without a word
        self._asked_at.setdefault(server, self._now())
        return server

    def ask_again(self, at: float, server: Server) -> None:
        """Put one more question into the schedule."""
        self._steps = sorted([*self._steps, (at, server)])

    def keep(self, ticket: Ticket) -> None:
        """A datagram went out."""
        self.sent += 1
        self._tickets.append(ticket)

    def forget(self) -> None:
        """Listen no more."""
        for ticket in self._tickets:
            ticket.forget()
        self._tickets.clear()

    def heard(self, message: bytes, server: Server, sender: Server) -> None:
        """Take a datagram; see `Asker`. One from elsewhere is noted and not believed."""
        try:
            answer = parse_answer(message, self.question)
        except AnswerError as error:
            self._unreadable = self._unreadable or str(error)
            return
        self.heard_all.append(Heard(sender[0], self._now() - min(self._asked_at.values()), answer))
        if not _same(server, sender):
            self._note_wrong_source(server, sender)
        elif self.settled is None and not self.tcp:
            self.take(answer, server)

    def take(self, answer: Answer, server: Server) -> None:
        """Judge an answer: it settles the question, or leads to another way to ask."""
        if self.settled is not None:
            return
        if answer.truncated and not self.tcp:
            self.tcp = self.truncated = True
            self._held = (answer, server)
            self._steps = [(self._now(), server)]
        elif answer.rcode in _WITHOUT_EDNS and self.edns:
            self.edns = False
            self._steps.insert(0, (self._now(), server))
        elif answer.rcode not in (NOERROR, "NXDOMAIN") and self._go_on(server, answer.rcode):
            self._held = self._held or (answer, server)
        else:
            self._settle(answer, server)
        self._wake()

    def failed(self, trouble: Trouble, server: Server) -> None:
        """Take a system or ICMP error; see `Asker`.

        Any server may still answer as long as the schedule is not over.
        """
        self.troubles.setdefault(server, trouble)
        if self.settled is not None:
            return
        if not self._go_on(server, trouble.seen):
            if self._steps:
                at, following = self._steps[0]
                self._steps[0] = (min(at, self._now() + _PAUSE_S), following)
            elif self.truncated or all(asked in self._instead for asked in self._asked_at):
                self.give_up()
        self._wake()

    def give_up(self, known: Mapping[Server, Trouble] | None = None) -> None:
        """Settle with the best there is: an error answer, an unreadable one, an ICMP error, else silence.

        `known`: what other questions met at these servers meanwhile; hosts and routers limit the rate of
        their ICMP errors, so not every question gets its own.
        """
        if self._held is not None:
            self._settle(*self._held)
            return
        asked = tuple(self._asked_at) or tuple(self._servers)
        troubles = {**(known or {}), **self.troubles}
        trouble = next((troubles[server] for server in asked if server in troubles), SILENCE)
        if self._unreadable:
            trouble = Trouble(Seen.OTHER, error=f"unreadable answer: {self._unreadable}")
        self.settled = Settled(asked[0] if asked else None, self._now(), None, trouble)

    def _settle(self, answer: Answer, server: Server) -> None:
        over = tuple(
            (asked[0], self._instead.get(asked, SILENCE.seen)) for asked in self._asked_at if asked != server
        )
        self.settled = Settled(server, self._now(), answer, passed_over=over)
        self._steps.clear()

    def _go_on(self, server: Server, instead: str) -> bool:
        """Bring the next server that was not asked yet to the front; whether there is one."""
        self._instead.setdefault(server, instead)
        for step in self._steps:
            if step[1] not in self._asked_at:
                self._steps.remove(step)
                self._steps.insert(0, (self._now(), step[1]))
                return True
        return False

    def _note_wrong_source(self, server: Server, sender: Server) -> None:
        address = sender[0] if sender[0] != server[0] else f"{sender[0]}#{sender[1]}"
        if address not in self.wrong_source:
            self.wrong_source.append(address)


def _plan(
    servers: Sequence[Server], start: float, budget_s: float, *, tcp: bool
) -> list[tuple[float, Server]]:
    if tcp:  # the connection resends by itself: each server once
        return [(start + budget_s * i / len(servers), server) for i, server in enumerate(servers)]
    parts = _SCHEDULE.get(len(servers), ())
    return [(start + budget_s * part, servers[i % len(servers)]) for i, part in enumerate(parts)]


def _same(server: Server, sender: Server) -> bool:
    return sender[1] == server[1] and sender[0].partition("%")[0] == server[0].partition("%")[0]
