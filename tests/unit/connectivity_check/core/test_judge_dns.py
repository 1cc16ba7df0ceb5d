"""Rows that fail at the name, or behind a wrong answer for it: what the resolver did, and whether it was it."""

from __future__ import annotations

from typing import Any

import pytest

from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    BlockerKind,
    Confidence,
    Json,
    Kind,
    Observation,
    Outcome,
    Role,
    Scope,
)
from tests.unit.connectivity_check.core.cases import (
    ADDRESS,
    HOST,
    OTHER,
    PROXIED,
    RESOLVER,
    WELL,
    WELL_PROXIED,
    Beside,
    Example,
    answered,
    certificate,
    check,
    connected,
    examples,
    passing,
    resolved,
    shaken,
    target,
)

SECOND = "10.0.0.54"
ELSEWHERE = "20.0.7.7"
SINK = "20.0.6.6"
"""A global address at which nothing works."""


def unresolved(seen: Seen, rcode: str = "", **evidence: Any) -> Observation:
    """Give a look-up of the row that failed."""
    return resolved(seen=seen, **({"rcode": rcode} if rcode else {}) | evidence)


def second(*addresses: str, seen: Seen | None = None, **evidence: Any) -> Observation:
    """Give the same question to another resolver."""
    return resolved(*addresses, seen=seen, role=Role.OTHER_RESOLVER, resolver=SECOND, **evidence)


def local(*addresses: str) -> Observation:
    """Give what the system's own look-up says."""
    return resolved(*addresses, role=Role.GETADDRINFO, resolver="", transport="system")


def answers(*found: tuple[str, str, str, list[str]], sent: int = 1, **evidence: Any) -> dict[str, Json]:
    """Give the evidence of several answers to one question: (from, type, rcode, addresses) each."""
    listed = [dict(zip(("from", "type", "rcode", "addresses"), each, strict=True)) for each in found]
    return {"answers": listed, "sent": sent} | evidence  # type: ignore[dict-item]  # a list is Json


NXDOMAIN = unresolved(Seen.DNS_NXDOMAIN, "NXDOMAIN")
SILENT = connected(seen=Seen.TIMEOUT, syns=3)
CUT = shaken(Seen.CONNECTION_RESET)
LOOKS_UP = {"blocker": BlockerKind.RESOLVER, "address": RESOLVER, "severity": Severity.BLOCKING}

