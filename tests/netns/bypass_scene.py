"""The stage of the attack table: attempts that carry a marker, each made before isolation and in it.

An attempt is held when the marker that shows on the wire outside the free device does not show outside the
isolated one, it is counted under the reason expected, and the service still answers afterwards.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e import orders
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, topology
from tests.lab.agent import Agent
from tests.lab.namespace import Addresses

PORT, WEB_PORT, CLOCK_PORT, QUIC_PORT = 8445, 80, 123, 443
"""TLS by the list, an echo in truth, so that whatever passes is heard; HTTP in the clear; datagrams."""

ALLOWED, OTHER, QUIET = "api.vendor.example", "other.vendor.example", "quiet.svc.vendor.example"
WEB, CLOCK, BROWSED = "crl.vendor.example", "time.vendor.example", "www.listed.test"
FIRST, SECOND = "first.svc.vendor.example", "second.svc.vendor.example"
"""Two names that one wildcard covers."""

AT: Mapping[str, Addresses] = {
    name: Addresses(f"20.91.0.{number}", f"2603:1098::{number}")
    for number, name in enumerate((ALLOWED, OTHER, QUIET, WEB, CLOCK, BROWSED, FIRST, SECOND), 1)
}
NETWORK, CONTROL = Addresses("20.90.0.7", "2603:1099::7"), Addresses("20.99.0.1", "2603:1097::1")

ROWS = (
    *(Row(name, PORT) for name in (ALLOWED, OTHER, BROWSED, "*.svc.vendor.example")),
    Row(WEB, WEB_PORT),
    Row(CLOCK, CLOCK_PORT, "udp"),
    Row(CLOCK, QUIC_PORT, "udp"),
    *(Row(network, PORT) for network in ("20.90.0.0/24", "2603:1099::/64")),
)
RESOLVERS = topology.ADDRESSES[topology.ROUTER], topology.SECOND_RESOLVER
CONFIG = (
    "resolvers: [" + ", ".join(f'"{address}"' for pair in RESOLVERS for address in (pair.v4, pair.v6)) + "]\n"
    f'control_channel: [{{address: "{CONTROL.v4}", port: {PORT}}}]\n'
)


class NotHeld(AssertionError):
    """An attempt got through. Tests of known gaps expect this and nothing else."""


@dataclass(frozen=True, slots=True)
class Trick:
    """One attempt, and what it is counted under in isolation; None: it is allowed and must get through."""

    name: str
    play: Callable[[Lab, bytes], None]
    reason: str | None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt: how often its marker was on the wire, and does the service answer."""

    seen: int
    moved: Mapping[str, int] = field(default_factory=dict)
    answers: bool = True


@dataclass(frozen=True, slots=True)
class Stage:
    """The lab, its agent, and the list that the orders name."""

    lab: Lab
    agent: Agent
    policy: str

    def isolate(self) -> None:
        """Isolate, and ask for the names as the service does."""
        orders.isolate(self.agent, self.policy)
        self.learn()

    def learn(self) -> None:
        """Ask for every name but the quiet one, both families."""
        reach = self.lab.reach_from(self.lab.device, 5.0)
        for name in (each for each in AT if each != QUIET):
            assert reach.dns(name).ok, name
            assert reach.dns(name, "AAAA").ok, name

    def release(self) -> None:
        """Release."""
        orders.release(self.agent)

    def counted(self) -> Counter[str]:
        """What was dropped so far, by reason."""
        counters = orders.status(self.agent)["counters"]
        assert isinstance(counters, dict)
        return Counter(counters["dropped"])

    def answers(self) -> bool:
        """Does the service still answer: names, new connections by name, by address, to the controller?"""
        reach = self.lab.reach_from(self.lab.device, 5.0)
        probes = (
            reach.dns(ALLOWED),
            reach.tcp(ALLOWED, PORT),
            reach.tcp(ALLOWED, PORT, family=socket.AF_INET6),
            reach.tcp(NETWORK.v4, PORT),
            reach.tcp(CONTROL.v4, PORT),
        )
        return all(probe.ok for probe in probes)

    def play(self, tricks: Sequence[Trick]) -> dict[str, Outcome]:
        """Make every attempt as the device is now; what became of each."""
        isolated = orders.status(self.agent)["state"] == "isolated"
        markers = {trick.name: secrets.token_hex(8).encode() for trick in tricks}
        moved: dict[str, Mapping[str, int]] = {}
        answered: dict[str, bool] = {}
        with self.lab.judge.watch(*markers.values()) as sniffer:
            for trick in tricks:
                before = self.counted() if isolated else Counter()
                trick.play(self.lab, markers[trick.name])
                moved[trick.name] = self._moved(before, trick) if isolated else {}
                answered[trick.name] = not isolated or self.answers()
            report = sniffer.report()
        assert report.dropped == 0, "the judge itself lost frames"
        return {
            name: Outcome(len(report.seen(marker)), moved[name], answered[name])
            for name, marker in markers.items()
        }

    def _moved(self, before: Counter[str], trick: Trick) -> Mapping[str, int]:
        """What was counted meanwhile; waits for the reason that is expected."""
        deadline = time.monotonic() + 10
        while True:
            moved = self.counted() - before
            if trick.reason is None or moved[trick.reason] or time.monotonic() > deadline:
                return dict(moved)
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Played:
    """Every attempt of a file, made on the free device and on the isolated one."""

    stage: Stage
    free: Mapping[str, Outcome]
    isolated: Mapping[str, Outcome]

    def judge(self, trick: Trick) -> None:
        """Assert that it is held, or gets through where it is allowed."""
        inside = self.isolated[trick.name]
        assert self.free[trick.name].seen, "the attempt itself fails: nothing leaves the free device either"
        assert inside.answers, "the service does not answer any more"
        if trick.reason is None:
            assert inside.seen, f"what is allowed does not get through: {inside.moved}"
            return
        if inside.seen:
            raise NotHeld(f"got through: {inside}")
        assert trick.reason in inside.moved, f"was stopped, but not as expected: {inside.moved}"


@contextmanager
def opened_stage(config: str = CONFIG, rows: Sequence[Row] = ROWS) -> Iterator[Stage]:
    """A lab with its agent; the device is free."""
    with Lab() as lab:
        hosts = (Host(name, (at.v4,), (at.v6,), ttl=3600) for name, at in AT.items())
        made_up = Host("*.svc.vendor.example", (AT[FIRST].v4,), (AT[FIRST].v6,), ttl=3600)
        lab.resolver.put(*hosts, made_up)
        lab.servers.listen(lab.internet, [("tcp_echo", PORT), ("udp_echo", CLOCK_PORT)])
        with lab.agent(config) as agent:
            yield Stage(lab, agent, write_list(lab.directory / "own.yaml", rows))


@contextmanager
def played(tricks: Sequence[Trick]) -> Iterator[Played]:
    """Make every attempt twice; the device stays isolated while this is open."""
    assert len({trick.name for trick in tricks}) == len(tricks), "two attempts of one name"
    with opened_stage() as stage:
        free = stage.play(tricks)
        stage.isolate()
        isolated = stage.play(tricks)
        yield Played(stage, free, isolated)
        stage.release()


def family_of(address: str) -> socket.AddressFamily:
    """The family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET
