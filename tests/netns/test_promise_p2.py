"""P2, one transaction: no moment open or half at isolation, update and release, proved on the wire.

A sender in the device numbers its datagrams and sends 20,000 a second to listed and unlisted destinations in
turn. The order of numbers needs no clock: what passes of the unlisted ones must be all before one datagram
and all after another. The 5 ms are counted from the moment the kernel was handed the commit (see
tests/e2e/commit_times.py) to the judge's kernel timestamp.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.e2e import commit_times, orders
from tests.e2e.commit_times import CommitTimes
from tests.e2e.own_list import Row, write_list
from tests.lab import Host, Lab, world
from tests.lab.agent import Agent
from tests.lab.sender import Sender, Sent
from tests.lab.sniffer import Sniffer
from tests.lab.stamp import Stamp
from tests.netns import step_by_step

pytestmark = pytest.mark.netns

UPDATES = 200
RATE = 20_000
STRAY_NS = 5_000_000
CLOCK_ERROR_NS = 200_000
"""How well the judge's kernel stamps are aligned with CLOCK_MONOTONIC (tests/netns/test_lab_wire.py)."""

PORT = 40_000
NAMED = "telemetry.vendor.example"
MOVING = tuple(f"node{n}.fleet.vendor.example" for n in range(UPDATES))
UNLISTED = (
    (world.UNLISTED_ADDRESS.v4, PORT),
    (world.UNLISTED_ADDRESS.v6, PORT),
    ("192.168.50.20", PORT),
    ("20.90.0.7", PORT + 1),  # a listed address at a port that is not
)
LISTED = (
    ("20.90.0.7", PORT),
    ("2603:1099::7", PORT),
    ("20.91.0.1", PORT),  # open by its name alone
    ("2603:1098::1", PORT),
)
TARGETS = tuple(target for pair in zip(UNLISTED, LISTED, strict=True) for target in pair)
"""Unlisted at even indexes, listed at odd ones."""

COMMON = (
    Row("20.90.0.0/24", PORT, "udp"),
    Row("2603:1099::/64", PORT, "udp"),
    Row(NAMED, PORT, "udp"),
    Row("*.fleet.vendor.example", PORT, "udp"),
)


@dataclass(frozen=True, slots=True)
class Passed:
    """One datagram that was on the wire: its place in the order of sending, and when it was seen."""

    place: int
    at_ns: int
    stamp: Stamp


def passed(sender: Sender, sniffer: Sniffer) -> tuple[list[Passed], list[Passed]]:
    """What was seen of the unlisted and of the listed destinations, in order of sending."""
    report = sniffer.report()
    assert report.dropped == 0, "the judge lost frames, nothing is proved"
    seen = [
        Passed(stamp.number * len(TARGETS) + stamp.destination, at_ns, stamp)
        for at_ns, stamp in sender.stamps(report)
    ]
    seen.sort(key=lambda each: each.place)
    return [p for p in seen if p.stamp.destination % 2 == 0], [p for p in seen if p.stamp.destination % 2]


def lost(sent: Sent, listed: Sequence[Passed], destinations: Sequence[int]) -> int:
    """How many datagrams to these listed destinations were not on the wire."""
    seen = sum(p.stamp.destination in destinations for p in listed)
    return sum(sent.attempted[d] for d in destinations) - seen


def last_place(sent: Sent) -> int:
    """Place of the last datagram to an unlisted destination."""
    return max((count - 1) * len(TARGETS) + d for d, count in enumerate(sent.attempted) if d % 2 == 0)


def leaked_after(unlisted: Sequence[Passed], began_ns: int) -> int:
    """How many were on the wire later than 5 ms after the commit began (those of the time isolated)."""
    return sum(p.at_ns > began_ns + STRAY_NS for p in unlisted)


@pytest.fixture(scope="module")
def wire() -> Iterator[Lab]:
    with Lab() as lab:
        lab.resolver.put(Host(NAMED, ("20.91.0.1",), ("2603:1098::1",)))
        lab.resolver.put(*(Host(name, (f"20.92.0.{n + 1}",)) for n, name in enumerate(MOVING)))
        for address, port in TARGETS:  # so that no datagram waits for a neighbour to be found
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with lab.device.socket(family, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"here I am", (address, port))
        yield lab


