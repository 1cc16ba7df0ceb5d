"""What the rows of one run share: the network, caches, limits, and controls that are done once."""

from __future__ import annotations

import asyncio
import secrets
import string
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from connectivity_check.core.controls import Ask, Control, Means
from connectivity_check.core.facts import addresses_of
from connectivity_check.model import (
    ListInfo,
    Observation,
    PathSettings,
    ProxyServer,
    Role,
    Target,
)
from connectivity_check.ports import Capture, Clock, Network, WayFinder
from connectivity_check.runner.ledger import FRESH_S, Ledger

Note: TypeAlias = Callable[[Observation], Observation]

LIMITS = {Ask.HOPS: 8, Ask.DISTANCE: 24}
"""How many of these a run may do in all: they cost a dozen packets each, and say the same for neighbours."""
ALONE = 4
CONTROLS_PER_ADDRESS = 24
"""A scan is what an IPS would call more than that."""

_PLAIN = PathSettings()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the person wants; times in seconds."""

    timeout_s: float = 5.0
    deadline_s: float = 60.0
    concurrency: int = 256
    control_proxy: ProxyServer | None = None
    control_resolver: str | None = None
    control_host: str | None = None
    """`host[:port]` of a header echo helper of one's own."""
    lists: tuple[ListInfo, ...] = ()
    path: PathSettings = _PLAIN
    other_proxies: tuple[ProxyServer, ...] = ()
    """Proxies that are configured somewhere, for a second way."""
    source_address: str | None = None
    host: str = ""
    stop: asyncio.Event | None = field(default=None, compare=False)
    """Set it to end the run early; the report is then partial."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The outside, as ports."""

    network: Network
    ways: WayFinder
    clock: Clock
    capture: Capture | None = None
    """Running; the run ends it."""


class Session:
    """The shared state of one run."""

    def __init__(self, tools: Tools, options: RunOptions, ledger: Ledger) -> None:
        self.network, self.clock = tools.network, tools.clock
        self.options, self.ledger = options, ledger
        self.alone = asyncio.Lock()
        self.random_label = "".join(secrets.choice(string.ascii_lowercase) for _ in range(12))
        self._chains_open = len(ledger.targets)
        self._used: Counter[object] = Counter()
        self._once: dict[Control, asyncio.Task[None]] = {}
        self._proxies: dict[ProxyServer, asyncio.Task[Observation]] = {}
        self._random: asyncio.Task[Observation] | None = None
        resolvers = tools.network.resolvers
        if options.control_resolver:
            resolvers = (*resolvers, options.control_resolver)
        routed = {each.route.proxy for each in ledger.targets if each.route.proxy}
        fallbacks = {each for target in ledger.targets for each in target.route.fallbacks if each}
        self.means = Means(
            resolvers=resolvers,
            control_proxy=options.control_proxy,
            other_proxies=(*options.other_proxies, *sorted(routed | fallbacks, key=str)),
            random_label=self.random_label,
        )

    def chain_ended(self) -> None:
        """Count a row's chain; when all have ended, nobody need wait for one that passes."""
        self._chains_open -= 1

    def note_shared(self, observation: Observation) -> Observation:
        """Write down a control of the whole run."""
        return self.ledger.note(self.ledger.shared, observation)

    def allowed(self, control: Control) -> bool:
        """Whether a control is within the limits; asking counts."""
        if control.alone:
            return self._count("alone", ALONE)
        if control.ask in LIMITS and not self._count(control.ask, LIMITS[control.ask]):
            return False
        return not control.address or self._count(control.address, CONTROLS_PER_ADDRESS)

    def _count(self, key: object, limit: int) -> bool:
        self._used[key] += 1
        return self._used[key] <= limit

    async def once(self, control: Control, do: Callable[[], Awaitable[None]]) -> None:
        """Do a shared control the first time it is asked for; everybody waits for its end."""
        if control not in self._once:
            self._once[control] = asyncio.create_task(_doing(do))
        await asyncio.shield(self._once[control])

    async def proxy_addresses(self, proxy: ProxyServer) -> Observation:
        """Resolve a proxy's name, once a run."""
        if proxy not in self._proxies:
            self._proxies[proxy] = asyncio.create_task(self._ask_for_proxy(proxy.host))
        return await asyncio.shield(self._proxies[proxy])

    async def _ask_for_proxy(self, name: str) -> Observation:
        """As the system does it: the hosts file knows `localhost`, where local agents listen, DNS may not."""
        seconds = self.options.timeout_s / 4
        seen = await self.network.resolve(name, budget_s=seconds)
        if name.lower() in self.network.local_names or not seen.ok:
            here = await self.network.look_up(name, budget_s=seconds)
            if addresses_of(here):
                seen = replace(here, role=Role.PROBE, seen=None)
        return self.note_shared(seen)

    def begin_random_name(self) -> None:
        """Ask for a name that does not exist; who answers it rewrites answers."""
        self._random = asyncio.create_task(self._ask_random())

    async def _ask_random(self) -> Observation:
        name = f"{self.random_label}{self.random_label[:8]}.com"
        seen = await self.network.resolve(name, budget_s=self.options.timeout_s * 0.3, role=Role.RANDOM_NAME)
        return self.note_shared(replace(seen, role=Role.RANDOM_NAME))

    async def rewrites_names(self) -> bool:
        """Whether the resolver gives addresses for names that do not exist."""
        if self._random is None:
            return False
        return bool(addresses_of(await asyncio.shield(self._random)))

    async def await_control(self, target: Target, via: str, seconds: float) -> None:
        """Wait until another row has passed that this one can be held against, or none can any more."""
        until = self.clock.now() + seconds
        while self._chains_open and self.ledger.control_for(target, via) is None:
            left = until - self.clock.now()
            if left <= 0:
                return
            await asyncio.sleep(min(FRESH_S, left))

    async def end(self) -> None:
        """End what nobody waits for any more."""
        tasks: list[asyncio.Task[None] | asyncio.Task[Observation]] = [*self._once.values()]
        tasks += [*self._proxies.values(), *([self._random] if self._random else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _doing(do: Callable[[], Awaitable[None]]) -> None:
    await do()
