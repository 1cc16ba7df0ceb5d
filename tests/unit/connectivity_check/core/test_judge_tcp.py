"""Rows that cannot be connected to, or hardly: who dropped, refused or prohibited, as far as packets tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    BlockerKind,
    Confidence,
    Kind,
    Observation,
    Outcome,
    Role,
    Scope,
    Step,
)
from tests.unit.connectivity_check.core.cases import (
    ADDRESS,
    OTHER,
    OTHER_ADDRESS,
    PROXIED,
    WELL,
    WELL_PROXIED,
    Beside,
    Example,
    answered,
    check,
    connected,
    examples,
    passing,
    resolved,
    saw,
    shaken,
    target,
)

ROUTER = "10.1.1.1"
HERE = "10.0.0.7"
SIX, SIX_TWO = "2a00::1", "2a00::2"
FOUR_TWO = "20.0.0.2"
RESOLVES = resolved(ADDRESS)
SILENT = connected(seen=Seen.TIMEOUT, syns=3)
REFUSED = connected(seen=Seen.CONNECTION_REFUSED, rtt_ms=1.0)
RETRY_PASSES = connected(role=Role.RETRY)
RETRY_SILENT = connected(seen=Seen.TIMEOUT, role=Role.RETRY)


def icmp(
    kind: object, code: object, sender: str = ROUTER, address: str = ADDRESS, **more: Any
) -> Observation:
    """Give a try to connect that an ICMP error ended."""
    told = {"from": sender, "type": kind, "code": code}
    return connected(address, seen=Seen.HOST_UNREACHABLE, icmp=told, source=HERE, **more)


def distance(ttl: Any, answer: str = "rst", address: str = ADDRESS, port: int = 443) -> Observation:
    """Give how far away the sender of an answer is."""
    return saw(Step.CONNECT, None, Role.TTL, address=address, port=port, answer=answer, ttl=ttl)


def hops(*found: tuple[int, str], last: str = "", reached: bool = False) -> Observation:
    """Give what the routers on the way answered to SYNs of growing TTL."""
    listed = [{"ttl": ttl, "from": sender} for ttl, sender in found]
    return saw(Step.CONNECT, None, Role.HOPS, hops=listed, last_hop=last, reached=reached)


def local(*addresses: str) -> Observation:
    """Give what the system's own look-up says."""
    return resolved(*addresses, role=Role.GETADDRINFO, resolver="", transport="system")


def alone(host: str, address: str) -> Beside:
    """Give another row that was silent among the others and accepted alone."""
    return target(host), (
        resolved(address, name=host),
        connected(address, seen=Seen.TIMEOUT),
        connected(address, role=Role.RETRY),
    )


ALONE_TWICE = (alone("a.one.test", "20.0.4.1"), alone("a.two.test", "20.0.4.2"))