@pytest.fixture(scope="module")
def times(wire: Lab) -> CommitTimes:
    return commit_times.build(wire.directory)


@pytest.fixture(scope="module")
def agent(wire: Lab, times: CommitTimes) -> Iterator[Agent]:
    with wire.agent(environment=times.environment) as running:
        yield running


def wait_for_traffic(sniffer: Sniffer, sender: Sender, more: int = 2_000) -> None:
    """Until the wire has carried so many datagrams more."""
    wanted = len(sniffer.report().seen(sender.marker)) + more
    while len(sniffer.report().seen(sender.marker)) < wanted:
        pass


def look_up(lab: Lab, name: str) -> None:
    """Ask as any program does; the answer puts an address into the sets."""
    answer = lab.reach_from(lab.device, timeout_s=10).dns(name)
    assert answer.ok, answer.detail


def test_no_moment_is_open_or_half(wire: Lab, agent: Agent, times: CommitTimes) -> None:
    one = write_list(wire.directory / "one.yaml", (*COMMON, Row("20.93.0.0/24"), Row("one.vendor.example")))
    two = write_list(wire.directory / "two.yaml", (Row("*.two.vendor.example"), *COMMON, Row("20.94.0.0/16")))
    with (
        wire.sender(TARGETS, rate=RATE, count=2_000_000, seconds=90) as sender,
        wire.judge.watch(sender.marker, limit=2_000_000, snap=128) as sniffer,
    ):
        sender.start()
        wait_for_traffic(sniffer, sender)
        orders.isolate(agent, one)
        for number in range(UPDATES):
            if number % 2:
                orders.isolate(agent, one if number % 4 == 3 else two)
            else:
                look_up(wire, MOVING[number])
        learned = {each["name"] for each in orders.status(agent)["learned"]}
        orders.release(agent)
        wait_for_traffic(sniffer, sender)
        sent = sender.stop()
        unlisted, listed = passed(sender, sniffer)
    assert learned >= set(MOVING[::2])
    assert sent.rate > RATE / 2, "the machine was too busy for a proof"
    arm, opening = times.hooking()
    before = [p for p in unlisted if p.stamp.sent_ns < arm.ended_ns]
    after = unlisted[len(before) :]
    # Every second place is an unlisted one: all of them from the first on, none, and all to the last.
    assert [p.place for p in before] == list(range(0, 2 * len(before), 2))
    assert [p.place for p in after] == list(
        range(last_place(sent) - 2 * len(after) + 2, last_place(sent) + 1, 2)
    )
    assert before[-1].at_ns <= arm.began_ns + STRAY_NS
    assert min(p.at_ns for p in after) >= opening.began_ns - CLOCK_ERROR_NS
    refused = [sum(counts.values()) for counts in sent.refused]
    assert refused[1::2] == [0, 0, 0, 0]
    assert lost(sent, listed, (1, 3, 5, 7)) == 0
    assert sum(refused) == sum(sent.attempted[0::2]) - len(unlisted), "shut, and the sender told each time"


def test_the_same_ruler_finds_what_rules_applied_step_by_step_leak(wire: Lab) -> None:
    """Positive control: a model of the common script, by the same sender and judge."""
    elements = ("20.90.0.0/24 . 40000", "20.91.0.1 . 40000", *(f"20.94.0.{n} . 443" for n in range(20)))
    with (
        wire.sender(TARGETS, rate=RATE, seconds=30) as sender,
        wire.judge.watch(sender.marker, limit=1_000_000, snap=128) as sniffer,
    ):
        sender.start()
        wait_for_traffic(sniffer, sender)
        try:
            began_ns = step_by_step.isolate(wire.device, elements)
            wait_for_traffic(sniffer, sender, 100)
            step_by_step.refresh(wire.device, elements)
            sent = sender.stop()
        finally:
            step_by_step.release(wire.device)
        unlisted, listed = passed(sender, sniffer)
    assert leaked_after(unlisted, began_ns) > 100
    assert lost(sent, listed, (1, 5)) > 0, "the openings of the model, while its set was empty"
