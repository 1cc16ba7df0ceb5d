"""How far away whoever answers a SYN sits: the exact TTL of the answer, learned without privileges.

IP_MINTTL (RFC 5082's generalized TTL security; IPV6_MINHOPCOUNT for IPv6) makes the kernel drop segments that
arrive with a smaller TTL, also in SYN_SENT. The largest minimum at which the answer is still believed is
therefore the TTL of the answer. It is searched with a few sockets at a time. An answer proves that the TTL is
at least the minimum asked for; silence proves little (a SYN may be lost), so the last step is done twice.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from connectivity_check.model import Json, Observation, Role, Step
from connectivity_check.ports import Clock
from connectivity_check.probes.syn import SynAnswer, SynOptions, send_syn

_BRACKETS = (33, 65, 97, 129, 224)
"""Hosts start at 64, 128 or 255 and are at most some 32 hops away: one of six ranges holds the answer."""
_AT_ONCE = 6
_MOST_SYNS = 20


def thresholds(low: int, high: int, most: int = _AT_ONCE) -> tuple[int, ...]:
    """Give at most `most` minimum TTLs that split the candidates low..high evenly; () when one is left."""
    if high <= low:
        return ()
    pieces = min(most + 1, high - low + 1)
    return tuple(low + (high - low + 1) * n // pieces for n in range(1, pieces))


@dataclass(slots=True)
class _Search:
    """The candidates low..high for the TTL of the answer."""

    kind: str
    low: int = 1
    high: int = 255

    @property
    def found(self) -> bool:
        """One candidate is left."""
        return self.low == self.high

    def learn(self, asked: tuple[int, ...], believed: set[int]) -> None:
        """Take in one round: which of the minimum TTLs asked for let the answer through."""
        self.low = max([self.low, *believed])
        self.high = min([self.high, *(minimum - 1 for minimum in asked if minimum > self.low)])


async def measure(
    address: str, port: int, *, clock: Clock, budget_s: float, source: str | None
) -> Observation:
    """Give `answer` and `ttl` of whoever answers SYNs to this port, at most 20 SYNs for it.

    No `ttl` where the system has no IP_MINTTL, when nothing answers, or when the answers contradict.
    """
    began = clock.now()

    async def ask(minimum: int | None, patience_s: float) -> SynAnswer:
        options = SynOptions(source=source, min_ttl=minimum)
        patience_s = min(patience_s, began + budget_s - clock.now())
        answer = await send_syn(address, port, clock=clock, budget_s=patience_s, options=options)
        if answer.sock is not None:
            answer.sock.close()
        return answer

    first = await ask(None, budget_s)
    evidence: dict[str, Json] = {"address": address, "port": port, "family": 6 if ":" in address else 4}
    evidence["tries"] = 1
    if first.kind not in ("syn_ack", "rst"):
        if first.icmp is not None:
            evidence["icmp"] = first.icmp.evidence
        return Observation(Step.CONNECT, first.seen, evidence, clock.now() - began, role=Role.TTL)
    evidence["answer"] = first.kind
    evidence["rtt_ms"] = round(first.took_s * 1000, 3)
    search, tries = _Search(first.kind), 1
    # Three times the round trip that was seen, and under the second after which the kernel repeats a SYN.
    patience_s = max(first.took_s + 0.1, min(3 * first.took_s, 0.9))
    asked: tuple[int, ...] = _BRACKETS if sys.platform == "linux" else ()
    while asked and tries + len(asked) <= _MOST_SYNS and clock.now() - began + patience_s < budget_s:
        answers = await asyncio.gather(*(ask(minimum, patience_s) for minimum in asked))
        tries += len(asked)
        believed = {m for m, answer in zip(asked, answers, strict=True) if answer.kind == search.kind}
        if search.found:  # this round asked once more for one above it
            if not believed:
                evidence["ttl"] = search.low
                break
            search.high = 255  # a SYN was lost on the way here: the bounds above were wrong
        search.learn(asked, believed)
        asked = thresholds(search.low, search.high) or (search.low + 1,)
        if search.low == 255:  # no larger minimum exists, and an answer to this one is proof
            evidence["ttl"] = 255
            break
    evidence["tries"] = tries
    return Observation(Step.CONNECT, None, evidence, clock.now() - began, role=Role.TTL)
