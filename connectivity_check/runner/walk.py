"""One walk: resolve, connect, proxy, TLS, request, each step noted, the first failure ends it.

The row's own chain is a walk, and so is a control that repeats it with one thing changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from connectivity_check.core.facts import addresses_of
from connectivity_check.core.ip_text import ip_of
from connectivity_check.model import (
    Expectation,
    Json,
    Observation,
    ProxyScheme,
    ProxyServer,
    Role,
    Step,
)
from connectivity_check.ports import HttpRequest, Network, Stream, TlsVariant, Tried
from connectivity_check.runner import budget as share
from connectivity_check.runner.addresses import first_good, some
from connectivity_check.runner.budget import Budget

_ANYTHING = Expectation()


@dataclass(frozen=True, slots=True)
class Journey:
    """Where a walk goes and how it differs from the agent's own way."""

    name: str
    port: int
    tls: bool
    role: Role = Role.PROBE
    address: str = ""
    """Connect here instead of resolving."""
    proxy: ProxyServer | None = None
    next_ways: tuple[ProxyServer | None, ...] = ()
    """Where to go when the proxy is not there (None: direct); one that answers, whatever it says, is kept."""
    tunnel_to: str = ""
    """Ask the proxy for this host instead of `name`."""
    variant: TlsVariant = TlsVariant.NORMAL
    mss: int | None = None
    request: HttpRequest | None = None
    """None: end after TLS, or after the tunnel when there is no TLS."""
    expectation: Expectation = _ANYTHING
    last_only: bool = False
    """Note successes of the last step alone: a control says one thing."""