UNCONNECTED = [
    Example(
        "silence, others pass",
        (RESOLVES, SILENT, RETRY_SILENT),
        Failure.TCP_DROPPED,
        BlockerKind.FIREWALL,
        Severity.BLOCKING,
        Confidence.LIKELY,
        address="",
        scope=Scope.ENDPOINT,
        outcome=Outcome.BLOCKED,
        reasons=(f"3 SYNs to {ADDRESS} port 443 were not answered", "other hosts of the list are reached"),
        hint=("Permit outgoing tcp/443 to api.vendor.example.",),
        beside=(OTHER,),
    ),
    Example(
        "silence, nobody passes: nobody is named",
        (RESOLVES, SILENT, RETRY_SILENT),
        Failure.META_UNEXPLAINED,
        BlockerKind.UNKNOWN,
        Severity.UNKNOWN,
        Confidence.UNEXPLAINED,
        outcome=Outcome.UNEXPLAINED,
        reasons=("no control passed",),
    ),
    Example(
        "silence, the address accepts another port",
        (RESOLVES, SILENT, connected(role=Role.OTHER_PORT, port=80)),
        Failure.TCP_DROPPED,
        BlockerKind.FIREWALL,
        confidence=Confidence.CERTAIN,
        scope=Scope.PORT,
        reasons=("the same address accepts another port",),
    ),
    Example(
        "silence, it passes through the proxy",
        (RESOLVES, SILENT, answered(role=Role.ALTERNATE)),
        Failure.TCP_DROPPED,
        BlockerKind.FIREWALL,
        confidence=Confidence.LIKELY,
    ),
    Example(
        "silence, and the last router before it is known",
        (RESOLVES, SILENT, hops((1, ROUTER), last=ROUTER)),
        Failure.TCP_DROPPED,
        BlockerKind.FIREWALL,
        confidence=Confidence.CERTAIN,
        address=ROUTER,
        reasons=(f"answered by {ROUTER} last",),
        hint=(f"on {ROUTER} or the next box behind it",),
        beside=(OTHER,),
    ),
    Example(
        "silence, though SYNs of growing TTL came to the host",
        (RESOLVES, SILENT, hops((1, ROUTER), last=ROUTER, reached=True)),
        Failure.TCP_DROPPED,
        confidence=Confidence.LIKELY,
        beside=(OTHER,),
    ),
    Example(
        "silence once, then it accepts: flaky, nobody is accused",
        (RESOLVES, SILENT, RETRY_PASSES),
        Failure.META_FLAKY,
        BlockerKind.UNKNOWN,
        Severity.WARNING,
        outcome=Outcome.DEGRADED,
        reasons=("alone, a moment later, the same address accepted",),
        beside=(OTHER,),
    ),
    Example(
        "silence among many, then it accepts, as for another: a limit",
        (RESOLVES, SILENT, RETRY_PASSES),
        Failure.TCP_RATE_LIMITED,
        BlockerKind.FIREWALL,
        Severity.BLOCKING,
        scope=Scope.SEVERAL,
        reasons=("alone, a moment later", "2 connections were late"),
        hint=("new-connection limit",),
        beside=(OTHER, ALONE_TWICE[0]),
    ),
    Example(
        "silence among many, no time to try again, and two others passed alone: a limit",
        (RESOLVES, SILENT),
        Failure.TCP_RATE_LIMITED,
        BlockerKind.FIREWALL,
        beside=(OTHER, *ALONE_TWICE),
    ),
    Example(
        "silence alone as well: two others that passed alone do not excuse it",
        (RESOLVES, SILENT, RETRY_SILENT),
        Failure.TCP_DROPPED,
        BlockerKind.FIREWALL,
        beside=(OTHER, *ALONE_TWICE),
    ),
    Example(
        "silence, at an address that DNS did not give",
        (RESOLVES, local(FOUR_TWO), connected(FOUR_TWO, seen=Seen.TIMEOUT)),
        Failure.DNS_LOCAL_OVERRIDE,
        BlockerKind.HOST,
        beside=(OTHER,),
    ),
    Example(
        "prohibited by this device",
        (RESOLVES, connected(seen=Seen.PERMISSION_DENIED, errno="EPERM", source=HERE)),
        Failure.TCP_LOCAL_BLOCK,
        BlockerKind.HOST,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        address=HERE,
        reasons=("forbidden at once by this device (EPERM)",),
        hint=("This device's own firewall",),
        beside=(OTHER,),
    ),
    Example(
        "nothing left this device",
        (RESOLVES, connected(seen=Seen.PERMISSION_DENIED, unsent=True)),
        Failure.TCP_LOCAL_BLOCK,
        BlockerKind.HOST,
        reasons=(f"no SYN to {ADDRESS} port 443 left this device",),
    ),
    Example(
        "no route here",
        (RESOLVES, connected(seen=Seen.NETWORK_UNREACHABLE, errno="ENETUNREACH", instant=True)),
        Failure.TCP_NO_ROUTE,
        BlockerKind.HOST,
        confidence=Confidence.CERTAIN,
        reasons=(f"{ADDRESS} port 443: ENETUNREACH",),
        hint=("this is routing, not policy",),
    ),
    Example(
        "no route, told later",
        (RESOLVES, connected(seen=Seen.HOST_UNREACHABLE)),
        Failure.TCP_NO_ROUTE,
        BlockerKind.UNKNOWN,
        reasons=("host_unreachable",),
    ),
    Example(
        "of two addresses, the ICMP error tells more than the silence",
        (RESOLVES, SILENT, icmp(3, 13, address=FOUR_TWO)),
        Failure.TCP_ICMP_ADMIN,
        address=ROUTER,
        reasons=(FOUR_TWO,),
    ),
]


