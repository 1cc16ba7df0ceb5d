"""P1, the other way: nobody comes in, neither to the device nor to the container, nor do these two talk."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.e2e import orders
from tests.e2e.attempts import ICMP, ICMPV6, OTHERS, TCP, UDP, Attempt
from tests.e2e.door_scene import (
    LISTED4,
    LISTED6,
    LISTENER,
    QUIET_DOOR,
    SILENT,
    SINK,
    V4,
    V6,
    Scene,
    Sent,
    door_stage,
    got_through,
    left,
    sent_to,
)
from tests.lab import Lab
from tests.lab.namespace import Addresses, Namespace
from tests.lab.ports import ECHO
from tests.lab.sniffer import Report

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def stage() -> Iterator[Scene]:
    with door_stage() as made:
        yield made


@pytest.fixture
def scene(stage: Scene) -> Iterator[Scene]:
    """Not isolated yet, and not any more afterwards."""
    yield stage
    orders.release(stage.agent)


def inward(there: str, *, listed: str = "") -> list[Attempt]:
    """What others may send to the device or the container; ``listed``: also in the name of that address."""
    found = [
        Attempt("TCP to a listener", TCP, there, LISTENER),
        Attempt("TCP to nobody", TCP, there, SILENT),
        Attempt("UDP to a listener", UDP, there, LISTENER),
        Attempt("UDP to nobody", UDP, there, SILENT),
        Attempt("UDP to one who says nothing", UDP, there, SINK),
        Attempt("ping", ICMPV6 if ":" in there else ICMP, there),
        Attempt("an unknown protocol", OTHERS["experiment"], there),
    ]
    if listed:
        found.append(
            Attempt("TCP from a listed door", TCP, there, LISTENER, source=listed, source_port=QUIET_DOOR)
        )
    return found


def expected_answers(there: str) -> set[Sent]:
    """What an ordinary host answers to ``inward``."""
    tcp_and_udp = {
        Sent(TCP, LISTENER, b"", there),
        Sent(TCP, SILENT, b"", there),
        Sent(UDP, LISTENER, b"", there),
    }
    if ":" in there:
        # Echo reply, port unreachable, unknown next header (RFC 4443).
        return tcp_and_udp | {Sent(ICMPV6, 0, bytes(kind), there) for kind in ((129, 0), (1, 4), (4, 1))}
    # Echo reply, port unreachable, protocol unreachable (RFC 792).
    return tcp_and_udp | {Sent(ICMP, 0, bytes(kind), there) for kind in ((0, 0), (3, 3), (3, 2))}


class Sinks:
    """UDP sockets that take what comes and answer nothing."""

    def __init__(self, space: Namespace) -> None:
        self._sockets = [space.socket(family, socket.SOCK_DGRAM) for family in (V4, V6)]
        for sock in self._sockets:
            if sock.family == V6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("::" if sock.family == V6 else "", SINK))
            sock.setblocking(False)

    def received(self) -> int:
        """How many datagrams have come since the last time."""
        found = 0
        for sock in self._sockets:
            with contextlib.suppress(BlockingIOError):
                while sock.recv(100):
                    found += 1
        return found

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@dataclass(frozen=True, slots=True)
class Way:
    """A way for others to come in, or for the container to go out."""

    name: str
    source: Namespace
    attempts: Sequence[Attempt]
    answers_to: tuple[str, ...]
    control: set[Sent]


def ways_in(lab: Lab, inside: Addresses) -> list[Way]:
    """From the LAN and from the internet, to the device or the container."""
    neighbour, internet = lab.neighbour.addresses, lab.internet.addresses
    from_internet = {LISTED4: inside.v4, LISTED6: inside.v6}
    listed = [each for door, there in from_internet.items() for each in inward(there, listed=door)]
    doors = {Sent(TCP, LISTENER, b"", door) for door in from_internet}
    ordinary = {
        name: expected_answers(a.v4) | expected_answers(a.v6)
        for name, a in (("neighbour", neighbour), ("internet", internet))
    }
    return [
        Way(
            "neighbour",
            lab.neighbour,
            [*inward(inside.v4), *inward(inside.v6)],
            (neighbour.v4, neighbour.v6),
            ordinary["neighbour"],
        ),
        Way(
            "internet",
            lab.internet,
            listed,
            (internet.v4, internet.v6, LISTED4, LISTED6),
            ordinary["internet"] | doors,
        ),
    ]


def try_ways(lab: Lab, ways: Sequence[Way], judge: Callable[[], Report]) -> dict[str, set[Sent]]:
    """Make the attempts of each way; what came back on it."""
    with contextlib.ExitStack() as open_sockets:
        for way in ways:
            for each in way.attempts:
                each.send(way.source, open_sockets)
        time.sleep(0.3)
        report = judge()
    assert report.dropped == 0
    assert lab.reach.connect(LISTED4, ECHO).ok
    return {way.name: sent_to(report, *way.answers_to) for way in ways}


def test_nobody_comes_in(scene: Scene) -> None:
    """Not from the LAN, the internet or the container, nor in the name of a listed address."""
    lab = scene.lab
    ways = ways_in(lab, lab.device.addresses)
    with contextlib.closing(Sinks(lab.device)) as sinks:
        with lab.judge.watch() as sniffer:
            assert try_ways(lab, ways, sniffer.report) == {way.name: way.control for way in ways}
        assert sinks.received() == 4
        scene.isolate()
        with lab.judge.watch() as sniffer:
            assert try_ways(lab, ways, sniffer.report) == {way.name: set() for way in ways}
        assert sinks.received() == 0


def test_nobody_comes_into_the_container(scene: Scene) -> None:
    """Judged on the container's cable: what goes to it does not arrive, its answers are moot."""
    lab = scene.lab
    inside = lab.container.addresses
    ways = ways_in(lab, inside)
    wanted = {f"{each.name} {each.there}" for way in ways for each in way.attempts}

    def arrived() -> set[str]:
        with lab.judge.watch_at(lab.container, "eth0") as sniffer:
            try_ways(lab, ways, sniffer.report)
            return got_through([each for way in ways for each in way.attempts], left(sniffer.report()))

    assert arrived() == wanted
    scene.isolate()
    assert arrived() == set()


def test_device_and_container_do_not_talk(scene: Scene) -> None:
    lab = scene.lab
    inside, gateway = lab.container.addresses, ("10.88.0.1", "2001:db8:88::1")
    out_of = [*inward(inside.v4), *inward(inside.v6)]
    into = Way(
        "container",
        lab.container,
        [*inward(gateway[0]), *inward(gateway[1])],
        (inside.v4, inside.v6),
        expected_answers(inside.v4) | expected_answers(inside.v6),
    )

    def exchanged() -> tuple[set[Sent], set[str]]:
        with lab.judge.watch_at(lab.container, "eth0") as sniffer:
            answered = try_ways(lab, [into], sniffer.report)["container"]
        with lab.judge.watch_at(lab.container, "eth0") as sniffer:
            try_ways(lab, [Way("device", lab.device, out_of, (), set())], sniffer.report)
            return answered, got_through(out_of, left(sniffer.report()))

    assert exchanged() == (into.control, {f"{each.name} {each.there}" for each in out_of})
    scene.isolate()
    assert exchanged() == (set(), set())
