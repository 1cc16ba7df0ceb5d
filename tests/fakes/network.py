"""A network that is a `World`: every step of `ports.Network`, its budgets, its evidence, its open streams."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from connectivity_check.failure import Seen
from connectivity_check.model import (
    Expectation,
    Json,
    Observation,
    ProxyScheme,
    ProxyServer,
    Role,
    Step,
)
from connectivity_check.ports import Clock, HttpRequest, Stream, TlsVariant, Tried
from tests.fakes.network_answers import REVOCATION, TLS_SEEN, certificate, judged, tls_of
from tests.fakes.network_stream import Connections, FakeStream, closed_on_error
from tests.fakes.network_world import FIREWALL, OWN, ROUTER, Door, Page, Tcp, Tls, World

_ICMP = {Tcp.PROHIBIT: (FIREWALL, 13), Tcp.UNREACHABLE: (ROUTER, 1)}
_SEEN = {
    Tcp.DROP: Seen.TIMEOUT,
    Tcp.REFUSE: Seen.CONNECTION_REFUSED,
    Tcp.PROHIBIT: Seen.HOST_UNREACHABLE,
    Tcp.UNREACHABLE: Seen.HOST_UNREACHABLE,
    Tcp.LOCAL: Seen.PERMISSION_DENIED,
}
_ERRNO = {Seen.CONNECTION_REFUSED: "ECONNREFUSED", Seen.HOST_UNREACHABLE: "EHOSTUNREACH"}


@dataclass(slots=True)
class Call:
    """One step that was asked for: what, why, whom, and when (of the clock)."""

    operation: str
    role: Role
    where: str
    """Name, `address port`, or URL."""
    began: float
    ended: float = math.inf


class FakeNetwork:
    """`ports.Network` over a world. `open_streams` must be 0 in the end; `calls` has every step in order."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world = world
        self.local_names = frozenset(world.hosts)
        self.resolvers = world.resolvers
        self._connections = Connections()
        self.calls: list[Call] = []
        self._clock = clock

    @property
    def open_streams(self) -> int:
        """How many connections nobody has closed."""
        return self._connections.open

    def asked(self, operation: str, role: Role | None = None) -> list[Call]:
        """Every call of an operation (and role)."""
        return [c for c in self.calls if c.operation == operation and role in (None, c.role)]

    async def resolve(
        self,
        name: str,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
        server: str | None = None,
        tcp: bool = False,
        linger_s: float = 0.0,
    ) -> Observation:
        """Answer as the world says; with `linger_s`, listen on to the end of it."""
        answer = self.world.answer(name, server)
        evidence: dict[str, Json] = {
            "name": name,
            "resolver": server or self.resolvers[0],
            "transport": "tcp" if tcp else "udp",
        }
        with self._call("resolve", role, name) as began:
            silent = answer.seen is Seen.TIMEOUT
            if silent or answer.after_s >= budget_s:
                await asyncio.sleep(budget_s)
                return self._observed(Step.RESOLVE, Seen.TIMEOUT, evidence, began, role)
            await asyncio.sleep(max(answer.after_s, min(linger_s, budget_s)))
        evidence["rcode"] = "NXDOMAIN" if answer.seen is Seen.DNS_NXDOMAIN else "NOERROR"
        evidence["addresses"] = list(answer.addresses)
        if linger_s:
            said: dict[str, Json] = {"rcode": evidence["rcode"], "addresses": evidence["addresses"]}
            evidence["answers"] = [{"from": evidence["resolver"], "ms": answer.after_s * 1000, **said}]
        return self._observed(Step.RESOLVE, answer.seen, evidence, began, role)

    async def look_up(self, name: str, *, budget_s: float) -> Observation:
        """The hosts file first, then as `resolve`."""
        here = self.world.hosts.get(name)
        if here is None:
            seen = await self.resolve(name, budget_s=budget_s, role=Role.GETADDRINFO)
            return replace(seen, evidence={**seen.evidence, "transport": "system"})
        evidence: dict[str, Json] = {"name": name, "resolver": "hosts", "transport": "system"}
        with self._call("look_up", Role.GETADDRINFO, name) as began:
            await asyncio.sleep(0)
        evidence["addresses"] = list(here)
        return self._observed(Step.RESOLVE, None, evidence, began, Role.GETADDRINFO)

    async def connect(
        self, address: str, port: int, *, budget_s: float, role: Role = Role.PROBE, mss: int | None = None
    ) -> Tried:
        """Knock at a door."""
        door = self.world.door(address, port)
        evidence: dict[str, Json] = {"address": address, "port": port, "family": 6 if ":" in address else 4}
        if mss:
            evidence["mss"] = mss
        with self._call("connect", role, f"{address} {port}") as began:
            if door.tcp is Tcp.LOCAL:
                evidence |= {"errno": "EPERM", "instant": True}
                return Tried(self._observed(Step.CONNECT, Seen.PERMISSION_DENIED, evidence, began, role))
            if door.tcp is Tcp.DROP or door.rtt_s >= budget_s:
                await asyncio.sleep(budget_s)
                # A SYN at 0, 1, 3, 7 ... s, as Linux sends them.
                evidence["syns"] = 1 + int(math.log2(1 + budget_s))
                return Tried(self._observed(Step.CONNECT, Seen.TIMEOUT, evidence, began, role))
            await asyncio.sleep(door.rtt_s)
        evidence |= {"rtt_ms": door.rtt_s * 1000, "syns": 1, "source": OWN}
        seen = _SEEN.get(door.tcp)
        if seen is not None:
            evidence["errno"] = _ERRNO[seen]
            if door.tcp in _ICMP:
                sender, code = _ICMP[door.tcp]
                evidence["icmp"] = {"from": sender, "type": 3, "code": code, "family": 4}
            return Tried(self._observed(Step.CONNECT, seen, evidence, began, role))
        stream = FakeStream(self._connections, door, address, port)
        return Tried(self._observed(Step.CONNECT, None, evidence, began, role), stream)

    async def hops(self, address: str, port: int, *, budget_s: float, max_hops: int = 16) -> Observation:
        """The router answers, nobody behind it."""
        with self._call("hops", Role.HOPS, f"{address} {port}") as began:
            await asyncio.sleep(budget_s)
        hop: dict[str, Json] = {"ttl": 1, "from": ROUTER, "ms": 1.0, "type": 11, "code": 0}
        evidence: dict[str, Json] = {
            "address": address, "port": port, "hops": [hop], "last_hop": ROUTER, "last_ttl": 1,
            "reached": self.world.door(address, port).tcp is Tcp.ACCEPT, "max_ttl": max_hops,
        }  # fmt: skip
        return self._observed(Step.CONNECT, None, evidence, began, Role.HOPS)

    async def distance(self, address: str, port: int, *, budget_s: float) -> Observation:
        """Whoever answers is as far away as everybody."""
        door = self.world.door(address, port)
        answers = {Tcp.ACCEPT: "syn_ack", Tcp.REFUSE: "rst"}
        evidence: dict[str, Json] = {"address": address, "port": port, "tries": 1}
        with self._call("distance", Role.TTL, f"{address} {port}") as began:
            if door.tcp not in answers:
                await asyncio.sleep(budget_s)
                return self._observed(Step.CONNECT, Seen.TIMEOUT, evidence, began, Role.TTL)
            await asyncio.sleep(min(budget_s, door.rtt_s))
        evidence |= {"answer": answers[door.tcp], "ttl": 56}
        return self._observed(Step.CONNECT, None, evidence, began, Role.TTL)

    async def tunnel(
        self,
        stream: Stream,
        proxy: ProxyServer,
        host: str,
        port: int,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
    ) -> Tried:
        """Ask the gate behind the door. The stream is taken over: closed unless the tunnel stands."""
        mine = self._mine(stream)
        with self._call("tunnel", role, f"{host} {port}") as began, closed_on_error(mine):
            evidence: dict[str, Json] = {
                "proxy": proxy.url,
                "scheme": proxy.scheme.value,
                "target": f"{host}:{port}",
            }
            seen = await self._ask_gate(mine.door, proxy, host, port, budget_s, evidence)
            observation = self._observed(Step.PROXY_CONNECT, seen, evidence, began, role, proxy.url)
        if seen is not None:
            mine.close()
            return Tried(observation)
        return Tried(observation, mine.over(self.world.door_of(host, port), proxy.url))

    async def _ask_gate(
        self,
        door: Door | None,
        proxy: ProxyServer,
        host: str,
        port: int,
        budget_s: float,
        evidence: dict[str, Json],
    ) -> Seen | None:
        gate = door.gate if door else None
        evidence["stage"] = "sent"
        if gate is None or gate.scheme is not proxy.scheme:
            await asyncio.sleep(min(0.01, budget_s))
            evidence |= {"stage": "answered", "first_bytes": b"SSH-2.0".hex()}
            return Seen.PROXY_PROTOCOL
        if gate.tls is not Tls.GOOD:
            evidence["stage"] = "tls"
            return TLS_SEEN.get(gate.tls)
        behind = self.world.door_of(host, port)
        unreachable = behind is not None and behind.tcp is Tcp.DROP
        if gate.silent or unreachable:
            await asyncio.sleep(budget_s)
            return Seen.TIMEOUT
        await asyncio.sleep(min(0.02, budget_s))
        evidence["stage"] = "answered"
        status = gate.status or (403 if gate.denied & {host, "*"} else 0)
        status = status or (503 if behind is None or behind.tcp is not Tcp.ACCEPT else 200)
        if proxy.scheme is ProxyScheme.SOCKS5H:
            evidence["socks_reply"] = 0 if status == 200 else 2
            return None if status == 200 else Seen.SOCKS_REPLY
        evidence["status"] = status
        if status == 407:
            evidence["schemes"] = ["ntlm"]
        return None if status == 200 else Seen.PROXY_STATUS

    async def handshake(
        self,
        stream: Stream,
        server_name: str,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
        variant: TlsVariant = TlsVariant.NORMAL,
    ) -> Tried:
        """TLS as the door does it for this name. The stream is taken over: closed unless TLS was finished."""
        mine = self._mine(stream)
        kind = tls_of(mine.door, server_name)
        evidence: dict[str, Json] = {
            "server_name": server_name, "address": mine.address, "port": mine.port, "stage": "client_hello",
            "received": 0,
        }  # fmt: skip
        with self._call("handshake", role, server_name) as began, closed_on_error(mine):
            if kind is Tls.SILENT:
                await asyncio.sleep(budget_s)
            else:
                await asyncio.sleep(min(0.02, budget_s))
        finished = kind in (Tls.GOOD, Tls.INSPECTED, Tls.UNTRUSTED, Tls.EXPIRED, Tls.WRONG_NAME)
        if finished:
            evidence |= certificate(kind, server_name)
            evidence["alpn"] = "h2" if variant is TlsVariant.H2 else "http/1.1"
        elif kind is Tls.ALERT:
            evidence |= {"alert": 40, "alert_name": "handshake_failure", "stage": "server_hello"}
        elif kind is Tls.NOT_TLS:
            evidence |= {"first_bytes": b"HTTP/1.1 200 OK".hex(), "stage": "server_hello"}
        observation = self._observed(Step.TLS_HANDSHAKE, TLS_SEEN.get(kind), evidence, began, role, mine.via)
        if not finished:
            mine.close()
            return Tried(observation)
        return Tried(observation, mine.over(mine.door, mine.via))

    async def exchange(
        self,
        stream: Stream,
        request: HttpRequest,
        expectation: Expectation,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
    ) -> Observation:
        """Ask the door for its page; a gate fetches it for a request in absolute form."""
        mine = self._mine(stream)
        page = self._page(mine.door, request)
        evidence: dict[str, Json] = {"url": request.url, "method": request.method}
        step = Step.REVOCATION if expectation.kind in REVOCATION else Step.HTTP_ROUND_TRIP
        with self._call("exchange", role, request.url) as began:
            if page.cut is Seen.TIMEOUT or page.after_s >= budget_s:
                await asyncio.sleep(budget_s)
                return self._observed(step, Seen.TIMEOUT, evidence, began, role, mine.via)
            await asyncio.sleep(page.after_s)
        seen: Seen | None = page.cut
        if seen is None:
            evidence |= {"status": page.status, "html": page.html, "length": len(page.body)}
            evidence |= {"http_version": "HTTP/1.1", "body_start": page.body, "headers": {}}
            seen = judged(page, expectation, evidence)
        if request.echo:
            evidence["tampered"] = [{"header": h, "sent": s, "got": g} for h, s, g in page.tampered]
        return self._observed(step, seen, evidence, began, role, mine.via)

    def _page(self, door: Door | None, request: HttpRequest) -> Page:
        if door is None:
            return Page(cut=Seen.EOF)
        if door.gate is None:
            ranged = request.range and door.page.status == 200 and not door.page.html
            return replace(door.page, status=206) if ranged else door.page
        url = urlsplit(request.url)
        host = url.hostname or ""
        if not request.absolute_form:
            return Page(status=400, html=True, body="<html>bad request</html>")
        if door.gate.silent:
            return Page(cut=Seen.TIMEOUT)
        if door.gate.status or door.gate.denied & {host, "*"}:
            return Page(status=door.gate.status or 403, html=True, body="<html>denied</html>")
        behind = self.world.door_of(host, url.port or 80)
        if behind is None or behind.tcp is not Tcp.ACCEPT:
            return Page(status=503, html=True, body="<html>unreachable</html>")
        return behind.page

    async def close(self) -> None:
        """Nothing is shared."""

    def _mine(self, stream: Stream) -> FakeStream:
        assert isinstance(stream, FakeStream)
        assert not stream.closed, "a step on a closed stream"
        return stream

    @contextmanager
    def _call(self, operation: str, role: Role, where: str) -> Iterator[float]:
        call = Call(operation, role, where, self._clock.now())
        self.calls.append(call)
        try:
            yield call.began
        finally:
            call.ended = self._clock.now()

    def _observed(
        self,
        step: Step,
        seen: Seen | None,
        evidence: dict[str, Json],
        began: float,
        role: Role,
        via: str = "",
    ) -> Observation:
        return Observation(step, seen, evidence, self._clock.now() - began, began, role, via)