UNRESOLVED = [
    Example(
        "no such name, others resolve",
        (NXDOMAIN,),
        Failure.DNS_NXDOMAIN,
        confidence=Confidence.LIKELY,
        scope=Scope.ENDPOINT,
        outcome=Outcome.BLOCKED,
        reasons=(f"resolver {RESOLVER} answered NXDOMAIN for {HOST}", "1 other names resolve"),
        hint=(RESOLVER, HOST, "response policy"),
        beside=(OTHER,),
        **LOOKS_UP,
    ),
    Example(
        "no such name, and nobody else's either",
        (NXDOMAIN,),
        Failure.DNS_NXDOMAIN,
        scope=Scope.ALL,
        **LOOKS_UP,
    ),
    Example(
        "no such name, another resolver has it",
        (NXDOMAIN, second(ADDRESS)),
        Failure.DNS_NXDOMAIN,
        confidence=Confidence.CERTAIN,
        reasons=(f"resolver {SECOND} gives {ADDRESS}",),
        beside=(OTHER,),
        **LOOKS_UP,
    ),
    Example(
        "no such name, another resolver says so too",
        (NXDOMAIN, second(seen=Seen.DNS_NXDOMAIN, rcode="NXDOMAIN")),
        Failure.DNS_NXDOMAIN,
        confidence=Confidence.LIKELY,
        reasons=(f"resolver {SECOND} fails as well: dns_nxdomain_error",),
        **LOOKS_UP,
    ),
    Example(
        "no such name, the resolver says that it censors",
        (unresolved(Seen.DNS_NXDOMAIN, "NXDOMAIN", ede=[{"code": 15, "text": "policy 7"}]),),
        Failure.DNS_NXDOMAIN,
        confidence=Confidence.CERTAIN,
        reasons=("EDE 15 policy 7",),
        **LOOKS_UP,
    ),
    Example(
        "an EDE that tells of a fault is no confession",
        (unresolved(Seen.DNS_SERVFAIL, "SERVFAIL", ede=[{"code": 22}]),),
        Failure.DNS_SERVFAIL,
        confidence=Confidence.LIKELY,
        reasons=("EDE 22",),
        hint=("DNSSEC",),
        **LOOKS_UP,
    ),
    Example(
        "no data",
        (unresolved(Seen.DNS_NO_ANSWER, "NOERROR"),),
        Failure.DNS_NODATA,
        reasons=(f"answered NOERROR without any address for {HOST}",),
        **LOOKS_UP,
    ),
    Example(
        "no data, a public address elsewhere",
        (unresolved(Seen.DNS_NO_ANSWER, "NOERROR"), second(ADDRESS)),
        Failure.DNS_NODATA,
        confidence=Confidence.CERTAIN,
        **LOOKS_UP,
    ),
    Example(
        "no data, a private address elsewhere: rebind protection",
        (unresolved(Seen.DNS_NO_ANSWER, "NOERROR"), second("10.9.9.9")),
        Failure.DNS_PRIVATE_ANSWER,
        reasons=("another resolver gives a private address",),
        hint=("rebind protection",),
        **LOOKS_UP,
    ),
    Example(
        "no such name, a private address elsewhere: that is no rebind protection",
        (NXDOMAIN, second("10.9.9.9")),
        Failure.DNS_NXDOMAIN,
        **LOOKS_UP,
    ),
    Example("refused", (unresolved(Seen.DNS_REFUSED, "REFUSED"),), Failure.DNS_REFUSED, **LOOKS_UP),
    Example(
        "a bogon",
        (resolved("0.0.0.0", seen=Seen.DNS_BOGON),),
        Failure.DNS_SINKHOLE,
        confidence=Confidence.CERTAIN,
        reasons=(f"resolver {RESOLVER} answered 0.0.0.0 for {HOST}",),
        hint=("DNS filter",),
        **LOOKS_UP,
    ),
    Example(
        "what has no code of its own",
        (unresolved(Seen.OTHER),),
        Failure.DNS_SERVFAIL,
        reasons=("answered unknown_failure",),
    ),
    Example(
        "no answer, TCP gets one",
        (unresolved(Seen.TIMEOUT), resolved(ADDRESS, role=Role.DNS_TCP, transport="tcp")),
        Failure.DNS_TIMEOUT,
        reasons=("did not answer", "only UDP is cut", "1 other names are answered"),
        hint=("udp/53",),
        beside=(OTHER,),
        **LOOKS_UP,
    ),
    Example(
        "no answer to anybody",
        (unresolved(Seen.TIMEOUT), resolved(seen=Seen.TIMEOUT, role=Role.DNS_TCP, transport="tcp")),
        Failure.DNS_TIMEOUT,
        scope=Scope.ALL,
        reasons=("no other name is answered",),
        **LOOKS_UP,
    ),
    Example("the resolver's port is closed", (unresolved(Seen.CONNECTION_REFUSED),), Failure.DNS_TIMEOUT),
    Example("this device forbids to ask", (unresolved(Seen.PERMISSION_DENIED),), Failure.TCP_LOCAL_BLOCK),
    Example(
        "TEST-NET answers: somebody on the way speaks for everybody",
        (NXDOMAIN, resolved(role=Role.UNROUTABLE, seen=Seen.DNS_NXDOMAIN, rcode="NXDOMAIN")),
        Failure.DNS_INJECTED,
        BlockerKind.FIREWALL,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        reasons=("192.0.2.1, where no resolver is, answered NXDOMAIN",),
        hint=("in its place", HOST),
    ),
    Example(
        "TEST-NET is silent",
        (NXDOMAIN, resolved(role=Role.UNROUTABLE, seen=Seen.TIMEOUT)),
        Failure.DNS_NXDOMAIN,
        **LOOKS_UP,
    ),
    Example(
        "TEST-NET is unreachable: no rcode, no answer",
        (NXDOMAIN, resolved(role=Role.UNROUTABLE, seen=Seen.NETWORK_UNREACHABLE)),
        Failure.DNS_NXDOMAIN,
        **LOOKS_UP,
    ),
    Example(
        "an answer from where nobody was asked",
        (unresolved(Seen.DNS_NXDOMAIN, "NXDOMAIN", wrong_source=["10.6.6.6"]),),
        Failure.DNS_INJECTED,
        BlockerKind.FIREWALL,
        reasons=("an answer came from 10.6.6.6, not asked",),
    ),
    Example(
        "two answers to one question, the name exists and does not",
        (
            NXDOMAIN,
            resolved(
                ADDRESS,
                role=Role.RETRY,
                **answers((RESOLVER, "A", "NXDOMAIN", []), (RESOLVER, "A", "NOERROR", [ADDRESS])),
            ),
        ),
        Failure.DNS_INJECTED,
        BlockerKind.FIREWALL,
        confidence=Confidence.CERTAIN,
        reasons=("answers that exclude each other",),
    ),
    Example(
        "the system's look-up knows the name, and its address was used: a hosts file",
        (
            unresolved(Seen.DNS_NXDOMAIN, "NXDOMAIN"),
            local(SINK),
            connected(SINK, seen=Seen.TIMEOUT),
        ),
        Failure.DNS_LOCAL_OVERRIDE,
        BlockerKind.HOST,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        reasons=(f"own look-up says {SINK}", "DNS gives no address"),
        hint=("hosts file", HOST),
    ),
    Example(
        "the system's look-up knows the name, but nobody went there",
        (NXDOMAIN, local(SINK)),
        Failure.DNS_NXDOMAIN,
    ),
]