@dataclass(slots=True)
class Walk:
    """The doing of one journey."""

    network: Network
    budget: Budget
    journey: Journey
    note: Callable[[Observation], Observation]
    proxy_addresses: Callable[[ProxyServer], Awaitable[Observation]]
    way: ProxyServer | None = field(init=False)
    """The way that is being gone, in the end the one that was gone."""
    _spare: list[asyncio.Task[Tried]] = field(default_factory=list)
    _failed: bool = False
    _lost: Observation | None = None
    """The look-up that ended the direct way while others were left."""

    def __post_init__(self) -> None:
        self.way = self.journey.proxy

    async def go(self) -> bool:
        """Walk; true when the end was reached. Whatever happens, every connection is closed.

        Addresses that have not answered when the walk ends are awaited, unless it is cancelled.
        """
        try:
            passed = await self._to_the_end()
            await self._note_spare()
            return passed
        finally:
            await self._drop_spare()

    async def _to_the_end(self) -> bool:
        stream: Stream | None = None
        try:
            stream = await self._open()
            if stream is None:
                return False
            if self.journey.tls:
                stream = await self._handshake(stream) or stream
                if self._failed:
                    return False
            return await self._request(stream)
        finally:
            if stream is not None:
                stream.close()

    def _seen(self, observation: Observation, *, last: bool = False) -> Observation:
        if not observation.ok:
            self._failed = True
        if self.way and not observation.via:
            observation = replace(observation, via=self.way.url)
        observation = replace(observation, role=self.journey.role)
        if self.journey.last_only and observation.ok and not last:
            return observation
        return self.note(observation)

    def _time(self, portion: float) -> float:
        if self.journey.role is Role.PROBE:
            return self.budget.step(portion)
        return self.budget.control()

    async def _open(self) -> Stream | None:
        ways = (self.journey.proxy, *self.journey.next_ways)
        for number, self.way in enumerate(ways, 1):
            stream = await self._dial(len(ways) - number)
            if stream is None:
                continue
            self._note_lost(Role.ALTERNATE)
            return await self._open_by_proxy(stream, self.way) if self.way else stream
        self.way = self.journey.proxy
        self._note_lost(self.journey.role)
        return None

    def _note_lost(self, role: Role) -> None:
        """The name does not resolve here: the end of the row, or beside the point when a proxy goes on."""
        if self._lost:
            self.note(replace(self._lost, role=role))

    async def _dial(self, more: int) -> Stream | None:
        """Connect to the proxy, or to the target; `more` ways are left if this fails."""
        if self.way:
            addresses = await self._resolve_proxy(self.way, more)
            return await self._connect(addresses, self.way.port, more) if addresses else None
        if self.journey.address:
            addresses = (self.journey.address,)
        else:
            addresses = await self._resolve(more)
        return await self._connect(addresses, self.journey.port, more) if addresses else None

    async def _resolve_proxy(self, proxy: ProxyServer, more: int) -> tuple[str, ...]:
        """The look-up stands among the shared observations; in the row it is the end of all ways only."""
        if ip_of(proxy.host):
            return (proxy.host,)
        found = await self.proxy_addresses(proxy)
        if not found.ok and not more:
            self._seen(found)
        return addresses_of(found) if found.ok else ()

    async def _resolve(self, more: int) -> tuple[str, ...]:
        name = self.journey.name
        if ip_of(name):
            return (name,)
        asked = self.network.resolve(name, budget_s=self._time(share.RESOLVE), role=self.journey.role)
        if name in self.network.local_names and self.journey.role is Role.PROBE:
            return await self._resolve_here(asked)
        seen = await asked
        if more and not seen.ok:
            self._lost = seen
            return ()
        return addresses_of(self._seen(seen))

    async def _resolve_here(self, asked: Awaitable[Observation]) -> tuple[str, ...]:
        """The hosts file knows the name: the agent goes where it says, whatever DNS says."""
        look_up = self.network.look_up(self.journey.name, budget_s=self._time(share.RESOLVE))
        async with asyncio.TaskGroup() as both:
            answer = both.create_task(_awaiting(asked))
            own = both.create_task(_awaiting(look_up))
        dns, here = answer.result(), own.result()
        self.note(dns)
        self.note(here)
        if addresses_of(here):
            # Even 0.0.0.0: that is where the agent is sent, and the next step shows what becomes of it.
            self.note(replace(here, role=Role.PROBE, seen=None))
            return addresses_of(here)
        return addresses_of(dns)

    async def _connect(self, addresses: tuple[str, ...], port: int, more: int) -> Stream | None:
        """Begin everywhere at once, go on with the first that accepts; the rest is awaited at the end."""
        seconds = self._time(share.CONNECT / (1 + more))
        chosen = some(addresses)
        left_out = len(addresses) - len(chosen)
        tasks = [asyncio.create_task(self._try(each, port, seconds, left_out)) for each in chosen]
        self._spare = list(tasks)
        winner = await first_good(tasks)
        if winner is None:
            await self._note_spare()
            return None
        self._spare.remove(winner)
        tried = winner.result()
        self._seen(tried.observation)
        self._failed = False
        return tried.stream

    async def _try(self, address: str, port: int, seconds: float, left_out: int) -> Tried:
        """Connect to one address; what is seen says how many others of the name nobody tries."""
        tried = await self.network.connect(
            address, port, budget_s=seconds, role=self.journey.role, mss=self.journey.mss
        )
        if not left_out:
            return tried
        evidence = {**tried.observation.evidence, "left_out": left_out}
        return replace(tried, observation=replace(tried.observation, evidence=evidence))

    async def _note_spare(self) -> None:
        """Write down what became of the other addresses; that does not change how the walk ended."""
        failed = self._failed
        while self._spare:
            tried = await self._spare[0]
            self._spare.pop(0)
            if tried.stream:
                tried.stream.close()
            self._seen(tried.observation)
        self._failed = failed

    async def _drop_spare(self) -> None:
        for task in self._spare:
            task.cancel()
        for done in await asyncio.gather(*self._spare, return_exceptions=True):
            if isinstance(done, Tried) and done.stream:
                done.stream.close()

    async def _open_by_proxy(self, stream: Stream, proxy: ProxyServer) -> Stream | None:
        if self._plain and proxy.scheme is ProxyScheme.HTTP:
            return stream
        if self._plain and proxy.scheme is ProxyScheme.HTTPS:
            return await self._tls_with_proxy(stream, proxy)
        tried = await self.network.tunnel(
            stream,
            proxy,
            self.journey.tunnel_to or self.journey.name,
            self.journey.port,
            budget_s=self._time(share.TUNNEL),
            role=self.journey.role,
        )
        last = not self.journey.tls and self.journey.request is None
        self._seen(tried.observation, last=last)
        if tried.stream is None:
            stream.close()
        return tried.stream

    @property
    def _plain(self) -> bool:
        """A plain request goes to the proxy in absolute form, without a tunnel."""
        return not self.journey.tls and self.journey.request is not None

    async def _tls_with_proxy(self, stream: Stream, proxy: ProxyServer) -> Stream | None:
        tried = await self.network.handshake(stream, proxy.host, budget_s=self._time(share.TLS))
        if tried.observation.ok and tried.stream:
            return tried.stream
        (tried.stream or stream).close()
        evidence: dict[str, Json] = {
            "stage": "tls",
            "proxy": proxy.url,
            "tls": dict(tried.observation.evidence),
        }
        self._seen(replace(tried.observation, step=Step.PROXY_CONNECT, evidence=evidence))
        return None

    async def _handshake(self, stream: Stream) -> Stream | None:
        tried = await self.network.handshake(
            stream,
            self.journey.name,
            budget_s=self._time(share.TLS),
            role=self.journey.role,
            variant=self.journey.variant,
        )
        self._seen(tried.observation, last=self.journey.request is None)
        if tried.stream is not None and not tried.observation.ok and self.journey.role is Role.PROBE:
            await self._look_behind(tried.stream)
        return tried.stream

    async def _look_behind(self, stream: Stream) -> None:
        """Read what a server with a wrong certificate says: the time, or a block page."""
        if self.journey.request is None:
            return
        seen = await self.network.exchange(
            stream,
            self.journey.request,
            self.journey.expectation,
            budget_s=self.budget.step(share.CONTROL),
            role=Role.AFTER_FAILURE,
        )
        self.note(replace(seen, role=Role.AFTER_FAILURE, via=seen.via or stream.via))

    async def _request(self, stream: Stream) -> bool:
        request, proxy = self.journey.request, self.way
        if request is None:
            return True
        if proxy and self._plain and proxy.scheme is not ProxyScheme.SOCKS5H:
            request = replace(request, absolute_form=True, proxy=proxy)
        seen = await self.network.exchange(
            stream,
            request,
            self.journey.expectation,
            budget_s=self._time(share.REQUEST),
            role=self.journey.role,
        )
        return self._seen(seen, last=True).ok


async def _awaiting(asked: Awaitable[Observation]) -> Observation:
    return await asked
