"""NameResolver: many names at once over UDP."""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from isolator.model.flow import Address

_PORT = 53
_AT_ONCE = 128
"""Questions under way; each has a socket, and with it a random port, of its own."""

_ATTEMPTS = 2
_PATIENCE_S = 1.5
"""Longest wait for one attempt."""

_EDNS_BYTES = 1232
"""What fits an IPv6 packet on any link, so that an answer needs no fragments (RFC 9715)."""

_Found = tuple[tuple[Address, int], ...]


@dataclass(slots=True)
class _Question:
    """One name and type on its way through the attempts."""

    name: str
    kind: dns.rdatatype.RdataType
    attempts: int = 0
    query: dns.message.QueryMessage | None = None
    give_up_at: float = 0.0


class DnsNameResolver:
    """Asks the given resolvers in turn: a question that fails or waits too long goes to the next.

    Answers count only from the address asked, with the id, the question and, at the first attempt,
    the random letter case of the question (0x20). Truncated answers are taken as far as they go.
    """

    def __init__(self, port: int = _PORT, randomness: random.Random | None = None) -> None:
        self._port = port
        self._random = randomness or random.SystemRandom()

    def resolve(
        self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float
    ) -> Mapping[str, _Found]:
        """Addresses with their TTL by name as given, both families.

        A name that answered but has no address maps to an empty tuple; one that nobody answered
        for, or that is no domain name, is missing.
        """
        if not resolvers:
            return {}
        run = _Run(self._port, self._random, tuple(resolvers), time.monotonic() + deadline_s)
        kinds = (dns.rdatatype.A, dns.rdatatype.AAAA)
        run.ask([_Question(name, kind) for name in dict.fromkeys(names) for kind in kinds], deadline_s)
        return run.found


class _Run:
    def __init__(
        self, port: int, randomness: random.Random, resolvers: tuple[Address, ...], end_at: float
    ) -> None:
        self.found: dict[str, _Found] = {}
        self._port = port
        self._random = randomness
        self._resolvers = resolvers
        self._end_at = end_at
        self._todo: deque[_Question] = deque()
        self._waiting = selectors.DefaultSelector()

    def ask(self, questions: list[_Question], deadline_s: float) -> None:
        """Until everything is answered, failed or the time is over."""
        patience_s = min(_PATIENCE_S, deadline_s / _ATTEMPTS)
        self._todo.extend(questions)
        try:
            while time.monotonic() < self._end_at and (self._todo or self._waiting.get_map()):
                while self._todo and len(self._waiting.get_map()) < _AT_ONCE:
                    self._send(self._todo.popleft(), patience_s)
                self._wait()
        finally:
            for key in list(self._waiting.get_map().values()):
                self._forget(key)
            self._waiting.close()

    def _send(self, question: _Question, patience_s: float) -> None:
        if question.attempts >= _ATTEMPTS * len(self._resolvers):
            return
        resolver = self._resolvers[question.attempts % len(self._resolvers)]
        # Some servers do not give the letter case back: later attempts go without.
        name = self._mixed(question.name) if question.attempts == 0 else question.name
        question.attempts += 1
        try:
            question.query = dns.message.make_query(
                name, question.kind, use_edns=0, payload=_EDNS_BYTES, id=self._random.getrandbits(16)
            )
            wire = question.query.to_wire()
        except (dns.exception.DNSException, UnicodeError):
            return
        family = socket.AF_INET if resolver.version == 4 else socket.AF_INET6
        try:
            asking = socket.socket(family, socket.SOCK_DGRAM)
        except OSError:
            self._todo.append(question)
            return
        try:
            asking.setblocking(False)
            asking.connect((str(resolver), self._port))
            asking.send(wire)
        except OSError:
            asking.close()
            self._todo.append(question)
            return
        question.give_up_at = time.monotonic() + patience_s
        self._waiting.register(asking, selectors.EVENT_READ, question)

    def _mixed(self, name: str) -> str:
        return "".join(self._random.choice((letter.lower(), letter.upper())) for letter in name)

    def _wait(self) -> None:
        entries = list(self._waiting.get_map().values())
        if not entries:
            return
        until = min(self._end_at, min(key.data.give_up_at for key in entries))
        for key, _ in self._waiting.select(max(0.0, until - time.monotonic())):
            self._receive(key)
        now = time.monotonic()
        for key in [key for key in self._waiting.get_map().values() if key.data.give_up_at <= now]:
            self._forget(key)
            self._todo.append(key.data)

    def _receive(self, key: selectors.SelectorKey) -> None:
        asking, question = key.fileobj, key.data
        assert isinstance(asking, socket.socket)
        try:
            data = asking.recv(65535)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there, or the way is closed
            self._forget(key)
            self._todo.append(question)
            return
        answer = _answer(data, question)
        if answer is None:
            return
        self._forget(key)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            self._todo.append(question)
            return
        self.found[question.name] = self.found.get(question.name, ()) + _addresses(answer)

    def _forget(self, key: selectors.SelectorKey) -> None:
        assert isinstance(key.fileobj, socket.socket)
        self._waiting.unregister(key.fileobj)
        key.fileobj.close()


def _answer(data: bytes, question: _Question) -> dns.message.QueryMessage | None:
    """The message when it answers this question; None for anything else that arrived."""
    assert question.query is not None
    try:
        answer = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError):
        return None
    if not isinstance(answer, dns.message.QueryMessage) or not question.query.is_response(answer):
        return None
    if not answer.question or answer.question[0].name.labels != question.query.question[0].name.labels:
        return None
    return answer


def _addresses(answer: dns.message.QueryMessage) -> _Found:
    """The addresses at the end of the CNAME chain, with the smallest TTL on the way."""
    try:
        chain = answer.resolve_chaining()
    except dns.exception.DNSException:
        return ()
    if chain.answer is None:
        return ()
    return tuple((ip_address(record.address), chain.minimum_ttl) for record in chain.answer)