@examples(UNRESOLVED)
def test_a_name_that_does_not_resolve(example: Example) -> None:
    check(example)


@pytest.mark.parametrize(
    ("code", "confesses"),
    [
        (3, False),
        (4, True),
        (5, False),
        (14, False),
        (15, True),
        (16, True),
        (17, True),
        (18, True),
        (19, False),
    ],
)
def test_the_codes_by_which_a_resolver_says_that_it_forges(code: int, confesses: bool) -> None:
    sure = Confidence.CERTAIN if confesses else Confidence.LIKELY
    seen = unresolved(Seen.DNS_NXDOMAIN, "NXDOMAIN", ede=[{"code": code}])
    check(Example("", (seen,), Failure.DNS_NXDOMAIN, confidence=sure))


TWICE = answers((RESOLVER, "A", "NOERROR", [SINK]), (RESOLVER, "A", "NOERROR", [ADDRESS]))


@pytest.mark.parametrize(
    ("evidence", "injected"),
    [
        pytest.param(TWICE, True, id="one question, two answers without an address in both"),
        pytest.param(TWICE | {"sent": 2}, False, id="asked twice, and the addresses rotate"),
        pytest.param(
            answers((RESOLVER, "A", "NOERROR", [ADDRESS, SINK]), (RESOLVER, "A", "NOERROR", [ADDRESS])),
            False,
            id="parts of a round robin",
        ),
        pytest.param(
            answers((RESOLVER, "A", "NOERROR", []), (RESOLVER, "A", "NOERROR", [ADDRESS])),
            True,
            id="an empty answer and a full one",
        ),
        pytest.param(
            answers((RESOLVER, "A", "NOERROR", [ADDRESS]), (RESOLVER, "AAAA", "NOERROR", [])),
            False,
            id="two types are two questions",
        ),
        pytest.param(
            answers((RESOLVER, "A", "NOERROR", [ADDRESS]), (SECOND, "A", "NOERROR", [SINK])),
            False,
            id="two resolvers may differ",
        ),
        pytest.param(
            answers((RESOLVER, "A", "NXDOMAIN", []), (RESOLVER, "A", "NXDOMAIN", [])),
            False,
            id="the same answer twice is a duplicated packet",
        ),
        pytest.param(
            {"answers": [{"rcode": "NOERROR", "addresses": "20.0.0.1"}] * 2},
            False,
            id="addresses that are no list are none",
        ),
    ],
)
def test_answers_that_exclude_each_other(evidence: dict[str, Json], injected: bool) -> None:
    example = Example(
        "", (resolved(ADDRESS, **evidence), SILENT), Failure.DNS_INJECTED if injected else Failure.TCP_DROPPED,
        BlockerKind.FIREWALL, beside=(OTHER,),
    )  # fmt: skip
    check(example)


def sunk(host: str, address: str = SINK) -> Beside:
    """Give another row whose name leads to nowhere."""
    return target(host), (
        resolved(address, name=host),
        connected(address, seen=Seen.TIMEOUT, syns=3),
    )


SUNK = (resolved(SINK), connected(SINK, seen=Seen.TIMEOUT, syns=3))
FRONT = (resolved(SINK, cnames=["edge.cdn.example"]), *SUNK[1:])

