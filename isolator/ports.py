"""What the services need from outside; adapters and fakes both keep these contracts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from isolator.model.event import HostEvent
from isolator.model.flow import Address, Destination, Hook, LearnedAddress, Packet
from isolator.model.ruleset import AddressSet, Element, ObservedTable, Transaction
from isolator.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing the host can or cannot do: stable code, whether it can, and what is lost without it."""

    code: str
    available: bool
    detail: str
    lost_without: str = ""
    required: bool = True


class FilterBackend(Protocol):
    """The kernel's packet filter. Every method raises IsolatorError for what the outside refuses."""

    name: str

    def capabilities(self) -> tuple[Capability, ...]:
        """Probe without touching the live ruleset."""
        ...

    def check(self, transaction: Transaction) -> None:
        """Have the kernel judge the transaction and abort it; nothing changes."""
        ...

    def apply(self, transaction: Transaction) -> None:
        """Commit the transaction whole; on an error nothing of it is in force."""
        ...

    def observe(self) -> ObservedTable | None:
        """Our table as it is now, None when there is none. Does not list set elements."""
        ...

    def elements(self, spec: AddressSet) -> tuple[Element, ...]:
        """The elements of one of our sets, with the remaining lifetime as timeout."""
        ...

    def learn(self, additions: Sequence[tuple[AddressSet, Element]]) -> None:
        """Put elements into timed sets in one commit; one that is there gets the new timeout."""
        ...


@dataclass(frozen=True, slots=True)
class QueuedPacket:
    """One packet the kernel waits about: raw IP bytes and the hook it was met at."""

    payload: bytes
    hook: Hook


@dataclass(frozen=True, slots=True)
class QueueAnswer:
    """The answer for one queued packet; an accepted one gets the gate's mark."""

    verdict: Verdict
    local_reply: bytes | None = None
    """A whole IP packet to hand to the local asker (the REFUSED answer)."""


@dataclass(frozen=True, slots=True)
class FlowAnswer:
    """What becomes of queued segments, by the numbers they came with; those not named go on waiting.

    `passed` go on in this order with the gate's mark, and with the flow's when `whole`: the kernel then
    passes the rest of the connection by itself. `replaced` go on as other packets, `local_replies` are whole
    IP packets for programs of this host. `again` are those of `passed` that are to be sent a few times more.
    """

    passed: tuple[int, ...] = ()
    whole: bool = False
    dropped: tuple[int, ...] = ()
    replaced: tuple[tuple[int, bytes], ...] = ()
    local_replies: tuple[bytes, ...] = ()
    again: tuple[int, ...] = ()


class FlowQueue(Protocol):
    """Segments from the kernel that may wait for each other."""

    def open_flows(
        self, number: int, handler: Callable[[QueuedPacket, int], FlowAnswer], tick: Callable[[], FlowAnswer]
    ) -> None:
        """Bind and judge on a thread of its own until closed; `tick` is asked about once a second,
        and every 20 ms as long as segments wait.

        The handler gets the packet and its number, which does not come again, not even after `close`: an
        answer may still name packets of then. A packet is dropped when the handler fails.
        """
        ...

    def close(self) -> None:
        """Unbind; what waits is dropped. Safe to call twice."""
        ...

    def statistics(self) -> Mapping[str, int]:
        """Counts: judged, dropped_full, dropped_user, waiting, held, since open; empty when closed."""
        ...


class PacketQueue(Protocol):
    """Packets from the kernel, one by one, each answered whatever happens."""

    def open(self, number: int, handler: Callable[[QueuedPacket], QueueAnswer]) -> None:
        """Bind to the queue and judge packets on a thread of its own until closed."""
        ...

    def close(self) -> None:
        """Unbind; packets nobody judged are dropped by the kernel. Safe to call twice."""
        ...

    def statistics(self) -> Mapping[str, int]:
        """Counts: judged, dropped_full, dropped_user, waiting, since open; empty when closed."""
        ...


