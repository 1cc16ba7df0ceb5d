"""DNS queries seen leaving, each waiting for its one answer."""

from __future__ import annotations

from dataclasses import dataclass

from isolator.model.datagram import Datagram
from isolator.model.dns import Question
from isolator.model.flow import Address

QUERY_LIFETIME_S = 10.0
"""Stub resolvers give up on one try after 5 s at most (glibc, Windows); a late answer serves nobody."""

MAX_PENDING = 65_536
MAX_WILDCARD = MAX_PENDING * 3 // 4
"""Names an attacker can make up never take the last quarter, so that listed hosts stay resolvable."""
MAX_PER_SOCKET = 4_096
"""Queries of one local socket: enough for a caching resolver on one port at 5,000 queries/s and 800 ms."""


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """Bounds of the table, small in tests."""

    total: int = MAX_PENDING
    wildcard: int = MAX_WILDCARD
    per_socket: int = MAX_PER_SOCKET
    lifetime_s: float = QUERY_LIFETIME_S


@dataclass(frozen=True, slots=True)
class _Waiting:
    raw: bytes
    mixed_case: bool
    exact: bool
    until: float


_Key = tuple[Address, int, Address, int, str, int]


class PendingQueries:
    """The bounded table. When it is full new queries are refused; one that waits is never pushed out."""

    __slots__ = ("_limits", "_sockets", "_waiting", "_wildcards")

    def __init__(self, limits: PendingLimits | None = None) -> None:
        self._limits = limits or PendingLimits()
        self._waiting: dict[_Key, _Waiting] = {}
        self._sockets: dict[tuple[Address, int], int] = {}
        self._wildcards = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def remember(self, query: Datagram, id_: int, question: Question, *, exact: bool, now: float) -> bool:
        """Note a query that is about to leave; False when there is no room. One seen before is refreshed."""
        limits = self._limits
        socket = query.source, query.source_port
        key = (*socket, query.destination, id_, question.name, question.qtype)
        # Taken out first: insertion order is then the order of deadlines, which `expire` relies on.
        self._remove(key)
        held = self._sockets.get(socket, 0)
        if len(self._waiting) >= limits.total or held >= limits.per_socket:
            return False
        if not exact:
            if self._wildcards >= limits.wildcard:
                return False
            self._wildcards += 1
        self._sockets[socket] = held + 1
        self._waiting[key] = _Waiting(question.raw, question.mixed_case, exact, now + limits.lifetime_s)
        return True

    def expects(self, answer: Datagram) -> bool:
        """Say whether the socket an answer is for has any query under way; its bytes are not needed."""
        return (answer.destination, answer.destination_port) in self._sockets

    def take(self, answer: Datagram, id_: int, question: Question, *, now: float) -> bool:
        """Say whether the answer is to a waiting query, which then no longer waits.

        The letters' case must be the query's (draft-vixie-dnsext-dns0x20), unless the query used one case
        only and so carried nothing in it. An answer that does not fit leaves the query waiting.
        """
        key = _key(answer, id_, question)
        if not self._fits(key, question, now):
            return False
        self._remove(key)
        return True

    def awaits(self, answer: Datagram, id_: int, question: Question, *, now: float) -> bool:
        """Say whether `take` would take the answer; the query goes on waiting."""
        return self._fits(_key(answer, id_, question), question, now)

    def _fits(self, key: _Key, question: Question, now: float) -> bool:
        waiting = self._waiting.get(key)
        if waiting is None or waiting.until < now:
            return False
        return question.raw == waiting.raw or (
            not waiting.mixed_case and question.raw[-2:] == waiting.raw[-2:]
        )

    def expire(self, now: float) -> None:
        """Forget what waited too long; costs time for those and one more."""
        over: list[_Key] = []
        for key, waiting in self._waiting.items():
            if waiting.until >= now:
                break
            over.append(key)
        for key in over:
            self._remove(key)

    def _remove(self, key: _Key) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return
        if not waiting.exact:
            self._wildcards -= 1
        socket = key[0], key[1]
        left = self._sockets[socket] - 1
        if left:
            self._sockets[socket] = left
        else:
            del self._sockets[socket]


def _key(answer: Datagram, id_: int, question: Question) -> _Key:
    """Where the query of an answer would be."""
    return (
        *(answer.destination, answer.destination_port, answer.source),
        *(id_, question.name, question.qtype),
    )
