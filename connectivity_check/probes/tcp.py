"""The connect step, and the two measurements that tell who answers in a host's place."""

from __future__ import annotations

from connectivity_check.model import Json, Observation, Role, Step
from connectivity_check.ports import Clock, Tried
from connectivity_check.probes import distance, hops
from connectivity_check.probes.stream import TcpStream
from connectivity_check.probes.syn import SynAnswer, SynOptions, send_syn


class TcpProbe:
    """`connect`, `hops` and `distance` of `ports.Network`. Holds no sockets of its own."""

    def __init__(self, clock: Clock, *, source_address: str | None = None) -> None:
        """`source_address`: own address to send from; targets of the other IP version go out unbound."""
        self._clock = clock
        self._source = source_address

    async def connect(
        self, address: str, port: int, *, budget_s: float, role: Role = Role.PROBE, mss: int | None = None
    ) -> Tried:
        """Open a TCP connection to an IP literal; evidence as docs/preflight-evidence.md has it."""
        options = SynOptions(source=self._source, mss=mss)
        answer = await send_syn(address, port, clock=self._clock, budget_s=budget_s, options=options)
        evidence = _evidence(address, port, answer)
        if mss is not None:
            evidence["mss"] = mss
        observation = Observation(Step.CONNECT, answer.seen, evidence, answer.took_s, role=role)
        if answer.sock is None:
            return Tried(observation)
        return Tried(observation, TcpStream(answer.sock, address, port, rtt_s=answer.took_s, mss=mss))

    async def hops(self, address: str, port: int, *, budget_s: float, max_hops: int = 16) -> Observation:
        """Walk towards an address with SYNs of growing TTL; at most 2 SYNs per TTL."""
        return await hops.walk(
            address, port, clock=self._clock, budget_s=budget_s, max_hops=max_hops, source=self._source
        )

    async def distance(self, address: str, port: int, *, budget_s: float) -> Observation:
        """Measure the TTL with which answers to SYNs arrive."""
        return await distance.measure(
            address, port, clock=self._clock, budget_s=budget_s, source=self._source
        )


def _evidence(address: str, port: int, answer: SynAnswer) -> dict[str, Json]:
    evidence: dict[str, Json] = {"address": address, "port": port, "family": 6 if ":" in address else 4}
    if answer.kind in ("syn_ack", "rst", "icmp"):
        evidence["rtt_ms"] = round(answer.took_s * 1000, 3)
    if answer.error is not None:
        evidence["errno"] = answer.errno_name
    if answer.instant:
        evidence["instant"] = True
    if answer.unsent:
        evidence["unsent"] = True
    if answer.icmp is not None:
        evidence["icmp"] = answer.icmp.evidence
    if answer.syns is not None:
        evidence["syns"] = answer.syns
    if answer.source:
        evidence["source"] = answer.source
    return evidence
