"""How far away whoever answers a SYN sits: the exact TTL of the answer, learned without privileges.

IP_MINTTL (RFC 5082's generalized TTL security; IPV6_MINHOPCOUNT for IPv6) makes the kernel drop segments that
arrive with a smaller TTL, also in SYN_SENT. The largest minimum at which the answer is still believed is
therefore the TTL of the answer. It is searched with a few sockets at a time. An answer proves that the TTL is
at least the minimum asked for; silence proves little (a SYN may be lost), so the last bound is tried again,
twice.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from connectivity_check.failure import Seen
from connectivity_check.model import Json, Observation, Role, Step
from connectivity_check.ports import Clock
from connectivity_check.probes.syn import SynAnswer, SynOptions, send_syn

_BRACKETS = (33, 65, 97, 129, 224)
"""Hosts start at 64, 128 or 255 and are at most some 32 hops away: one of six ranges holds the answer."""
_AT_ONCE = 6
_MOST_SYNS = 22
_LARGEST = 255
_PATIENCE_S = 0.9


def thresholds(low: int, high: int, most: int = _AT_ONCE) -> tuple[int, ...]:
    """Give at most `most` minimum TTLs that split the candidates low..high evenly; () when one is left."""
    if high <= low:
        return ()
    pieces = min(most + 1, high - low + 1)
    return tuple(low + (high - low + 1) * n // pieces for n in range(1, pieces))


async def measure(
    address: str, port: int, *, clock: Clock, budget_s: float, source: str | None
) -> Observation:
    """Give `answer` and `ttl` of whoever answers SYNs to this port, at most 22 SYNs for it.

    No `ttl` where the system has no IP_MINTTL, when nothing answers, or when the answers contradict.
    """
    began = clock.now()
    search = _Search(address, port, clock, began + budget_s, source)
    first = await search.ask(None, budget_s)
    evidence: dict[str, Json] = {"address": address, "port": port, "family": 6 if ":" in address else 4}
    seen: Seen | None = first.seen
    if first.kind in ("syn_ack", "rst"):
        seen = None
        evidence["answer"], evidence["rtt_ms"] = first.kind, round(first.took_s * 1000, 3)
        ttl = await search.run(first) if sys.platform == "linux" else None
        if ttl is not None:
            evidence["ttl"] = ttl
    elif first.icmp is not None:
        evidence["icmp"] = first.icmp.evidence
    evidence["tries"] = search.tries
    return Observation(Step.CONNECT, seen, evidence, clock.now() - began, role=Role.TTL)


@dataclass(slots=True)
class _Search:
    """The candidates `low` to `high` for the TTL of the answer, narrowed round by round."""

    address: str
    port: int
    clock: Clock
    deadline: float
    source: str | None
    low: int = 1
    high: int = _LARGEST
    tries: int = 0

    async def ask(self, minimum: int | None, patience_s: float) -> SynAnswer:
        """Send one SYN whose answer counts from this TTL on."""
        self.tries += 1
        options = SynOptions(source=self.source, min_ttl=minimum)
        patience_s = min(patience_s, self.deadline - self.clock.now())
        answer = await send_syn(
            self.address, self.port, clock=self.clock, budget_s=patience_s, options=options
        )
        if answer.sock is not None:
            answer.sock.close()
        return answer

    async def run(self, first: SynAnswer) -> int | None:
        """Give the TTL, None when SYNs or time run out before that; `first` shows kind and round trip."""
        rtt_s = first.took_s
        if (first.syns or 1) > 1:  # that time is one of a loss, not of the way
            rtt_s = (await self.ask(None, _PATIENCE_S)).took_s
        # Three times the round trip, and under the second after which the kernel repeats a SYN.
        patience_s = max(rtt_s + 0.1, min(3 * rtt_s, _PATIENCE_S))
        asked: tuple[int, ...] = _BRACKETS
        while self.low < _LARGEST:
            if self.tries + len(asked) > _MOST_SYNS or self.clock.now() + patience_s > self.deadline:
                return None
            answers = await asyncio.gather(*(self.ask(minimum, patience_s) for minimum in asked))
            believed = {m for m, answer in zip(asked, answers, strict=True) if answer.kind == first.kind}
            if self.low == self.high:  # this round asked again for the one above
                if not believed:
                    return self.low
                self.high = _LARGEST  # SYNs were lost on the way here: the bound was wrong
            self.learn(asked, believed)
            asked = thresholds(self.low, self.high) or (self.low + 1,) * 2
        return self.low  # no larger minimum exists, and an answer to this one is proof

    def learn(self, asked: tuple[int, ...], believed: set[int]) -> None:
        """Take in one round: which of the minimum TTLs asked for let the answer through."""
        self.low = max([self.low, *believed])
        self.high = min([self.high, *(minimum - 1 for minimum in asked if minimum > self.low)])
