"""P1: what leaves an isolated device and its container, by destination, family and protocol.

Judged by every frame on the wire outside the device (of the container: on its own cable). Each attempt is made on
the device that is not isolated first, where it must show; and listed services must answer in between.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import orders
from tests.e2e.attempts import ICMPV6, TCP, UDP, Attempt, dns_to, everything_to, link_local
from tests.e2e.door_scene import (
    DISCOVERY,
    LISTED4,
    LISTED6,
    NAMED,
    NAMED4,
    NAMED6,
    ROUTER,
    V6,
    Scene,
    door_stage,
    got_through,
    left,
    watched,
)
from tests.e2e.frames import Frame, frames
from tests.lab import Direction, Lab, topology, world
from tests.lab.ports import ECHO
from tests.lab.sniffer import Report

pytestmark = pytest.mark.netns

_ARP, _IPV4, _IPV6 = 0x0806, 0x0800, 0x86DD


@pytest.fixture(scope="module")
def stage() -> Iterator[Scene]:
    with door_stage() as made:
        yield made


@pytest.fixture
def scene(stage: Scene) -> Iterator[Scene]:
    """Not isolated yet, and not any more afterwards."""
    yield stage
    orders.release(stage.agent)


def outward(lab: Lab) -> list[Attempt]:
    """What programs of the device may try: every class of destination, both families."""
    far, neighbour = world.UNLISTED_ADDRESS, lab.neighbour.addresses
    second = topology.SECOND_RESOLVER
    found = [
        *everything_to("unlisted", far.v4),
        *everything_to("unlisted", far.v6),
        *everything_to("neighbour", neighbour.v4),
        *everything_to("neighbour", neighbour.v6),
        *(
            each
            for there in (ROUTER.v4, ROUTER.v6)
            for each in everything_to("router", there)
            if (each.protocol, each.port) != (TCP, 53)
        ),
        *everything_to("neighbour's link-local", link_local(lab, lab.neighbour, "eth0")),
        *(each for there in (LISTED4, LISTED6, NAMED4, NAMED6) for each in beside_the_door(there)),
        *(
            each
            for there in (far.v4, far.v6, second.v4, second.v6, LISTED4)
            for each in dns_to(f"other resolver {there}", there, NAMED, (53, 853, 5353, 443))
        ),
        *(each for there in (ROUTER.v4, ROUTER.v6) for each in dns_to("resolver", there, NAMED, (853, 5353))),
        Attempt("metadata service", TCP, "169.254.169.254", 80),
        Attempt("multicast DNS", UDP, "224.0.0.251", 5353),
        Attempt("multicast DNS, IPv6", UDP, "ff02::fb", 5353),
        Attempt("all nodes", ICMPV6, "ff02::1"),
        Attempt("LLMNR", UDP, "224.0.0.252", 5355),
        Attempt("SSDP", UDP, "239.255.255.250", 1900),
        Attempt("broadcast of the LAN", UDP, "192.168.50.255", 137),
        Attempt("DHCP from anybody", UDP, "255.255.255.255", 67, source_port=68),
        Attempt("unlisted by an IPv6 socket", TCP, far.v4, 7777, mapped=True),
        Attempt("unlisted by an IPv6 socket, UDP", UDP, far.v4, 7777, mapped=True),
        Attempt("from the resolver's port", UDP, far.v4, 7778, source_port=53),
        Attempt("from the listed port", UDP, far.v4, 7779, source_port=ECHO),
    ]
    return list({(each.protocol, each.there, each.port): each for each in found}.values())


def beside_the_door(there: str) -> Iterator[Attempt]:
    """A listed address, at what is not listed of it."""
    yield from (each for each in everything_to("listed", there) if (each.protocol, each.port) != (TCP, ECHO))


def strangers(report: Report) -> list[object]:
    """What left the device and is neither listed, nor a query to its resolvers, nor what finds a neighbour."""
    found: list[object] = []
    for seen in report.sightings:
        if seen.direction is not Direction.FROM_DEVICE or seen.frame[12:14] == _ARP.to_bytes(2, "big"):
            continue
        parsed = frames([seen])
        if not parsed:
            found.append(seen.frame)
        elif not is_allowed(parsed[0], seen.frame):
            found.append(parsed[0])
    return found


def is_allowed(frame: Frame, raw: bytes) -> bool:
    """May this leave, by the letter of the promise?"""
    there = (frame.protocol, frame.destination, frame.destination_port)
    doors = {(TCP, address, ECHO) for address in (LISTED4, LISTED6, NAMED4, NAMED6)}
    resolvers = {(protocol, there, 53) for protocol in (UDP, TCP) for there in (ROUTER.v4, ROUTER.v6)}
    discovery = frame.protocol == ICMPV6 and raw[54] in DISCOVERY
    return there in doors | resolvers or discovery


def test_nothing_leaves_but_to_listed_destinations(scene: Scene) -> None:
    lab, attempts = scene.lab, outward(scene.lab)
    assert lab.reach.tcp(LISTED6, family=V6).ok
    with lab.judge.watch() as sniffer:
        report = watched(scene, lab.device, attempts, sniffer.report)
    through = got_through(attempts, left(report))
    assert through == {f"{each.name} {each.there}" for each in attempts}, "the attempts themselves fail"
    scene.isolate()
    with lab.judge.watch() as sniffer:
        report = watched(scene, lab.device, attempts, sniffer.report)
        assert lab.reach.tcp(LISTED6, family=V6).ok
    assert got_through(attempts, left(report)) == set()
    assert strangers(report) == []
    assert {kind for way, kind in report.frames if way is Direction.FROM_DEVICE} <= {_ARP, _IPV4, _IPV6}


def test_dns_over_tcp_is_judged_by_name(scene: Scene) -> None:
    """To the own resolver a connection is opened, and a query for a name that is not listed ends it."""
    reach = scene.lab.reach
    for name in (NAMED, world.UNLISTED):
        assert reach.dns(name, server=ROUTER.v4, tcp=True).ok
        assert reach.dns(name, server=ROUTER.v6, tcp=True).ok
    scene.isolate()
    scene.lab.resolver.clear()
    for server in (ROUTER.v4, ROUTER.v6):
        assert reach.dns(NAMED, server=server, tcp=True).ok
        assert reach.dns(world.UNLISTED, server=server, tcp=True).detail == "ECONNRESET"
    assert scene.lab.resolver.names() == {NAMED}


def test_the_container_gets_nowhere(scene: Scene) -> None:
    """Not to unlisted, neighbour, router or resolver, and not to what is listed for the device either."""
    lab = scene.lab
    far, neighbour = world.UNLISTED_ADDRESS, lab.neighbour.addresses
    attempts = [
        each
        for there in (far.v4, far.v6, neighbour.v4, neighbour.v6, ROUTER.v4, ROUTER.v6, LISTED4, LISTED6)
        for each in (*everything_to("container", there), *dns_to("container", there, NAMED, (53,)))
        if there not in (LISTED4, LISTED6) or (each.protocol, each.port) != (TCP, ECHO)
    ]
    listed = [Attempt("container to a listed door", TCP, there, ECHO) for there in (LISTED4, LISTED6)]

    def passed() -> set[str]:
        with lab.judge.watch() as sniffer:
            report = watched(scene, lab.container, [*attempts, *listed], sniffer.report)
        inner = (lab.container.addresses.v4, lab.container.addresses.v6)
        seen = [frame for frame in left(report) if frame.source in inner]
        return got_through([*attempts, *listed], seen)

    assert passed() == {f"{each.name} {each.there}" for each in (*attempts, *listed)}
    scene.isolate()
    assert passed() == set()
