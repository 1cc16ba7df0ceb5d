"""From a recording to a report: rows in order, the end of a chain, what cannot be tried, services that are down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectivity_check.core.analyze import judge
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    BlockerKind,
    Confidence,
    Kind,
    Observation,
    Outcome,
    ProxyServer,
    Recording,
    Role,
    Route,
    Scope,
    Step,
    Target,
)
from tests.unit.connectivity_check.core.cases import (
    ADDRESS,
    HOST,
    OTHER,
    PLAIN_TARGET,
    PROXIED,
    PROXY,
    TARGET,
    VIA,
    WELL,
    WELL_PROXIED,
    Example,
    answered,
    check,
    connected,
    examples,
    resolved,
    saw,
    shaken,
    target,
    tunnelled,
)

SILENT = (WELL[0], connected(seen=Seen.TIMEOUT, syns=3))


def test_every_target_gets_a_row_in_order() -> None:
    targets = tuple(target(f"h{n}.test") for n in range(3))
    report = judge(Recording(targets, (WELL, (), SILENT), unfinished=frozenset({1})))
    assert [row.target for row in report.rows] == list(targets)
    assert [row.outcome for row in report.rows] == [
        Outcome.REACHABLE,
        Outcome.UNEXPLAINED,
        Outcome.BLOCKED,
    ]
    assert [row.partial for row in report.rows] == [False, True, False]
    assert report.interrupted
    assert report.count(Outcome.BLOCKED) == 1


def test_a_recording_with_more_rows_than_observations_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        judge(Recording((TARGET,), ()))


def test_no_rows() -> None:
    report = judge(Recording((), ()))
    assert (report.rows, report.findings, report.interrupted) == ((), (), False)


def test_the_worst_finding_decides_and_the_others_stay() -> None:
    """Row by row: info, warning and blocking at once."""
    row = Example(
        "",
        (
            resolved("10.1.2.3"),
            connected("10.1.2.3"),
            shaken(verified_public="unknown CA", root_common_name="Corp Root"),
            answered(),
            shaken(role=Role.ALPN, alpn="http/1.1"),
        ),
        None,
    ).row()
    assert row.failure is Failure.TLS_INTERCEPT_TRUSTED
    assert row.outcome is Outcome.BLOCKED
    assert [each.failure for each in row.others] == [Failure.DNS_PRIVATE_ANSWER, Failure.HTTP_VERSION]


def test_the_time_of_a_row_is_from_its_first_begin_to_its_last_end() -> None:
    chain = (
        replace(WELL[0], started_s=2.0, took_s=0.5),
        replace(WELL[1], started_s=2.5, took_s=0.25),
        replace(answered(role=Role.RETRY), started_s=1.5, took_s=9.0),
    )
    assert Example("", chain, None).row().took_s == pytest.approx(9.0)
    assert Example("", (), None).row().took_s == 0.0


ENDS = (
    Example("a whole chain", WELL, None),
    Example("a whole chain through a proxy", WELL_PROXIED, None, target=PROXIED),
    Example(
        "nothing was done",
        (),
        Failure.META_INTERRUPTED,
        outcome=Outcome.UNEXPLAINED,
        severity=Severity.UNKNOWN,
        confidence=Confidence.UNEXPLAINED,
        reasons=("before this row began",),
        hint=("--deadline",),
        partial=True,
    ),
    Example(
        "cut off after a good step",
        WELL[:2],
        Failure.META_INTERRUPTED,
        reasons=("during or after connect",),
        partial=True,
    ),
    Example(
        "cut off after all steps, before the controls: not yet a pass",
        WELL,
        Failure.META_INTERRUPTED,
        partial=True,
    ),
    Example("failed before the end of the run", SILENT, Failure.TCP_DROPPED, beside=(OTHER,), partial=True),
    Example(
        "the step itself was cut off",
        (WELL[0], connected(seen=Seen.INTERRUPTED)),
        Failure.META_INTERRUPTED,
        beside=(OTHER,),
        partial=True,
    ),
    Example("a look-up that was cut off, whatever came after it", (
        resolved(seen=Seen.INTERRUPTED), *WELL[1:]), Failure.META_INTERRUPTED),
    Example(
        "the same, and nobody says that the row is not done",
        (WELL[0], connected(seen=Seen.INTERRUPTED)),
        Failure.META_INTERRUPTED,
        beside=(OTHER,),
    ),
    *(
        Example(f"the chain ends after {n} good steps for no known reason", WELL[:n], Failure.META_INTERRUPTED)
        for n in range(4)
    ),
    Example("controls that pass are no pass", tuple(replace(each, role=Role.ALTERNATE) for each in WELL),
            Failure.META_INTERRUPTED),
    Example("clear text needs no TLS", (*WELL[:2], answered()), None, target=PLAIN_TARGET),
    Example("but an answer", WELL[:2], Failure.META_INTERRUPTED, target=PLAIN_TARGET),
    Example("a revocation host needs its file", (*WELL[:2], answered()), Failure.META_INTERRUPTED,
            target=target(port=80, kind=Kind.CRL)),
    Example("a port that speaks nothing known needs no more than to accept", WELL[:2], None,
            target=target(port=5671, kind=Kind.OPAQUE)),
    Example("and not less", WELL[:1], Failure.META_INTERRUPTED, target=target(port=5671, kind=Kind.OPAQUE)),
)  # fmt: skip


@examples(ENDS)
def test_ends(example: Example) -> None:
    check(example)


WILDCARD = target(None, wildcard="vendor.example")
WILDCARD_PROXIED = target(None, wildcard="vendor.example", proxy=PROXY)
NETWORK = target(None)
LABEL = "q7k2.vendor.example:443"
BLIND = (
    Example(
        "a wildcard without a known host",
        (),
        Failure.META_NOT_TESTABLE,
        severity=Severity.UNKNOWN,
        confidence=Confidence.CERTAIN,
        outcome=Outcome.NOT_PROBEABLE,
        reasons=("a random name under it does not resolve",),
        hint=("*.vendor.example",),
        target=WILDCARD,
    ),
    Example("a network", (), Failure.META_NOT_TESTABLE, outcome=Outcome.NOT_PROBEABLE,
            reasons=("a whole network or a UDP port",), target=NETWORK),
    Example(
        "the proxy refuses a random name: it may know others",
        (tunnelled(Seen.PROXY_STATUS, role=Role.RANDOM_LABEL, status=403, target=LABEL),),
        Failure.PROXY_DENIED,
        BlockerKind.PROXY,
        Severity.UNKNOWN,
        Confidence.LIKELY,
        VIA,
        Scope.WILDCARD,
        Outcome.UNEXPLAINED,
        target=WILDCARD_PROXIED,
    ),
    Example("the proxy asks who we are", (tunnelled(Seen.PROXY_STATUS, role=Role.RANDOM_LABEL, status=407),),
            Failure.PROXY_AUTH, outcome=Outcome.UNEXPLAINED, target=WILDCARD_PROXIED),
    Example("the proxy cannot resolve a random name",
            (tunnelled(Seen.PROXY_STATUS, role=Role.RANDOM_LABEL, status=503),),
            Failure.META_NOT_TESTABLE, outcome=Outcome.NOT_PROBEABLE, target=WILDCARD_PROXIED),
    Example("the proxy opens a tunnel for a random name", (tunnelled(role=Role.RANDOM_LABEL),),
            Failure.META_NOT_TESTABLE, outcome=Outcome.NOT_PROBEABLE, target=WILDCARD_PROXIED),
    Example("not begun", (), Failure.META_INTERRUPTED, target=WILDCARD, partial=True),
)  # fmt: skip


@examples(BLIND)
def test_rows_without_a_host(example: Example) -> None:
    check(example)


FREE = "http://free.test:3128"


def free(seen: Observation) -> Observation:
    """Give the same observation by the way that is known to be free."""
    return replace(seen, role=Role.CONTROL_PATH, via=FREE)


def free_tunnel(seen: Seen, **evidence: Any) -> Observation:
    """Give a tunnel that the free proxy did not open."""
    return free(tunnelled(seen, **evidence))


def compared(name: str, *controls: Observation, code: Failure, **expected: Any) -> Example:
    """Give an example of a silent row that was tried by a free way as well, among rows that pass."""
    return Example(name, (*SILENT, *controls), code, beside=(OTHER,), **expected)


OPEN = free(tunnelled())
DOWN = (
    compared(
        "silent there as well",
        OPEN,
        free(shaken(Seen.TIMEOUT)),
        code=Failure.META_SERVICE_DOWN,
        blocker=BlockerKind.SERVER,
        confidence=Confidence.CERTAIN,
        reasons=(
            "here connect ends with generic_timeout_error",
            f"through {FREE} tls_handshake ends with generic",
        ),
        hint=(HOST, "no firewall change helps"),
    ),
    compared("it answers there", OPEN, free(shaken()), free(answered()), code=Failure.TCP_DROPPED),
    compared("the free proxy gets no answer from it", free_tunnel(Seen.PROXY_STATUS, status=504),
             code=Failure.META_SERVICE_DOWN),
    compared("the free proxy waits for it", free_tunnel(Seen.TIMEOUT), code=Failure.META_SERVICE_DOWN),
    compared("the free proxy is refused by it", free_tunnel(Seen.SOCKS_REPLY, socks_reply=5),
             code=Failure.META_SERVICE_DOWN),
    compared("the free proxy is not free: a login", free_tunnel(Seen.PROXY_STATUS, status=407),
             code=Failure.TCP_DROPPED),
    compared("the free proxy is not free: a policy", free_tunnel(Seen.PROXY_STATUS, status=403),
             code=Failure.TCP_DROPPED),
    compared("the free proxy is not free: a SOCKS rule", free_tunnel(Seen.SOCKS_REPLY, socks_reply=2),
             code=Failure.TCP_DROPPED),
    compared("the free proxy is not free: a SOCKS login", free_tunnel(Seen.SOCKS_REPLY, socks_method=255),
             code=Failure.TCP_DROPPED),
    compared("the free proxy is no proxy", free_tunnel(Seen.PROXY_STATUS, status=405), code=Failure.TCP_DROPPED),
    compared("the free proxy speaks something else", free_tunnel(Seen.PROXY_PROTOCOL), code=Failure.TCP_DROPPED),
    compared("the free way was cut off", OPEN, free(shaken(Seen.INTERRUPTED)), code=Failure.TCP_DROPPED),
    compared("the free proxy cannot be reached", free(connected("10.0.0.99", seen=Seen.TIMEOUT)),
             code=Failure.TCP_DROPPED),
    Example("what the row's own proxy says of itself stands", (
        WELL_PROXIED[0], tunnelled(Seen.PROXY_STATUS, status=403), OPEN, free(shaken(Seen.TIMEOUT))),
        Failure.PROXY_DENIED, target=PROXIED),
    Example("what the resolver says stands", (
        resolved(seen=Seen.DNS_NXDOMAIN, rcode="NXDOMAIN"), free_tunnel(Seen.PROXY_STATUS, status=503)),
        Failure.DNS_NXDOMAIN),
    Example("a router that says it prohibits stands", (
        WELL[0], connected(seen=Seen.HOST_UNREACHABLE, icmp={"from": "10.0.0.1", "type": 3, "code": 13}),
        OPEN, free(shaken(Seen.TIMEOUT))), Failure.TCP_ICMP_ADMIN),
    Example("a block page stands", (
        *WELL[:3], answered(Seen.HTTP_CONTENT, status=200, html=True), OPEN, free(shaken(Seen.TIMEOUT))),
        Failure.HTTP_BLOCK_PAGE),
)  # fmt: skip


@examples(DOWN)
def test_services_that_are_down(example: Example) -> None:
    check(example)


SECOND = ProxyServer("second.corp.example", 8080)


def chosen(*fallbacks: ProxyServer | None, first: ProxyServer | None = PROXY) -> Target:
    """Give a row whose PAC file lists several ways."""
    return target(route=Route(first, "http://wpad/wpad.dat", fallbacks, pac=True))


DEAD_PROXY = connected("10.0.0.80", seen=Seen.CONNECTION_REFUSED, via=VIA, port=3128)
WAYS = (
    Example("the proxy is dead, and direct is cut for the name", (
        WELL[0], DEAD_PROXY, connected(), shaken(Seen.CONNECTION_RESET, stage="client_hello"),
        shaken(role=Role.CONTROL_SNI, server_name="www.other.test")),
        Failure.TLS_SNI_RESET, BlockerKind.FIREWALL, target=chosen(None)),
    Example("the proxy is dead, and the name does not exist here: that is no fault of the proxy's name", (
        resolved(seen=Seen.DNS_NXDOMAIN, rcode="NXDOMAIN"), DEAD_PROXY),
        Failure.DNS_NXDOMAIN, BlockerKind.RESOLVER, target=chosen(None)),
    Example("the proxy is dead, and the packets to the host are dropped", (
        WELL[0], connected("10.0.0.80", seen=Seen.TIMEOUT, via=VIA, port=3128), connected(seen=Seen.PERMISSION_DENIED)),
        Failure.TCP_LOCAL_BLOCK, target=chosen(None)),
    Example("direct fails, and the proxy after it asks who we are", (
        WELL[0], connected(seen=Seen.TIMEOUT), connected("10.0.0.80", via=VIA, port=3128),
        tunnelled(Seen.PROXY_STATUS, status=407)), Failure.PROXY_AUTH, target=chosen(PROXY, first=None)),
    Example("the first proxy is dead, and the second refuses: the second is named", (
        DEAD_PROXY, connected("10.0.0.81", via=SECOND.url, port=8080),
        tunnelled(Seen.PROXY_STATUS, via=SECOND.url, status=403)),
        Failure.PROXY_DENIED, BlockerKind.PROXY, address=SECOND.url, hint=(SECOND.url,), target=chosen(SECOND)),
    Example("direct is dropped, and the proxy after it denies: it is named", (
        WELL[0], connected(seen=Seen.TIMEOUT), connected("10.0.0.80", via=VIA, port=3128),
        tunnelled(Seen.PROXY_STATUS, status=403)),
        Failure.PROXY_DENIED, BlockerKind.PROXY, address=VIA, target=chosen(PROXY, first=None)),
    Example("the second proxy cuts the tunnel it opened", (
        DEAD_PROXY, connected("10.0.0.81", via=SECOND.url, port=8080), tunnelled(via=SECOND.url),
        shaken(Seen.EOF, via=SECOND.url), shaken(role=Role.CONTROL_SNI, via=SECOND.url)),
        Failure.PROXY_TUNNEL_CUT, address=SECOND.url, target=chosen(SECOND)),
    Example("a proxy's name does not resolve", (
        saw(Step.RESOLVE, Seen.DNS_NXDOMAIN, via=VIA, name=PROXY.host),), Failure.PROXY_UNRESOLVED,
        target=chosen(SECOND)),
)  # fmt: skip


@examples(WAYS)
def test_ways_of_a_pac_file(example: Example) -> None:
    check(example)


PLAIN_PROXIED = target(port=80, kind=Kind.PLAIN, proxy=PROXY)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (answered(Seen.TIMEOUT, via=VIA), Failure.PROXY_TIMEOUT),
        (answered(Seen.HTTP_STATUS, via=VIA, status=502), Failure.PROXY_DNS),
        (
            answered(Seen.HTTP_STATUS, via=VIA, status=400, headers={"proxy-status": "gw; error=dns_error"}),
            Failure.PROXY_DNS,
        ),
        (answered(Seen.HTTP_STATUS, via=VIA, status=404), Failure.HTTP_STATUS),
        (answered(Seen.HTTP_STATUS, via=VIA, status=500), Failure.HTTP_STATUS),
    ],
)
def test_a_plain_request_is_answered_by_the_proxy_or_by_the_service(seen: Observation, code: Failure) -> None:
    check(Example("", (WELL_PROXIED[0], seen), code, target=PLAIN_PROXIED))


def test_a_portal_comes_before_a_connection_that_failed() -> None:
    portal = saw(Step.HTTP_ROUND_TRIP, Seen.HTTP_STATUS, Role.PORTAL, status=302, location="http://x.test/")
    check(Example("", SILENT, Failure.HTTP_CAPTIVE_PORTAL, shared=(portal,)))


def test_addresses_that_fail_beside_one_that_passes() -> None:
    row = Example(
        "", (resolved(ADDRESS, "20.0.0.2"), connected("20.0.0.2", seen=Seen.TIMEOUT), *WELL[1:]), None
    )
    assert row.row().failure is Failure.META_FLAKY
    assert row.row().outcome is Outcome.DEGRADED


def test_a_row_without_host_and_wildcard_never_passes_whatever_a_file_says() -> None:
    blind = replace(TARGET, host=None)
    random = replace(blind, wildcard="wild.example")
    report = judge(Recording((TARGET, blind, random), (WELL, WELL, WELL)))
    assert [row.outcome for row in report.rows] == [
        Outcome.REACHABLE,
        Outcome.NOT_PROBEABLE,
        Outcome.REACHABLE,
    ]
