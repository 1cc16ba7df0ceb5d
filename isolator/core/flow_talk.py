"""What one connection has said so far, and the judgement of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from isolator.core.name_check import (
    FlowPolicy,
    LearnedFor,
    judge_hello,
    judge_proxy_request,
    judge_request,
    judge_tunnel_hello,
)
from isolator.model.first_bytes import Garbled
from isolator.model.flow import Destination
from isolator.model.http import Form, Request
from isolator.model.segment import FlowKey
from isolator.model.tls import Hello
from isolator.model.verdict import Decision, Reason, Verdict


class HelloSource(Protocol):
    """Reads one hello (`wire.first_bytes.Hellos` is one)."""

    def feed(self, data: bytes, /) -> Hello | Garbled | None:
        """Take the next bytes; None while the hello is not whole."""
        ...


class RequestSource(Protocol):
    """Reads requests one after the other (`wire.first_bytes.Requests` is one)."""

    def feed(self, data: bytes, /) -> tuple[Request, ...] | Garbled:
        """Take the next bytes; gives the requests whose heads are whole now."""
        ...

    @property
    def between(self) -> bool:
        """Whether no head is begun and unfinished."""
        ...

    @property
    def tunnel(self) -> bytes | None:
        """The last bytes that belong to a tunnel, None as long as there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Readers:
    """Makes the readers of a new connection."""

    hellos: Callable[[], HelloSource]
    requests: Callable[[], RequestSource]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the bytes so far mean: a decision, or None while they only begin something.

    `done` says that all of the connection is judged with it; the kernel may pass the rest.
    """

    decision: Decision | None
    done: bool = False


MORE = Heard(None)


class Talk(Protocol):
    """Listens to one connection."""

    def hear(self, data: bytes, policy: FlowPolicy, learned_for: LearnedFor, now: float) -> Heard:
        """Take the next bytes of the client, in order."""
        ...


class Resolvers(Protocol):
    """Knows the resolvers that may be asked over TCP (`core.dns_over_tcp.DnsOverTcp` is one)."""

    def serves(self, flow: FlowKey, /) -> bool:
        """Say whether a connection goes to one of them."""
        ...

    def listen(self, flow: FlowKey, first: int, /) -> Talk:
        """Give the listener for a new connection; `first` is the number of the client's first byte."""
        ...


class TlsTalk:
    """A connection that begins with a hello; `target` is what the proxy was asked for, if it is a tunnel."""

    __slots__ = ("_door", "_reader", "_target")

    def __init__(self, reader: HelloSource, door: Destination, target: Request | None = None) -> None:
        self._reader = reader
        self._door = door
        self._target = target

    def hear(self, data: bytes, policy: FlowPolicy, learned_for: LearnedFor, now: float) -> Heard:
        """Wait for the hello, then judge it: nothing after it is looked at."""
        hello = self._reader.feed(data)
        if hello is None:
            return MORE
        if isinstance(hello, Garbled):
            return Heard(Decision(Verdict.REJECT, Reason.TLS_UNREADABLE))
        if self._target is not None:
            return Heard(judge_tunnel_hello(policy, hello, self._target), done=True)
        return Heard(judge_hello(policy, hello, self._door, learned_for), done=True)


class HttpTalk:
    """A connection of requests; each is judged, so it stays here for as long as it lives."""

    __slots__ = ("_door", "_last", "_reader")

    def __init__(self, reader: RequestSource, door: Destination) -> None:
        self._reader = reader
        self._door = door
        self._last: Decision | None = None

    def hear(self, data: bytes, policy: FlowPolicy, learned_for: LearnedFor, now: float) -> Heard:
        """Judge what is whole; bytes of bodies go with the request they belong to."""
        requests = self._reader.feed(data)
        if isinstance(requests, Garbled):
            return Heard(Decision(Verdict.REJECT, Reason.HTTP_UNREADABLE))
        for request in requests:
            self._last = judge_request(policy, request, self._door, learned_for)
            if self._last.verdict is not Verdict.ACCEPT:
                return Heard(self._last)
        # A tunnel cannot begin here: CONNECT was refused above.
        return Heard(self._last) if self._reader.between else MORE


class ProxyTalk:
    """A connection to a proxy: requests until a tunnel begins, then the tunnel's hello.

    The proxy's answers are not seen here, so nobody knows which of several CONNECTs made the tunnel: all of a
    connection must name the same target, as they do while a client proves who it is.
    """

    __slots__ = ("_door", "_last", "_reader", "_readers", "_target", "_tunnel")

    def __init__(self, readers: Readers, door: Destination) -> None:
        self._readers = readers
        self._reader = readers.requests()
        self._door = door
        self._last: Decision | None = None
        self._target: Request | None = None
        self._tunnel: TlsTalk | None = None

    def hear(self, data: bytes, policy: FlowPolicy, learned_for: LearnedFor, now: float) -> Heard:
        """Judge each request and, once there is a tunnel, what it begins with."""
        if self._tunnel is not None:
            return self._tunnel.hear(data, policy, learned_for, now)
        requests = self._reader.feed(data)
        if isinstance(requests, Garbled):
            return Heard(Decision(Verdict.REJECT, Reason.HTTP_UNREADABLE))
        for request in requests:
            self._last = judge_proxy_request(policy, request)
            if self._last.verdict is not Verdict.ACCEPT:
                return Heard(self._last)
            if self._target is not None and not _same_tunnel(self._target, request):
                return Heard(Decision(Verdict.REJECT, Reason.PROXY_REQUEST_REFUSED))
            self._target = request if request.form is Form.AUTHORITY else None
        beginning = self._reader.tunnel
        if beginning is not None:
            self._tunnel = TlsTalk(self._readers.hellos(), self._door, self._target)
            return self._tunnel.hear(beginning, policy, learned_for, now)
        return Heard(self._last) if self._reader.between else MORE


def _same_tunnel(first: Request, then: Request) -> bool:
    return (first.form, first.host, first.port) == (then.form, then.host, then.port)


def talk_for(policy: FlowPolicy, readers: Readers, door: Destination) -> Talk:
    """Give the listener for a new connection, by what is spoken at its port."""
    if (door.address, door.port) in policy.proxies:
        return ProxyTalk(readers, door)
    if door.port in policy.http_ports:
        return HttpTalk(readers.requests(), door)
    return TlsTalk(readers.hellos(), door)
