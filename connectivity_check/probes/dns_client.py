"""The resolve and look-up steps: names to observations."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address

from connectivity_check.core.ip_text import ip_of
from connectivity_check.failure import Seen
from connectivity_check.model import Observation, Role, Step
from connectivity_check.ports import Clock
from connectivity_check.probes.dns_asked import MOST_SERVERS
from connectivity_check.probes.dns_evidence import Result, judge
from connectivity_check.probes.dns_lookup import Lookup
from connectivity_check.probes.dns_question import PORT, parse_name, parse_server
from connectivity_check.probes.dns_socket import Server, SocketPool
from connectivity_check.probes.system_lookup import look_up, system_servers

__all__ = ["DnsClient", "system_servers"]

_FRESH_AT_ONCE = 64
"""Names asked for at the same moment: two questions each, and dnsmasq refuses more than 150 by default. More
names wait for their turn, and their budgets start with it: a burst of ours must not look like a fault."""

_TURN_S = 0.3
"""How long a name counts as fresh: dead ones must not hold up the others."""


class DnsClient:
    """Asks resolvers itself, so that one dead name holds up no other, and so that what came is evidence.

    `servers`: in the order to ask them, addresses or (address, port), of which the first three count;
    see `parse_server` for the texts (ValueError for others). `source_address`: what to send from, for the
    resolvers of its family. One event loop an object; `close` it there.
    """

    def __init__(
        self, servers: Sequence[str | tuple[str, int]], *, source_address: str | None, clock: Clock
    ) -> None:
        self._servers = tuple(dict.fromkeys(parse_server(server) for server in servers))[:MOST_SERVERS]
        self._source = ip_address(source_address) if source_address else None
        self._clock = clock
        self._begun_at = clock.now()
        self._pools: dict[Server, SocketPool] = {}
        self._turns = asyncio.Semaphore(_FRESH_AT_ONCE)

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
        """Ask for A and AAAA at once; see `ports.Network.resolve`. An address as name is its own answer."""
        started_at = self._clock.now()
        result = _without_asking(name)
        if result is None:
            async with self._turn():
                started_at = self._clock.now()
                result = await self._ask(name, server, budget_s=budget_s, tcp=tcp, linger_s=linger_s)
        return self._observation(result, role, started_at)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and give it back when done or no longer fresh, whichever comes first."""
        await self._turns.acquire()
        with contextlib.ExitStack() as turn:
            turn.callback(self._turns.release)
            timer = asyncio.get_running_loop().call_later(_TURN_S, turn.close)  # empties it: released once
            try:
                yield
            finally:
                timer.cancel()

    async def _ask(
        self, name: str, server: str | None, *, budget_s: float, tcp: bool, linger_s: float
    ) -> Result:
        try:
            host = parse_name(name)
            servers = self._servers if server is None else (self._known(server),)
        except ValueError as error:
            return Result(Seen.OTHER, {"name": name, "error": str(error)})
        if not servers:
            return Result(Seen.OTHER, {"name": name, "error": "no resolver is configured on this host"})
        pools = [self._pool(each) for each in servers]
        lookup = Lookup(host, pools, budget_s=budget_s, tcp=tcp, linger_s=linger_s)
        await lookup.run()
        return judge(name, lookup.a, lookup.aaaa, listened=linger_s > 0)

    async def look_up(self, name: str, *, budget_s: float) -> Observation:
        """What getaddrinfo says; see `ports.Network.look_up`."""
        started_at = self._clock.now()
        result = _without_asking(name) or await look_up(name, budget_s=budget_s)
        return self._observation(result, Role.GETADDRINFO, started_at)

    async def close(self) -> None:
        """Close all sockets; twice does nothing."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        await asyncio.sleep(0)  # sockets close on the next turn of the loop

    def _known(self, text: str) -> Server:
        """A resolver by address: with the port of the run's resolver when it is one of them."""
        server = parse_server(text)
        if server[1] == PORT:
            return next((each for each in self._servers if each[0] == server[0]), server)
        return server

    def _pool(self, server: Server) -> SocketPool:
        if server not in self._pools:
            source = self._source
            fits = source is not None and source.version == ip_address(server[0]).version
            self._pools[server] = SocketPool(server, str(source) if fits else None)
        return self._pools[server]

    def _observation(self, result: Result, role: Role, started_at: float) -> Observation:
        return Observation(
            step=Step.RESOLVE,
            seen=result.seen,
            evidence=result.evidence,
            took_s=self._clock.now() - started_at,
            started_s=started_at - self._begun_at,
            role=role,
        )


def _without_asking(name: str) -> Result | None:
    """The answer for an address in place of a name: the address, and no packet."""
    address = ip_of(name)
    if address is None:
        return None
    return Result(None, {"name": name, "addresses": [str(address)], "sent": 0})
