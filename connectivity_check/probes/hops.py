"""The hop walk: SYNs of growing TTL, so that each router on the way says that it was reached.

Unprivileged, and it takes the path that the blocked connection takes: same protocol, address and port (an
ICMP or UDP traceroute is often filtered in another way). The time-exceeded message arrives on the socket's
error queue. One socket for each TTL, all at once with a small stagger, because routers limit the rate of
their ICMP errors; a TTL that stayed silent is tried once more.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import dataclass

from connectivity_check.failure import Seen
from connectivity_check.model import Json, Observation, Role, Step
from connectivity_check.ports import Clock
from connectivity_check.probes.error_queue import IcmpError
from connectivity_check.probes.syn import SynAnswer, SynOptions, send_syn

_STAGGER_S = 0.015
_PATIENCE_S = 0.9
"""Per SYN; under a second, so that the kernel does not repeat it and the number of SYNs stays known."""
_GRACE_S = 0.2
"""For nearer routers that have not answered when the end of the path already has."""


@dataclass(frozen=True, slots=True)
class _Hop:
    ttl: int
    answer: SynAnswer

    @property
    def icmp(self) -> IcmpError | None:
        return self.answer.icmp

    def comes_from(self, address: str) -> bool:
        """Whether the answer bears the target's own address."""
        return self.answer.kind in ("syn_ack", "rst") or (
            self.icmp is not None and self.icmp.sender == address
        )

    @property
    def ends_the_way(self) -> bool:
        """The target answered, or something that forwards no further said so: nothing is behind it."""
        if self.answer.kind in ("syn_ack", "rst", "local"):
            return True
        return self.icmp is not None and not self.icmp.is_time_exceeded


async def walk(
    address: str, port: int, *, clock: Clock, budget_s: float, max_hops: int, source: str | None
) -> Observation:
    """Give the routers between here and the target that let themselves be seen.

    `seen` is null when anything at all answered. Without an error queue (Windows) only `reached` is learned.
    """
    began = clock.now()

    async def ask(ttl: int) -> _Hop:
        await asyncio.sleep(_STAGGER_S * (ttl - 1))
        options = SynOptions(source=source, ttl=ttl)
        answer = SynAnswer(0.0, errno.ETIMEDOUT)
        for _ in range(2):
            patience_s = min(_PATIENCE_S, began + budget_s - clock.now())
            if answer.kind != "silence" or patience_s <= 0:
                break
            answer = await send_syn(address, port, clock=clock, budget_s=patience_s, options=options)
            if answer.sock is not None:
                answer.sock.close()
        return _Hop(ttl, answer)

    heard = await _collect({ttl: asyncio.ensure_future(ask(ttl)) for ttl in range(1, max_hops + 1)})
    evidence = _evidence(address, port, heard)
    refused = next((hop.answer.seen for hop in heard if hop.answer.kind == "local"), None)
    seen = refused or (None if evidence["hops"] or evidence["reached"] else Seen.TIMEOUT)
    return Observation(Step.CONNECT, seen, evidence, clock.now() - began, role=Role.HOPS)


async def _collect(asking: Mapping[int, asyncio.Task[_Hop]]) -> list[_Hop]:
    """Wait until all have ended; once the end of the way is known, what lies behind it is given up."""
    heard: list[_Hop] = []
    waiting, patience_s = set(asking.values()), None
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, timeout=patience_s, return_when="FIRST_COMPLETED")
            heard += [task.result() for task in done]
            end = min((hop.ttl for hop in heard if hop.ends_the_way), default=None)
            if not done and end is not None:
                break
            if end is not None:
                waiting -= {task for ttl, task in asking.items() if ttl > end}
                patience_s = _GRACE_S
    finally:
        for task in asking.values():
            task.cancel()
        await asyncio.gather(*asking.values(), return_exceptions=True)
    return sorted(heard, key=lambda hop: hop.ttl)


def _evidence(address: str, port: int, heard: list[_Hop]) -> dict[str, Json]:
    """Put the answers in order; nothing is said of TTLs behind the end of the way."""
    end = next((hop for hop in heard if hop.ends_the_way), None)
    known = [hop for hop in heard if end is None or hop.ttl <= end.ttl]
    routers = [(hop, hop.icmp) for hop in known if hop.icmp is not None and hop.icmp.sender != address]
    target = next((hop for hop in known if hop.comes_from(address)), None)
    evidence: dict[str, Json] = {"address": address, "port": port, "family": 6 if ":" in address else 4}
    evidence["hops"] = [
        {
            "ttl": hop.ttl,
            "from": icmp.sender,
            "ms": round(hop.answer.took_s * 1000, 3),
            "type": icmp.type,
            "code": icmp.code,
        }
        for hop, icmp in routers
    ]
    if routers:
        evidence["last_hop"], evidence["last_ttl"] = routers[-1][1].sender, routers[-1][0].ttl
    evidence["reached"] = target is not None
    if target is not None:
        evidence["reached_ttl"], evidence["answer"] = target.ttl, target.answer.kind
    evidence["max_ttl"] = max((hop.ttl for hop in known), default=0)
    return evidence
