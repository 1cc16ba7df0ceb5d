"""The stage of P1: a device with a container behind it, what is listed for it, and what the wire shows."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.e2e import orders
from tests.e2e.attempts import ICMP, ICMPV6, Attempt
from tests.e2e.frames import Frame, frames
from tests.e2e.own_list import Row, write_list
from tests.lab import Direction, Host, Lab, topology
from tests.lab.agent import Agent
from tests.lab.namespace import Namespace
from tests.lab.ports import ECHO
from tests.lab.sniffer import Report

V4, V6 = socket.AF_INET, socket.AF_INET6
ROUTER = topology.ADDRESSES[topology.ROUTER]
NAMED, NAMED4, NAMED6 = "api.vendor.example", "20.91.0.1", "2603:1098::1"
LISTED4, LISTED6 = "20.90.0.7", "2603:1099::7"
QUIET_DOOR = 9999
"""Listed too; nobody in the lab has this port, so it can be the source of an attempt."""

ROWS = (
    *(Row(network, QUIET_DOOR) for network in ("20.90.0.0/24", "2603:1099::/64")),
    Row("20.90.0.0/24", ECHO),
    Row("2603:1099::/64", ECHO),
    Row(NAMED, ECHO),
)
LISTENER, SILENT, SINK = 7100, 7101, 7102
"""Ports of the device and the container: an echo over TCP and UDP, nobody, and one who only listens."""

DISCOVERY = (133, 135, 136)
"""Router solicitation, neighbour solicitation and advertisement (RFC 4861)."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A lab with a container behind the device, and an agent."""

    lab: Lab
    agent: Agent
    policy: str

    def isolate(self) -> None:
        """With these rows and nothing else."""
        orders.isolate(self.agent, self.policy)


@contextlib.contextmanager
def door_stage() -> Iterator[Scene]:
    """A lab with its agent, not isolated."""
    with Lab(container=True) as lab:
        lab.resolver.put(Host(NAMED, (NAMED4,), (NAMED6,)))
        for namespace in (lab.device, lab.container):
            lab.servers.listen(namespace, [("tcp_echo", LISTENER), ("udp_echo", LISTENER)])
        with lab.agent() as agent:
            yield Scene(lab, agent, write_list(lab.directory / "own.yaml", ROWS))


def watched(
    scene: Scene, space: Namespace, attempts: Sequence[Attempt], judge: Callable[[], Report]
) -> Report:
    """Make all attempts, and see what was on the wire when they are done with."""
    with contextlib.ExitStack() as open_sockets:
        for each in attempts:
            each.send(space, open_sockets)
        time.sleep(0.3)  # a neighbour may have to be found first
        assert scene.lab.reach.tcp(LISTED4).ok, "a listed destination"
        assert scene.lab.reach.tcp(NAMED, family=V6).ok, "a listed name"
        report = judge()
    assert report.dropped == 0
    return report


def left(report: Report) -> list[Frame]:
    """The IP packets that left the device."""
    return [f for f in frames(report.sightings) if f.direction is Direction.FROM_DEVICE]


def got_through(attempts: Sequence[Attempt], seen: Sequence[Frame]) -> set[str]:
    """Names of the attempts that are on the wire."""
    return {f"{each.name} {each.there}" for each in attempts for frame in seen if each.is_in(frame)}


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet by what matters: protocol, own port, ICMP type and code, and to whom."""

    protocol: int
    port: int
    icmp: bytes
    there: str


def sent_to(report: Report, *there: str) -> set[Sent]:
    """What the device (or whoever is behind it) sent to these addresses, neighbour discovery left out."""
    found: set[Sent] = set()
    for seen in report.sightings:
        for frame in frames([seen]):
            is_icmp = frame.protocol in (ICMP, ICMPV6)
            head = 34 if frame.protocol == ICMP else 54
            icmp = seen.frame[head : head + 2] if is_icmp else b""
            discovery = frame.protocol == ICMPV6 and icmp[0] in DISCOVERY
            if seen.direction is Direction.FROM_DEVICE and frame.destination in there and not discovery:
                found.add(Sent(frame.protocol, frame.source_port, icmp, frame.destination))
    return found
