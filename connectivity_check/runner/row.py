"""One row: its own chain, then the controls that its end asks for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from connectivity_check.core.controls import Ask, Control, failing, wanted
from connectivity_check.core.plan import needs_http, target_url
from connectivity_check.model import Expectation, Kind, Observation, Role, Target
from connectivity_check.ports import HttpRequest, TlsVariant
from connectivity_check.runner.budget import Budget
from connectivity_check.runner.session import Note, Session
from connectivity_check.runner.walk import Journey, Walk

ROUNDS = 3
"""What a control shows can ask for another one; more than twice it never does."""
PORTAL = Expectation(
    kind=Kind.PORTAL_CHECK, path="/connecttest.txt", statuses=(200,), body_contains="Microsoft Connect Test"
)
ALTERNATE_SHARE = 0.2


class RowRun:
    """Runs one target; what it sees goes into the ledger at once, so an end at any time loses nothing."""

    def __init__(self, session: Session, index: int) -> None:
        self._session = session
        self._index = index
        self._target = session.ledger.targets[index]
        """As it was tried: with the host that stands for a wildcard, and the way that was gone."""
        self._sink = session.ledger.rows[index]
        self._budget = Budget(session.clock, session.clock.now(), session.options.timeout_s)

    async def go(self) -> None:
        """Probe, then hold against controls. The row's deadline ends both."""
        if self._target.route.error:
            self._session.chain_ended()
            return
        try:
            async with asyncio.timeout(self._budget.timeout_s * 1.2):
                await self._chain()
                await self._controls()
        except TimeoutError:
            pass  # what was seen until then is in the ledger

    def _note(self, observation: Observation) -> Observation:
        return self._session.ledger.note(self._sink, observation)

    async def _chain(self) -> None:
        try:
            host = self._target.host or await self._random_host()
            if host is not None:
                await self._probe(host)
        finally:
            self._session.chain_ended()

    async def _probe(self, host: str) -> None:
        self._target = replace(self._target, host=host)
        route = self._target.route
        walk = self._walk(replace(self._journey(self._target, host), next_ways=route.fallbacks))
        async with asyncio.TaskGroup() as both:
            if route.proxy:
                both.create_task(self._resolve_here(host))
            await walk.go()
        if walk.way != route.proxy:
            others = (route.proxy, *(each for each in route.fallbacks if each != walk.way))
            route = replace(route, proxy=walk.way, fallbacks=others)
            self._target = replace(self._target, route=route)
            self._session.ledger.set_route(self._index, route)

    async def _resolve_here(self, host: str) -> None:
        """With a proxy: does the name resolve here, too? Nobody waits long for it."""
        seconds = self._budget.timeout_s * ALTERNATE_SHARE
        seen = await self._session.network.resolve(host, budget_s=seconds, role=Role.ALTERNATE)
        self._note(replace(seen, role=Role.ALTERNATE))

    async def _random_host(self) -> str | None:
        """For a wildcard without a known host: a random name under it, when somebody answers for that."""
        if not self._target.wildcard:
            return None
        name = f"{self._session.random_label}.{self._target.wildcard}"
        if self._target.route.proxy:
            await self._control(
                Control(
                    Role.RANDOM_LABEL,
                    Ask.TUNNEL,
                    name=name,
                    port=self._target.port,
                    proxy=self._target.route.proxy,
                )
            )
            return None
        seen = await self._session.network.resolve(
            name, budget_s=self._budget.control(), role=Role.RANDOM_LABEL
        )
        self._note(replace(seen, role=Role.RANDOM_LABEL))
        return name if seen.ok and not await self._session.rewrites_names() else None

    def _journey(self, target: Target, host: str) -> Journey:
        request = None
        if needs_http(target):
            request = HttpRequest(target_url(target, host), target.expectation.method)
        return Journey(
            name=host,
            port=target.port,
            tls=target.tls,
            proxy=target.route.proxy,
            request=request,
            expectation=target.expectation,
        )

    def _walk(self, journey: Journey) -> Walk:
        return Walk(self._session.network, self._budget, journey, self._note, self._session.proxy_addresses)

    async def _controls(self) -> None:
        done: set[Control] = set()
        patience = self._session.clock.now() + self._budget.control()
        for _ in range(ROUNDS):
            failed = failing(self._sink) or _cut_label(self._sink)
            if failed is not None:
                left = patience - self._session.clock.now()
                await self._session.await_control(self._target, failed.via, left)
            asked = wanted(self._target, self._sink, self._session.ledger, self._session.means)
            new = [each for each in asked if each not in done]
            done.update(new)
            if not new or self._budget.control() <= 0:
                return
            # A group, because gather would leave the others running when one is cancelled.
            async with asyncio.TaskGroup() as group:
                for each in new:
                    group.create_task(self._control(each))

    async def _control(self, control: Control) -> None:
        if control.shared:
            await self._session.once(control, lambda: self._do(control, self._session.note_shared))
        elif self._session.allowed(control):
            await self._do(control, self._note)

    async def _do(self, control: Control, note: Note) -> None:
        seconds = self._budget.control()
        if seconds <= 0:
            return
        network = self._session.network
        if control.ask is Ask.RESOLVE:
            seen = await network.resolve(
                control.name,
                budget_s=seconds,
                role=control.role,
                server=control.server or None,
                tcp=control.tcp,
                linger_s=seconds / 2 if control.linger else 0.0,
            )
            note(replace(seen, role=control.role))
        elif control.ask is Ask.LOOK_UP:
            note(await network.look_up(control.name, budget_s=seconds))
        elif control.ask is Ask.HOPS:
            note(await network.hops(control.address, control.port, budget_s=seconds))
        elif control.ask is Ask.DISTANCE:
            note(await network.distance(control.address, control.port, budget_s=seconds))
        elif control.ask is Ask.CONNECT:
            await self._connect(control, note)
        else:
            journey = self._journey_of(control)
            walk = Walk(network, self._budget, journey, note, self._session.proxy_addresses)
            await walk.go()

    async def _connect(self, control: Control, note: Note) -> None:
        if control.alone:
            async with self._session.alone:
                await self._connect_now(control, note)
        else:
            await self._connect_now(control, note)

    async def _connect_now(self, control: Control, note: Note) -> None:
        seconds = self._budget.control()
        if seconds <= 0:
            return
        tried = await self._session.network.connect(
            control.address, control.port, budget_s=seconds, role=control.role
        )
        note(replace(tried.observation, role=control.role))
        if tried.stream:
            tried.stream.close()

    def _journey_of(self, control: Control) -> Journey:
        target = self._target
        if control.ask is Ask.CHAIN:
            whole = self._journey(target, control.name)
            return replace(whole, role=control.role, proxy=control.proxy)
        journey = Journey(
            name=control.name,
            port=control.port,
            tls=control.ask is Ask.HANDSHAKE,
            role=control.role,
            address="" if control.proxy else control.address,
            proxy=control.proxy,
            tunnel_to=control.tunnel_to,
            variant=TlsVariant(control.variant),
            mss=control.mss,
            last_only=True,
        )
        if control.ask is not Ask.REQUEST:
            return journey
        if control.role is Role.PORTAL:
            url = f"http://{control.name}{PORTAL.path}"
            return replace(journey, request=HttpRequest(url), expectation=PORTAL)
        request = HttpRequest(
            target_url(target),
            "POST" if control.body_size else "GET",
            body_size=control.body_size,
            range=control.range,
        )
        # Whatever status a POST or a part of a file gets from the service itself is fine.
        anything = replace(target.expectation, statuses=(), body_contains="")
        return replace(journey, tls=target.tls, request=request, expectation=anything)


def _cut_label(seen: list[Observation]) -> Observation | None:
    """Give the random name under a wildcard that was cut, though the row itself is well."""
    return next((each for each in seen if each.role is Role.RANDOM_LABEL and not each.ok), None)