@dataclass(frozen=True, slots=True)
class EndedFlows:
    """How many flows were ended and how."""

    tracked: int = 0
    sockets: int = 0


class FlowTable(Protocol):
    """Connections that exist: conntrack entries and local sockets."""

    def end(self, is_allowed: Callable[[Packet], bool]) -> EndedFlows:
        """End each flow whose outgoing packet `is_allowed` refuses; tell local sockets at once.

        Loopback and listening sockets are left alone. Works with and without connection tracking.
        """
        ...


class Notifier(Protocol):
    """Tells the person at the device. Never raises and never blocks the order."""

    def tell(self, event: HostEvent) -> None:
        """Queue the message on every channel there is."""
        ...

    def clear(self) -> None:
        """Remove what stays visible (motd)."""
        ...


class StateStore(Protocol):
    """The journal: one small document, replaced atomically and durably."""

    def load(self) -> Mapping[str, object] | None:
        """The last saved document, None when there is none. IsolatorError when unreadable."""
        ...

    def save(self, document: Mapping[str, object]) -> None:
        """Write, fsync, rename, fsync the directory. IsolatorError when the disk refuses."""
        ...

    def clear(self) -> None:
        """Forget the document; no error when there is none."""
        ...


class Clock(Protocol):
    """Time as argument: boot time for durations, UTC for people."""

    def boottime(self) -> float:
        """Seconds since boot, suspend included (CLOCK_BOOTTIME); wall-clock jumps do not move it."""
        ...

    def utc_now(self) -> str:
        """RFC 3339 in UTC with seconds, for reports only."""
        ...

    def boot_id(self) -> str:
        """Changes with each boot."""
        ...


class NameResolver(Protocol):
    """Our own look-ups, before isolation, with the host's configured resolvers."""

    def resolve(
        self, names: Sequence[str], resolvers: Sequence[Address], deadline_s: float
    ) -> Mapping[str, tuple[tuple[Address, int], ...]]:
        """(address, TTL in seconds) of each name that answered within the deadline, both families."""
        ...


class ControlProbe(Protocol):
    """Tries the control channel for real."""

    def reachable(self, destinations: Iterable[Destination], deadline_s: float) -> bool:
        """True when any destination accepts a connection within the deadline; False for none given."""
        ...


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the host has that the policy needs."""

    resolvers: tuple[Address, ...]
    own_addresses: tuple[Address, ...]
    dhcp_servers: tuple[Address, ...]


class HostInspector(Protocol):
    """Reads facts about this host; changes nothing."""

    def facts(self) -> HostFacts:
        """Resolvers (behind a local stub too), addresses and DHCP servers as of now."""
        ...


Learner = Callable[[Sequence[LearnedAddress]], None]
"""Puts learned addresses into the kernel; returns when they are in force."""

Request = Mapping[str, object]
Response = Mapping[str, object]


class OrderSource(Protocol):
    """Where requests to the agent come from."""

    def serve(self, answer: Callable[[Request], Response]) -> None:
        """Answer requests on threads of its own until `stop`; returns when it listens."""
        ...

    def stop(self) -> None:
        """Take no more requests; those being answered are finished. Safe to call twice."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A controller's reply: HTTP status and the JSON in its body (None when it is none)."""

    status: int
    body: object


class ControllerClient(Protocol):
    """One line to the controller; calls are made by one thread at a time."""

    def post(self, path: str, body: Mapping[str, object], deadline_s: float) -> Reply:
        """Ask and wait for the reply. IsolatorError when none comes in time or the line is not safe."""
        ...

    def close(self) -> None:
        """Give the line up; from any thread, ending a call that waits. The next call opens a new one."""
        ...


class MachineFacts(Protocol):
    """What the controller shows about this host beside its state."""

    def facts(self) -> Mapping[str, object]:
        """Name, platform, version, addresses; never raises, what is not known is left out."""
        ...