WRONG_ADDRESS = [
    Example(
        "right address, silence",
        (resolved(ADDRESS), SILENT),
        Failure.TCP_DROPPED,
        BlockerKind.FIREWALL,
        beside=(OTHER,),
    ),
    Example(
        "a hosts file sends it elsewhere than DNS does",
        (resolved(ADDRESS), local(SINK), SILENT),
        Failure.DNS_LOCAL_OVERRIDE,
        BlockerKind.HOST,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        reasons=(f"own look-up says {SINK}", f"DNS says {ADDRESS}"),
        beside=(OTHER,),
    ),
    Example(
        "a look-up of the system that agrees with DNS",
        (resolved(ADDRESS), local(SINK, ADDRESS), SILENT),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "a look-up of the system that failed",
        (resolved(ADDRESS), local(), SILENT),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "a name that cannot exist gets the same address",
        (*SUNK, resolved(SINK, role=Role.RANDOM_NAME, name="qzx.example.com")),
        Failure.DNS_NX_REWRITE,
        BlockerKind.RESOLVER,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        address=RESOLVER,
        scope=Scope.ALL,
        reasons=("qzx.example.com, which does not exist",),
        beside=(OTHER,),
    ),
    Example(
        "a name that cannot exist gets another address",
        (*SUNK, resolved(ELSEWHERE, role=Role.RANDOM_NAME, name="qzx.example.com")),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "a private address that does not answer",
        (resolved("10.9.9.9"), connected("10.9.9.9", seen=Seen.TIMEOUT)),
        Failure.DNS_PRIVATE_ANSWER,
        BlockerKind.RESOLVER,
        Severity.BLOCKING,
        Confidence.LIKELY,
        address=RESOLVER,
        reasons=(f"resolver {RESOLVER} gives 10.9.9.9", "no privatelink name"),
        hint=(HOST,),
        beside=(OTHER,),
    ),
    Example(
        "a private address by Private Link that does not answer",
        (
            resolved("10.9.9.9", cnames=["x.privatelink.vendor.example"]),
            connected("10.9.9.9", seen=Seen.TIMEOUT),
        ),
        Failure.DNS_PRIVATE_ANSWER,
        reasons=("goes through privatelink",),
        beside=(OTHER,),
    ),
    Example(
        "a private address that is meant",
        (resolved("10.9.9.9"), connected("10.9.9.9", seen=Seen.TIMEOUT)),
        Failure.TCP_DROPPED,
        target=target(private_ok=True),
        beside=(OTHER,),
    ),
    Example(
        "the target is an address itself: the list asked for it",
        (resolved("10.9.9.9", transport="literal"), connected("10.9.9.9", seen=Seen.TIMEOUT)),
        Failure.TCP_DROPPED,
        target=target("10.9.9.9"),
        beside=(OTHER,),
    ),
    Example(
        "a private address among public ones",
        (resolved("10.9.9.9", ADDRESS), SILENT),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "what is no address is not private",
        (resolved("10.9.9.999"), SILENT),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "a private IPv6 address",
        (resolved("fd00::1"), connected("fd00::1", seen=Seen.TIMEOUT)),
        Failure.DNS_PRIVATE_ANSWER,
        beside=(OTHER,),
    ),
    Example(
        "other addresses elsewhere, and the service is there",
        (resolved(SINK), CUT, second(ELSEWHERE), shaken(role=Role.OTHER_RESOLVER, address=ELSEWHERE)),
        Failure.DNS_INCONSISTENT,
        BlockerKind.RESOLVER,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        address=RESOLVER,
        reasons=(f"gives {SINK}", f"another resolver gives {ELSEWHERE}", f"at {ELSEWHERE} the certificate"),
        hint=(RESOLVER, HOST),
        beside=(OTHER,),
    ),
    Example(
        "other addresses elsewhere, and there it fails as well",
        (
            resolved(ADDRESS),
            SILENT,
            second(ELSEWHERE),
            shaken(Seen.TIMEOUT, role=Role.OTHER_RESOLVER, address=ELSEWHERE),
        ),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "other addresses elsewhere, and there is another service",
        (
            resolved(ADDRESS),
            SILENT,
            second(ELSEWHERE),
            shaken(
                Seen.TLS_INVALID_HOSTNAME,
                role=Role.OTHER_RESOLVER,
                address=ELSEWHERE,
                chain=[certificate("other.test")],
            ),
        ),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "other addresses elsewhere that no server can have",
        (resolved(ADDRESS), SILENT, second("192.0.2.7")),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "the same address elsewhere, where a handshake was good once",
        (resolved(ADDRESS), SILENT, second(ADDRESS, ELSEWHERE), shaken(role=Role.OTHER_RESOLVER)),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "an answer without addresses is no private one",
        (resolved(), SILENT),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "the same address elsewhere",
        (resolved(ADDRESS), SILENT, second(ADDRESS, ELSEWHERE)),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
    Example(
        "one address for unrelated names, nothing works at it, others pass",
        SUNK,
        Failure.DNS_SINKHOLE,
        BlockerKind.RESOLVER,
        Severity.BLOCKING,
        Confidence.LIKELY,
        address=RESOLVER,
        reasons=(f"{SINK} is the only address of unrelated names: ads.test, vendor.example", "nothing works"),
        beside=(OTHER, sunk("a.ads.test")),
    ),
    Example(
        "one address for names of one domain: its own front end",
        SUNK,
        Failure.TCP_DROPPED,
        beside=(OTHER, sunk("www.vendor.example")),
    ),
    Example(
        "one address for unrelated names, by a CNAME: a front end of a CDN",
        FRONT,
        Failure.TCP_DROPPED,
        beside=(OTHER, sunk("a.ads.test")),
    ),
    Example(
        "one address for unrelated names, and somebody passes there",
        SUNK,
        Failure.TCP_DROPPED,
        beside=(passing(address=SINK), sunk("a.ads.test")),
    ),
    Example(
        "several addresses are no sinkhole",
        (resolved(SINK, ELSEWHERE), *SUNK[1:]),
        Failure.TCP_DROPPED,
        beside=(OTHER, sunk("a.ads.test")),
    ),
    Example(
        "two names at one address, nobody passes: not enough",
        SUNK,
        Failure.META_UNEXPLAINED,
        beside=(sunk("a.ads.test"),),
    ),
    Example(
        "three names at one address, nobody passes",
        SUNK,
        Failure.DNS_SINKHOLE,
        beside=(sunk("a.ads.test"), sunk("b.more.test")),
    ),
    Example(
        "no look-up at all: an address of one's own",
        (SILENT,),
        Failure.TCP_DROPPED,
        beside=(OTHER,),
    ),
]


@examples(WRONG_ADDRESS)
def test_a_row_sent_to_the_wrong_place(example: Example) -> None:
    check(example)


WELL_AT_PRIVATE = (
    resolved("10.9.9.9"),
    connected("10.9.9.9"),
    shaken(address="10.9.9.9"),
    answered(),
)
NOT_HERE = resolved(seen=Seen.DNS_NXDOMAIN, role=Role.ALTERNATE, rcode="NXDOMAIN")

PASSING = [
    Example("well", WELL, None),
    Example(
        "well, by a hosts file",
        (*WELL, local(SINK)),
        Failure.DNS_LOCAL_OVERRIDE,
        BlockerKind.HOST,
        Severity.WARNING,
        outcome=Outcome.DEGRADED,
    ),
    Example(
        "only accepting a connection does not show that a hosts file is right",
        (resolved(ADDRESS), connected(), local(SINK)),
        Failure.DNS_LOCAL_OVERRIDE,
        BlockerKind.HOST,
        Severity.BLOCKING,
        target=target(port=9000, kind=Kind.OPAQUE),
    ),
    Example(
        "well, at a private address",
        WELL_AT_PRIVATE,
        Failure.DNS_PRIVATE_ANSWER,
        BlockerKind.RESOLVER,
        Severity.WARNING,
    ),
    Example(
        "well, at a private address by Private Link",
        (resolved("10.9.9.9", cnames=["x.privatelink.vendor.example"]), *WELL_AT_PRIVATE[1:]),
        None,
    ),
    Example(
        "well through a proxy, the name resolves for the proxy only",
        (*WELL_PROXIED, NOT_HERE),
        Failure.DNS_PROXY_ONLY,
        BlockerKind.RESOLVER,
        Severity.INFO,
        Confidence.CERTAIN,
        address=RESOLVER,
        outcome=Outcome.REACHABLE,
        reasons=(f"answered NXDOMAIN for {HOST}", "the proxy reaches the name"),
        hint=("Nothing to change",),
        target=PROXIED,
    ),
    Example(
        "well through a proxy, the name resolves here as well",
        (*WELL_PROXIED, resolved(ADDRESS, role=Role.ALTERNATE)),
        None,
        target=PROXIED,
    ),
]


@examples(PASSING)
def test_what_is_odd_about_the_name_of_a_row_that_passes(example: Example) -> None:
    check(example)