@examples(UNCONNECTED)
def test_a_row_that_cannot_be_connected_to(example: Example) -> None:
    check(example)


@pytest.mark.parametrize(
    ("seen", "code", "blocker"),
    [
        (icmp(3, 9), Failure.TCP_ICMP_ADMIN, BlockerKind.FIREWALL),
        (icmp(3, 10), Failure.TCP_ICMP_ADMIN, BlockerKind.FIREWALL),
        (icmp(3, 13), Failure.TCP_ICMP_ADMIN, BlockerKind.FIREWALL),
        (icmp(3, 3), Failure.TCP_ICMP_PORT, BlockerKind.FIREWALL),
        (icmp(3, 0), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
        (icmp(3, 1), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
        (icmp(1, 1, "fe80::1"), Failure.TCP_ICMP_ADMIN, BlockerKind.FIREWALL),
        (icmp(1, 5, "fe80::1"), Failure.TCP_ICMP_ADMIN, BlockerKind.FIREWALL),
        (icmp(1, 4, "fe80::1"), Failure.TCP_ICMP_PORT, BlockerKind.FIREWALL),
        (icmp(1, 3, "fe80::1"), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
        # The same number says another thing in the other family.
        (icmp(3, 5), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
        (icmp(1, 13, "fe80::1"), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
        # This device's own rule says so.
        (icmp(3, 13, HERE), Failure.TCP_ICMP_ADMIN, BlockerKind.HOST),
        (icmp(3, 3, HERE), Failure.TCP_ICMP_PORT, BlockerKind.HOST),
        (icmp(3, 1, HERE), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
        # A file that somebody made.
        (icmp(3, [13]), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
        (icmp(3, {"code": 13}), Failure.TCP_NO_ROUTE, BlockerKind.UNKNOWN),
    ],
)
def test_icmp_errors(seen: Observation, code: Failure, blocker: BlockerKind) -> None:
    row = check(Example("", (RESOLVES, seen), code, blocker, confidence=Confidence.CERTAIN))
    assert row.finding
    told = seen.evidence["icmp"]
    assert isinstance(told, dict)
    assert row.finding.blocked_by.address == told["from"]
    assert f"ICMP type {told['type']} code {told['code']}" in row.finding.reasons[0]
    assert told["from"] in row.finding.hint


def test_an_icmp_error_without_a_sender_has_the_family_it_says_and_accuses_no_device() -> None:
    seen = connected(SIX, seen=Seen.HOST_UNREACHABLE, icmp={"family": 6, "type": 1, "code": 1})
    check(Example("", (RESOLVES, seen), Failure.TCP_ICMP_ADMIN, BlockerKind.FIREWALL, address=""))


OTHER_PORT_PASSES = connected(role=Role.OTHER_PORT, port=80, rtt_ms=40.0)
OTHER_PORT_REFUSED = connected(role=Role.OTHER_PORT, seen=Seen.CONNECTION_REFUSED, port=80)
HOST_80 = distance(50, "syn_ack", port=80)
BY_HOST = {"blocker": BlockerKind.SERVER, "hint": ("No firewall change helps",)}
BY_BOX = {"blocker": BlockerKind.FIREWALL, "confidence": Confidence.CERTAIN, "hint": ("A box on the way",)}


def refused(name: str, *controls: Observation, code: Failure, **expected: Any) -> Example:
    """Give an example of a row whose SYN was answered with a reset."""
    return Example(name, (RESOLVES, REFUSED, *controls), code, beside=(OTHER,), **expected)


RESET = [
    refused(
        "nothing else is known: the simpler reading",
        code=Failure.TCP_REFUSED_HOST,
        confidence=Confidence.LIKELY,
        reasons=("answered with a reset", "nothing shows another sender"),
        **BY_HOST,
    ),
    refused(
        "from as far as the host's own answer",
        distance(50),
        HOST_80,
        code=Failure.TCP_REFUSED_HOST,
        confidence=Confidence.CERTAIN,
        reasons=("the same TTL 50",),
        **BY_HOST,
    ),
    refused(
        "from nearer than the host's own answer",
        distance(62),
        HOST_80,
        code=Failure.TCP_RESET_MIDDLEBOX,
        reasons=("TTL 62", "the host's own answer on another port with 50"),
        address="",
        **BY_BOX,
    ),
    refused(
        "from nearer, and the router there is known",
        distance(62),
        HOST_80,
        hops((2, "10.2.2.2"), (3, "10.3.3.3")),
        code=Failure.TCP_RESET_MIDDLEBOX,
        address="10.3.3.3",
        reasons=(f"{ADDRESS} port 443 was answered with a reset",),
        **BY_BOX,
    ),
    refused(
        "from nearer, and the router there did not answer",
        distance(62),
        HOST_80,
        hops((2, "10.2.2.2")),
        code=Failure.TCP_RESET_MIDDLEBOX,
        address="",
        **BY_BOX,
    ),
    refused(
        "from nearer than any server is",
        distance(64),
        distance(50, "syn_ack", OTHER_ADDRESS),
        code=Failure.TCP_RESET_MIDDLEBOX,
        reasons=("answers of other servers",),
        **BY_BOX,
    ),
    refused(
        "from farther than another server: that proves nothing",
        distance(48),
        distance(50, "syn_ack", OTHER_ADDRESS),
        code=Failure.TCP_REFUSED_HOST,
        confidence=Confidence.CERTAIN,
        **BY_HOST,
    ),
    refused(
        "how far the reset came is known, and nothing to hold it against",
        distance(62),
        distance(50, "rst", port=80),
        code=Failure.TCP_REFUSED_HOST,
        confidence=Confidence.LIKELY,
        **BY_HOST,
    ),
    refused(
        "asked again, the port accepted",
        distance(62, "syn_ack"),
        HOST_80,
        code=Failure.TCP_REFUSED_HOST,
        confidence=Confidence.LIKELY,
        **BY_HOST,
    ),
    refused(
        "much earlier than the host's own answer",
        OTHER_PORT_PASSES,
        code=Failure.TCP_RESET_MIDDLEBOX,
        reasons=("the reset took 1.0 ms, the host's own answer on another port 40.0 ms",),
        **BY_BOX,
    ),
    refused(
        "as early as the host's own answer",
        replace(OTHER_PORT_PASSES, evidence={**OTHER_PORT_PASSES.evidence, "rtt_ms": 3.9}),
        code=Failure.TCP_REFUSED_HOST,
        **BY_HOST,
    ),
    refused(
        "another port refuses, too: its time shows nothing",
        OTHER_PORT_REFUSED,
        code=Failure.TCP_REFUSED_HOST,
        **BY_HOST,
    ),
]


@examples(RESET)
def test_who_sent_the_reset(example: Example) -> None:
    check(example)


@pytest.mark.parametrize("ttl", [0, -1, 256, 10**400, 62.0, "62", None, [62]])
def test_a_distance_that_no_packet_can_have_is_none(ttl: Any) -> None:
    check(refused("", distance(ttl), HOST_80, code=Failure.TCP_REFUSED_HOST, confidence=Confidence.LIKELY))


@pytest.mark.parametrize("ttl", [1, 255])
def test_the_nearest_and_the_farthest_sender(ttl: int) -> None:
    check(refused("", distance(ttl), HOST_80, code=Failure.TCP_RESET_MIDDLEBOX))


def test_a_reset_to_the_syn_on_the_way_is_like_a_refusal() -> None:
    seen = (RESOLVES, connected(seen=Seen.CONNECTION_RESET), distance(64), HOST_80)
    check(Example("", seen, Failure.TCP_RESET_MIDDLEBOX, BlockerKind.FIREWALL))


OPAQUE = target(port=9000, kind=Kind.OPAQUE)
ACCEPTED = (RESOLVES, connected(port=9000))
NOWHERE = connected("192.0.2.1", role=Role.UNROUTABLE, port=9000)
SIX_SILENT = connected(SIX, seen=Seen.TIMEOUT)
FOUR_SILENT = connected(seen=Seen.TIMEOUT)
REST = WELL[2:]


def slow(count: int) -> tuple[Beside, ...]:
    """Give rows that connected only after a repeated SYN."""
    return tuple(passing(f"h{n}.n{n}.test", f"20.0.5.{n}", syns=2) for n in range(count))


LATE = (RESOLVES, connected(syns=2), *REST, RETRY_PASSES)

PARTLY = [
    Example("an opaque port that accepts", ACCEPTED, None, target=OPAQUE),
    Example(
        "an opaque port, and TEST-NET accepts as well",
        ACCEPTED,
        Failure.TCP_FAKE_ACCEPT,
        BlockerKind.FIREWALL,
        Severity.UNKNOWN,
        Confidence.CERTAIN,
        scope=Scope.ALL,
        outcome=Outcome.UNEXPLAINED,
        reasons=("an address that no network has",),
        hint=("transparent proxy",),
        target=OPAQUE,
        shared=(NOWHERE,),
    ),
    Example(
        "an opaque port, and TEST-NET accepts on another",
        ACCEPTED,
        None,
        target=OPAQUE,
        shared=(replace(NOWHERE, evidence={"address": "192.0.2.1", "port": 9001}),),
    ),
    Example(
        "an opaque port, and TEST-NET is silent",
        ACCEPTED,
        None,
        target=OPAQUE,
        shared=(replace(NOWHERE, seen=Seen.TIMEOUT),),
    ),
    Example(
        "TEST-NET accepts, but the service itself spoke",
        WELL,
        None,
        shared=(replace(NOWHERE, evidence={"address": "192.0.2.1", "port": 443}),),
    ),
    Example(
        "IPv6 is silent, IPv4 accepts",
        (RESOLVES, SIX_SILENT, connected(), *REST),
        Failure.IP_V6_BROKEN,
        BlockerKind.FIREWALL,
        Severity.WARNING,
        Confidence.CERTAIN,
        address="",
        scope=Scope.FAMILY,
        outcome=Outcome.DEGRADED,
        reasons=(f"{SIX} port 443: generic_timeout_error", "the IPv4 addresses accept"),
        hint=("repair the IPv6 route",),
        others=(),
    ),
    Example(
        "IPv6 is prohibited by a router, IPv4 accepts",
        (RESOLVES, SIX_SILENT, icmp(1, 1, "fe80::1", SIX_TWO), connected(), *REST),
        Failure.IP_V6_BROKEN,
        BlockerKind.FIREWALL,
        address="fe80::1",
    ),
    Example(
        "no IPv6 here: nothing was even sent",
        (RESOLVES, connected(SIX, seen=Seen.NETWORK_UNREACHABLE, instant=True), connected(), *REST),
        None,
    ),
    Example(
        "one of two IPv6 addresses is silent",
        (RESOLVES, SIX_SILENT, connected(SIX_TWO), connected(), *REST),
        Failure.META_FLAKY,
        BlockerKind.FIREWALL,
        Severity.WARNING,
        scope=Scope.ADDRESS,
        reasons=(f"1 of 2 addresses fail: {SIX} (generic_timeout_error)",),
        others=(),
    ),
    Example(
        "one of two IPv4 addresses is prohibited",
        (RESOLVES, icmp(3, 13, address=FOUR_TWO), connected(), *REST),
        Failure.META_FLAKY,
        BlockerKind.FIREWALL,
        address=ROUTER,
        scope=Scope.ADDRESS,
    ),
    Example(
        "IPv4 is silent, IPv6 accepts",
        (RESOLVES, FOUR_SILENT, connected(SIX), *REST),
        Failure.META_FLAKY,
        BlockerKind.FIREWALL,
        scope=Scope.FAMILY,
        reasons=("1 of 1 addresses fail",),
    ),
    Example(
        "no IPv4 here: nothing was even sent",
        (RESOLVES, connected(seen=Seen.NETWORK_UNREACHABLE, instant=True), connected(SIX), *REST),
        None,
    ),
    Example(
        "a second SYN was needed, as for many, and one is enough alone",
        LATE,
        Failure.TCP_RATE_LIMITED,
        BlockerKind.FIREWALL,
        Severity.WARNING,
        scope=Scope.ALL,
        reasons=("3 of 3 connections needed more than one SYN", "alone, one SYN is enough"),
        beside=slow(2),
    ),
    Example("a second SYN was needed, as for one other: losses", LATE, None, beside=slow(1)),
    Example(
        "a second SYN was needed by three of forty: losses",
        LATE,
        None,
        beside=(*slow(2), *(passing(f"w{n}.m{n}.test", f"20.0.8.{n}") for n in range(37))),
    ),
    Example("one SYN was enough, whatever the others needed", (*WELL, RETRY_PASSES), None, beside=slow(3)),
    Example(
        "the SYNs to an address that never accepted do not count",
        (RESOLVES, connected(SIX, seen=Seen.TIMEOUT, syns=3), connected(), *REST, RETRY_PASSES),
        Failure.IP_V6_BROKEN,
        others=(),
        beside=slow(3),
    ),
    Example("a second SYN was needed, alone was not tried", LATE[:-1], None, beside=slow(2)),
    Example(
        "a second SYN was needed alone as well: a bad line, no limit",
        (*LATE[:-1], connected(role=Role.RETRY, syns=2)),
        None,
        beside=slow(2),
    ),
    Example(
        "through a proxy, what the proxy's addresses do is no matter of the row",
        (connected("10.0.0.81", seen=Seen.TIMEOUT, via=PROXIED.route.proxy.url), *WELL_PROXIED),
        None,
        target=PROXIED,
    ),
]


@examples(PARTLY)
def test_a_row_that_connected_all_the_same(example: Example) -> None:
    check(example)


def stopped(host: str, address: str) -> Beside:
    """Give another row that fell silent inside TLS with the service's own certificate."""
    return target(host), (
        resolved(address, name=host),
        connected(address),
        shaken(server_name=host, address=address),
        answered(Seen.TIMEOUT),
    )


STOPPED = (*WELL[:3], answered(Seen.TIMEOUT))


@examples(
    [
        Example(
            "several fall silent where no filter can read: the line is slow",
            STOPPED,
            Failure.NET_SLOW,
            BlockerKind.UNKNOWN,
            Severity.UNKNOWN,
            scope=Scope.SEVERAL,
            reasons=("2 rows fell silent inside TLS",),
            beside=(OTHER, stopped("s.slow.test", "20.0.3.1")),
        ),
    ]
)
def test_a_slow_line(example: Example) -> None:
    check(example)


def test_one_row_that_falls_silent_inside_tls_shows_no_slow_line() -> None:
    assert Example("", STOPPED, None, beside=(OTHER,)).row().failure is not Failure.NET_SLOW
