"""One name under way: both families at once, over UDP with resends, or TCP, within one budget."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from connectivity_check.failure import Seen
from connectivity_check.probes.dns_answer import NOERROR
from connectivity_check.probes.dns_asked import Asked
from connectivity_check.probes.dns_question import QuestionType, make_question
from connectivity_check.probes.dns_socket import DnsSocket, Server, SocketPool, family_of
from connectivity_check.probes.dns_tcp import TcpExchangeError, ask_over_tcp
from connectivity_check.probes.dns_trouble import Trouble, trouble_of

_SHORTEST_GRACE_S = 0.25
_LONGEST_GRACE_S = 1.0
_GRACE_IN_ANSWER_TIMES = 3.0
"""How long the second family may take after the first one answered, in times of the first answer: a resolver
that drops AAAA must not cost the whole budget, a slow one must not look as if it did."""


class Lookup:
    """A and AAAA of one name. `run` once, then read `a` and `aaaa`: both are settled."""

    def __init__(
        self,
        name: str,
        pools: Sequence[SocketPool],
        *,
        budget_s: float,
        tcp: bool = False,
        linger_s: float = 0.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._end_at = self._started_at + budget_s
        self._pools = {pool.server: pool for pool in pools}
        self._linger_s = linger_s
        self._changed = asyncio.Event()
        self._own: dict[int, DnsSocket] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._resent = False
        self.a, self.aaaa = self._both = tuple(
            Asked(
                make_question(name, kind),
                tuple(self._pools),
                tcp=tcp,
                budget_s=budget_s,
                now=self._loop.time,
                wake=self._changed.set,
            )
            for kind in QuestionType
        )

    async def run(self) -> None:
        """Ask until both families are settled, then listen on for `linger_s` if anybody answered."""
        try:
            await self._until_settled()
            answered = [asked.settled.at for asked in self._both if asked.settled and asked.settled.answer]
            if self._linger_s > 0 and answered:
                await asyncio.sleep(max(answered) + self._linger_s - self._loop.time())
        finally:
            await self._stop()

    async def _until_settled(self) -> None:
        while True:
            self._changed.clear()
            waiting = [asked for asked in self._both if asked.settled is None]
            if not waiting:
                return
            end_at = self._grace_end(waiting[0]) if len(waiting) == 1 else self._end_at
            if self._loop.time() >= end_at:
                self._give_up(waiting)
                return
            for asked in waiting:
                await self._go_on(asked)
            if all(asked.settled is None for asked in waiting):
                await self._wait_until(min(end_at, *(asked.next_at for asked in waiting)))

    async def _wait_until(self, at: float) -> None:
        timer = self._loop.call_at(at, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def _go_on(self, asked: Asked) -> None:
        """Ask for one family whoever is due."""
        server = asked.due()
        if server is None:
            return
        if asked.tcp:
            self._tasks.append(self._loop.create_task(self._over_tcp(asked, server)))
            return
        try:
            through = await self._socket(server)
        except OSError as error:
            asked.failed(trouble_of(error), server)
            return
        if asked.settled is None:
            asked.keep(through.ask(asked, server, edns=asked.edns))

    async def _socket(self, server: Server) -> DnsSocket:
        """A shared one; to see answers from elsewhere too, one of our own that is open to all."""
        pool = self._pools[server]
        if self._linger_s <= 0:
            return await pool.pick()
        family = family_of(server)
        if family not in self._own:
            self._own[family] = await DnsSocket.open(family, None, pool.source)
        return self._own[family]

    async def _over_tcp(self, asked: Asked, server: Server) -> None:
        try:
            answer = await ask_over_tcp(asked.question, server, self._pools[server].source, edns=asked.edns)
        except OSError as error:
            asked.failed(trouble_of(error), server)
        except TcpExchangeError as error:
            asked.failed(Trouble(Seen.OTHER, error=str(error)), server)
        else:
            asked.take(answer, server)

    def _grace_end(self, waiting: Asked) -> float:
        """Until when to wait for the second family; asks for it once more meanwhile."""
        first = self.aaaa if waiting is self.a else self.a
        settled = first.settled
        if settled is None or settled.answer is None or settled.server is None:
            return self._end_at
        decisive = settled.answer.addresses or settled.answer.rcode == "NXDOMAIN"
        if not decisive and (waiting is self.a or settled.answer.rcode == NOERROR):
            return self._end_at  # everything hangs on the other family
        took_s = settled.at - self._started_at
        grace_s = max(_SHORTEST_GRACE_S, min(_LONGEST_GRACE_S, took_s * _GRACE_IN_ANSWER_TIMES))
        if waiting.tcp:
            grace_s = _LONGEST_GRACE_S
        elif not self._resent:
            self._resent = True
            waiting.ask_again(settled.at + grace_s / 2, settled.server)
        return min(self._end_at, settled.at + grace_s)

    def _give_up(self, waiting: Sequence[Asked]) -> None:
        met = {
            server: pool.trouble
            for server, pool in self._pools.items()
            if pool.trouble is not None and pool.trouble_at >= self._started_at
        }
        for asked in waiting:
            asked.give_up({} if asked.tcp else met)

    async def _stop(self) -> None:
        for asked in self._both:
            asked.forget()
            if not asked.tcp:
                for server, trouble in asked.troubles.items():
                    self._pools[server].note_trouble(trouble, self._loop.time())
        for own in self._own.values():
            own.close()
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
