"""Connections under judgement, bounded in number, in time and in what is held for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from isolator.core.flow_talk import Talk
from isolator.core.tcp_reassembly import TcpStream
from isolator.model.flow import Destination
from isolator.model.segment import FlowKey, Reset


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """Bounds of the table. Beyond one the flow that has been there longest goes, never the newcomer.

    So a flood of half-open connections or of slow hellos must outrun a handshake to hurt one: an honest
    client has its hello out one round trip after its SYN.
    """

    opening: int = 16_384
    """Connections that have said nothing yet."""
    talking: int = 8_192
    """Connections that stay for their whole life (HTTP in the clear, proxies); the least used one goes."""
    held: int = 512
    """Packets held at one time; the kernel's queue must be longer (NFQUEUE's default is 1,024)."""
    held_bytes: int = 8 << 20
    patience_s: float = 0.02
    """How long bytes are held before the client is told that they have arrived. As long as one of a socket's
    packets is on its way, Linux puts off small ones behind it (tcp_autocorking, Nagle's algorithm), so a
    client that says its first message in several writes would not come to its end."""
    kept_bytes: int = 64 << 20
    """Bytes remembered of connections that stay; the least used one goes."""
    silent_s: float = 30.0
    """How long a connection may say nothing at its beginning."""
    hold_s: float = 10.0
    """How long first bytes or a request head may take to become whole."""
    idle_s: float = 300.0
    """How long a connection that stays here may be idle."""
    bare: int = 256
    """Segments without data that may pass before the first verdict: they could carry data in their heads."""


@dataclass(slots=True, eq=False)
class Flow:
    """One connection under judgement."""

    key: FlowKey
    door: Destination
    opened_at: float
    stream: TcpStream
    talk: Talk
    first: int
    """The SYN's sequence number."""
    touched_at: float
    released: int = 0
    """Offset up to which bytes went on their way: what the server has, at most."""
    sent: int = 0
    """Offset behind the last byte the client sent."""
    acknowledged: int = 0
    """The client's last acknowledgement: the next byte it expects from the server."""
    bare: int = 0
    held: list[tuple[int, int, int]] | None = None
    """End offset, token and size of each held packet; None when there is none."""
    told: int = 0
    """Offset up to which the client was told that its bytes have arrived."""
    kept: int = 0
    """Bytes that are remembered of it, as the table counts them."""
    granted: frozenset[str] = frozenset()
    """Entries for which the address is known to have been learned."""

    def reset(self) -> Reset:
        """Give the numbers that end it on both sides."""
        stream = self.stream
        return Reset(
            self.key,
            stream.sequence_of(self.released),
            self.acknowledged,
            stream.sequence_of(max(self.sent, self.released)),
        )


class FlowTable:
    """Finds flows by their ends and by how long they have been waiting. Not thread-safe."""

    __slots__ = ("_flows", "_holding", "_opening", "_talking", "held", "held_bytes", "kept_bytes", "limits")

    def __init__(self, limits: FlowLimits) -> None:
        self.limits = limits
        self._flows: dict[FlowKey, Flow] = {}
        self._opening: OrderedDict[FlowKey, float] = OrderedDict()
        self._talking: OrderedDict[FlowKey, float] = OrderedDict()
        self._holding: OrderedDict[FlowKey, float] = OrderedDict()
        self.held = 0
        self.held_bytes = 0
        self.kept_bytes = 0

    def __len__(self) -> int:
        return len(self._flows)

    def get(self, key: FlowKey) -> Flow | None:
        """Give the flow between two ends."""
        return self._flows.get(key)

    def open(self, flow: Flow) -> None:
        """Take in a new flow that has said nothing."""
        self._flows[flow.key] = flow
        self._opening[flow.key] = flow.opened_at

    def keep(self, flow: Flow, now: float) -> None:
        """Note that a flow has been judged, stays, and was in use now."""
        flow.touched_at = now
        self.kept_bytes += flow.stream.size - flow.kept
        flow.kept = flow.stream.size
        self._opening.pop(flow.key, None)
        self._talking[flow.key] = now
        self._talking.move_to_end(flow.key)

    def hold(self, flow: Flow, end: int, token: int, size: int, now: float) -> None:
        """Note a packet that waits for a verdict; the clock of the flow's first one counts."""
        if flow.held is None:
            flow.held = []
        flow.held.append((end, token, size))
        self.held += 1
        self.held_bytes += size
        self._holding.setdefault(flow.key, now)

    def release(self, flow: Flow, upto: int | None) -> tuple[int, ...]:
        """Give the held packets that end at the offset or before it, all of them for None; in order."""
        if flow.held is None:
            return ()
        free = sorted(each for each in flow.held if upto is None or each[0] <= upto)
        left = [each for each in flow.held if upto is not None and each[0] > upto]
        self.held -= len(free)
        self.held_bytes -= sum(size for _, _, size in free)
        flow.held = left or None
        if not left:
            self._holding.pop(flow.key, None)
        return tuple(token for _, token, _ in free)

    def forget(self, flow: Flow) -> tuple[int, ...]:
        """Take a flow out; gives the packets that were held for it."""
        del self._flows[flow.key]
        self.kept_bytes -= flow.kept
        self._opening.pop(flow.key, None)
        self._talking.pop(flow.key, None)
        return self.release(flow, None)

    def impatient(self, now: float) -> Iterator[Flow]:
        """Give the flows of which bytes have been held for long enough to tell the client."""
        for key, since in self._holding.items():
            if since + self.limits.patience_s > now:
                return
            flow = self._flows[key]
            if flow.told < flow.stream.next:
                yield flow

    def surplus(self) -> Flow | None:
        """Give the flow that has to go because a bound is passed; None when all is within bounds."""
        limits = self.limits
        if self.held > limits.held or self.held_bytes > limits.held_bytes:
            return self._flows[next(iter(self._holding))]
        if len(self._opening) > limits.opening:
            return self._flows[next(iter(self._opening))]
        if len(self._talking) > limits.talking or (self.kept_bytes > limits.kept_bytes and self._talking):
            return self._flows[next(iter(self._talking))]
        return None

    def overdue(self, now: float) -> Flow | None:
        """Give a flow whose time is over; None when there is no other."""
        limits = self.limits
        for queue, allowed in (
            (self._holding, limits.hold_s),
            (self._opening, limits.silent_s),
            (self._talking, limits.idle_s),
        ):
            for key, since in queue.items():
                if since + allowed <= now:
                    return self._flows[key]
                break
        return None

    def all(self) -> tuple[Flow, ...]:
        """Give every flow."""
        return tuple(self._flows.values())
