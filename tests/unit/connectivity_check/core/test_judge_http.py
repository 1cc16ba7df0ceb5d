"""Rows whose request got no answer, or somebody else's; and what is odd about one that got its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import BlockerKind, Confidence, Kind, Observation, Outcome, Role, Scope, Step
from tests.unit.connectivity_check.core.cases import (
    HOST,
    OTHER,
    OTHER_ADDRESS,
    OTHER_PROXIED,
    PLAIN_TARGET,
    PROXIED,
    VIA,
    WELL,
    WELL_PROXIED,
    Beside,
    Example,
    answered,
    check,
    connected,
    examples,
    resolved,
    saw,
    shaken,
    target,
)

IN_TLS = WELL[:3]
IN_TUNNEL = WELL_PROXIED[:3]
IN_CLEAR = WELL[:2]
URL = f"https://{HOST}/"
HTML = {"html": True, "content_type": "text/html"}
SQUID = {"x-squid-error": "ERR_CONNECT_FAIL 110", "via": "1.1 cache.isp.example (squid/5.7)"}
LOGIN = "http://login.hotel.example/"


def portal(seen: Seen = Seen.HTTP_CONTENT, role: Role = Role.PORTAL, **evidence: Any) -> Observation:
    """Give the connectivity test page as somebody else answers it."""
    facts = {"url": "http://www.msftconnecttest.com/connecttest.txt", "status": 200} | evidence
    return saw(Step.HTTP_ROUND_TRIP, seen, role, **facts)


def asked(name: str, *seen: Observation, code: Failure | None, **expected: Any) -> Example:
    """Give an example of a row that asked inside TLS."""
    return Example(name, (*IN_TLS, *seen), code, **expected)


def plain(name: str, *seen: Observation, code: Failure | None, **expected: Any) -> Example:
    """Give an example of a row that asked in clear text on port 80."""
    expected.setdefault("target", PLAIN_TARGET)
    return Example(name, (*IN_CLEAR, *seen), code, **expected)


def silent_inside(host: str) -> Beside:
    """Give a row that fell silent inside TLS with the service's own certificate."""
    return target(host), (
        resolved(OTHER_ADDRESS, name=host),
        connected(OTHER_ADDRESS),
        shaken(server_name=host),
        answered(Seen.TIMEOUT),
    )


PAGES = (
    asked(
        "HTML for an API, of a product one knows",
        answered(
            Seen.HTTP_CONTENT,
            status=200,
            **HTML,
            vendor="FortiGuard",
            title="Web Page Blocked",
            incident="a7",
        ),
        code=Failure.HTTP_BLOCK_PAGE,
        blocker=BlockerKind.FIREWALL,
        severity=Severity.BLOCKING,
        confidence=Confidence.CERTAIN,
        reasons=(f"{URL} answers 200 with a page titled 'Web Page Blocked'", "FortiGuard", "incident a7"),
        hint=("FortiGuard shows a block page", HOST),
    ),
    asked(
        "HTML for an API, of nobody one knows",
        answered(Seen.HTTP_CONTENT, status=200, **HTML, headers={"server": "box/1"}),
        code=Failure.HTTP_BLOCK_PAGE,
        confidence=Confidence.LIKELY,
        hint=("box/1 shows",),
    ),
    asked(
        "the same without a name: its title is all there is",
        answered(Seen.HTTP_CONTENT, status=200, **HTML, title="Stop"),
        code=Failure.HTTP_BLOCK_PAGE,
        hint=("Stop shows",),
    ),
    asked(
        "403 with a page",
        answered(Seen.HTTP_STATUS, status=403, **HTML),
        code=Failure.HTTP_BLOCK_PAGE,
    ),
    asked(
        "a redirect to a page",
        answered(Seen.HTTP_STATUS, status=302, **HTML),
        code=Failure.HTTP_BLOCK_PAGE,
    ),
    asked(
        "500 with a page: the service's own",
        answered(Seen.HTTP_STATUS, status=500, **HTML),
        code=Failure.HTTP_STATUS,
    ),
    asked(
        "403 with a page, from a service that may show pages",
        answered(Seen.HTTP_STATUS, status=403, **HTML),
        code=Failure.HTTP_STATUS,
        target=target(html_allowed=True),
    ),
    asked(
        "the same page with a vendor's mark",
        answered(Seen.HTTP_STATUS, status=403, **HTML, vendor="Zscaler"),
        code=Failure.HTTP_BLOCK_PAGE,
        target=target(html_allowed=True),
    ),
    asked(
        "wrong content that is no page",
        answered(Seen.HTTP_CONTENT, status=200, html=False),
        code=Failure.HTTP_STATUS,
    ),
    Example(
        "a page in the tunnel: the proxy's",
        (*IN_TUNNEL, answered(Seen.HTTP_CONTENT, via=VIA, status=200, **HTML, vendor="Zscaler")),
        Failure.HTTP_BLOCK_PAGE,
        BlockerKind.PROXY,
        address=VIA,
        target=PROXIED,
    ),
    asked(
        "an odd status in the service's own TLS",
        answered(Seen.HTTP_STATUS, status=500, reason="Internal Server Error", headers={"server": "Kestrel"}),
        code=Failure.HTTP_STATUS,
        blocker=BlockerKind.SERVER,
        severity=Severity.WARNING,
        outcome=Outcome.DEGRADED,
        reasons=(f"{URL} answers 500 Internal Server Error", "the certificate is the service's own"),
    ),
    plain(
        "an odd status in clear text",
        answered(Seen.HTTP_STATUS, status=404),
        code=Failure.HTTP_STATUS,
        reasons=("the answer is no block page",),
    ),
)

BOXES = (
    plain(
        "407 where no proxy was asked: a transparent one",
        answered(Seen.HTTP_STATUS, status=407, headers={"via": "1.1 gw"}),
        code=Failure.PROXY_AUTH,
        blocker=BlockerKind.PROXY,
        confidence=Confidence.CERTAIN,
        reasons=("a transparent proxy asks for authentication",),
    ),
    plain(
        "a transparent proxy gives up in its own words",
        answered(Seen.HTTP_STATUS, status=503, headers=SQUID, **HTML),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
        blocker=BlockerKind.PROXY,
        severity=Severity.BLOCKING,
        confidence=Confidence.CERTAIN,
        reasons=("a transparent proxy says ERR_CONNECT_FAIL 110",),
        address="",
    ),
    plain(
        "the same status without its words is the service's",
        answered(Seen.HTTP_STATUS, status=503, **HTML),
        code=Failure.HTTP_STATUS,
    ),
    plain(
        "a transparent proxy refuses: its page tells",
        answered(Seen.HTTP_STATUS, status=403, headers={"x-squid-error": "ERR_ACCESS_DENIED 0"}, **HTML),
        code=Failure.HTTP_BLOCK_PAGE,
    ),
    plain(
        "a gateway timeout is no proxy's word for itself",
        answered(Seen.HTTP_STATUS, status=504),
        code=Failure.HTTP_STATUS,
    ),
)

PORTALS = (
    plain(
        "511 says it in the standard's words",
        answered(Seen.HTTP_STATUS, status=511, headers={"server": "hotspot"}),
        code=Failure.HTTP_CAPTIVE_PORTAL,
        blocker=BlockerKind.FIREWALL,
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN,
        reasons=("status 511", "RFC 6585"),
    ),
    plain(
        "511, and the test page tells where to sign in",
        answered(Seen.HTTP_STATUS, status=511),
        code=Failure.HTTP_CAPTIVE_PORTAL,
        reasons=(f"points to {LOGIN}", "answers 511"),
        shared=(portal(Seen.HTTP_STATUS, status=511, location=LOGIN),),
    ),
    plain(
        "the test page is moved, the place stands in the headers",
        answered(Seen.HTTP_STATUS, status=302, **HTML),
        code=Failure.HTTP_CAPTIVE_PORTAL,
        severity=Severity.BLOCKING,
        reasons=(f"points to {LOGIN}", "titled 'Welcome'"),
        shared=(portal(Seen.HTTP_STATUS, status=302, headers={"location": LOGIN}, title="Welcome"),),
    ),
    plain(
        "the test page is another page",
        answered(Seen.TIMEOUT),
        code=Failure.HTTP_CAPTIVE_PORTAL,
        shared=(portal(),),
    ),
    plain(
        "the test page is right: the row's own page blocks",
        answered(Seen.HTTP_CONTENT, status=200, **HTML),
        code=Failure.HTTP_BLOCK_PAGE,
        shared=(replace(portal(), seen=None),),
    ),
    *(
        plain(
            f"the test page answers {status}: that is no portal",
            answered(Seen.TIMEOUT),
            code=Failure.META_UNEXPLAINED,
            shared=(portal(Seen.HTTP_STATUS, status=status),),
        )
        for status in (403, 407, 451, 500, 503)
    ),
    plain(
        "the test page came by a proxy: that says nothing of the direct way",
        answered(Seen.TIMEOUT),
        code=Failure.META_UNEXPLAINED,
        shared=(replace(portal(), via=VIA),),
    ),
    plain(
        "the test page is filtered by itself where most names pass",
        answered(Seen.HTTP_CONTENT, status=200, **HTML),
        code=Failure.HTTP_BLOCK_PAGE,
        beside=(OTHER, (target("a.test"), WELL)),
        shared=(portal(),),
    ),
    plain(
        "a portal that lets one host of three through is one",
        answered(Seen.HTTP_CONTENT, status=200, **HTML),
        code=Failure.HTTP_CAPTIVE_PORTAL,
        beside=(OTHER, (target("a.test"), WELL[:1])),
        shared=(portal(),),
    ),
)

CUT = (
    asked(
        "silence inside the service's own TLS: nobody could read it",
        answered(Seen.TIMEOUT),
        code=Failure.META_UNEXPLAINED,
        severity=Severity.UNKNOWN,
        confidence=Confidence.UNEXPLAINED,
        outcome=Outcome.UNEXPLAINED,
        reasons=("no filter read the request",),
        beside=(OTHER,),
    ),
    Example(
        "silence inside TLS that somebody opened",
        (*IN_CLEAR, shaken(verified_public="unknown CA"), answered(Seen.TIMEOUT)),
        Failure.HTTP_CUT,
        BlockerKind.FIREWALL,
        Severity.BLOCKING,
        beside=(OTHER,),
    ),
    asked(
        "silence inside TLS on a line where two more rows fell silent so",
        answered(Seen.TIMEOUT),
        code=Failure.NET_SLOW,
        outcome=Outcome.UNEXPLAINED,
        scope=Scope.SEVERAL,
        beside=(silent_inside("a.test"),),
    ),
    asked(
        "a reset is no matter of speed",
        answered(Seen.CONNECTION_RESET),
        code=Failure.META_UNEXPLAINED,
        beside=(silent_inside("a.test"), silent_inside("b.test")),
    ),
    plain(
        "a plain request is cut, others get an answer",
        answered(Seen.CONNECTION_RESET),
        code=Failure.HTTP_CUT,
        blocker=BlockerKind.FIREWALL,
        reasons=("ended with connection_reset", "other names get an answer"),
        hint=(HOST,),
        beside=(OTHER,),
    ),
    plain("the same, and nothing passes", answered(Seen.CONNECTION_RESET), code=Failure.META_UNEXPLAINED),
    plain("no HTTP at all", answered(Seen.HTTP_PROTOCOL), code=Failure.HTTP_CUT, beside=(OTHER,)),
    plain("an end of no known kind", answered(Seen.OTHER), code=Failure.HTTP_CUT, beside=(OTHER,)),
    Example(
        "cut inside a tunnel that the proxy opened",
        (*IN_TUNNEL[:2], shaken(via=VIA, verified_public="unknown CA"), answered(Seen.EOF, via=VIA)),
        Failure.HTTP_CUT,
        BlockerKind.PROXY,
        address=VIA,
        target=PROXIED,
        beside=(OTHER_PROXIED,),
    ),
)


@examples((*PAGES, *BOXES, *PORTALS, *CUT))
def test_failed_exchange(example: Example) -> None:
    check(example)


def revocation(seen: Seen | None, via: str = "", **evidence: Any) -> Observation:
    """Give the fetch of a revocation file."""
    return saw(Step.REVOCATION, seen, via=via, **({"url": f"http://{HOST}/x.crl"} | evidence))


CRL, OCSP, CTL = (target(port=80, kind=kind) for kind in (Kind.CRL, Kind.OCSP, Kind.CTL))
REVOCATION = (
    plain(
        "a page instead of the list",
        revocation(
            Seen.REVOCATION_CONTENT, status=200, **HTML, title="Login", error="no DER", headers={"via": "gw"}
        ),
        code=Failure.REV_CRL,
        blocker=BlockerKind.FIREWALL,
        severity=Severity.BLOCKING,
        confidence=Confidence.CERTAIN,
        reasons=("x.crl: no DER", "status 200, a page titled 'Login'"),
        hint=("tcp/80", HOST),
        target=CRL,
    ),
    plain(
        "a page of a product",
        revocation(Seen.HTTP_STATUS, status=403, **HTML, vendor="Zscaler"),
        code=Failure.REV_CRL,
        reasons=("it is a page of Zscaler",),
        target=CRL,
    ),
    plain(
        "not there",
        revocation(Seen.HTTP_STATUS, status=404),
        code=Failure.REV_CRL,
        blocker=BlockerKind.UNKNOWN,
        reasons=("http_unexpected_status_code", "status 404"),
        target=CRL,
    ),
    plain(
        "stale",
        revocation(Seen.REVOCATION_CONTENT, status=200, stale=True, next_update="2020-01-01T00:00:00Z"),
        code=Failure.REV_CRL,
        reasons=("it ran out at 2020-01-01T00:00:00Z",),
        target=CRL,
    ),
    plain("reset", revocation(Seen.CONNECTION_RESET), code=Failure.REV_CRL, target=CRL, beside=(OTHER,)),
    plain("no OCSP", revocation(Seen.REVOCATION_CONTENT), code=Failure.REV_OCSP, target=OCSP),
    plain("no trust list", revocation(Seen.REVOCATION_CONTENT), code=Failure.REV_CTL, target=CTL),
    plain("a portal in its place", revocation(Seen.REVOCATION_CONTENT), code=Failure.HTTP_CAPTIVE_PORTAL,
          target=CRL, shared=(portal(),)),
    Example(
        "what a proxy hands out",
        (*WELL_PROXIED[:1], revocation(Seen.REVOCATION_CONTENT, VIA, status=200)),
        Failure.REV_CRL,
        BlockerKind.PROXY,
        address=VIA,
        target=replace(CRL, route=PROXIED.route),
    ),
    plain("as it should be", revocation(None, status=200, parsed=True), code=None, target=CRL),
)  # fmt: skip


@examples(REVOCATION)
def test_revocation(example: Example) -> None:
    check(example)


UPLOAD = target(upload=True)
UPDATES = target(ranges=True)


def big(seen: Seen | None = None, role: Role = Role.BODY, **evidence: Any) -> Observation:
    """Give a control that asks for more than the probe did."""
    return answered(seen, role=role, **evidence)


def passed(name: str, *seen: Observation, code: Failure | None, **expected: Any) -> Example:
    """Give an example of a row that got its answer."""
    return Example(name, (*WELL, *seen), code, **expected)


GOOD = (
    passed(
        "a big body is cut twice",
        big(Seen.CONNECTION_RESET),
        big(Seen.TIMEOUT),
        code=Failure.HTTP_METHOD_OR_SIZE,
        blocker=BlockerKind.FIREWALL,
        severity=Severity.BLOCKING,
        reasons=("a POST of 64 KiB ends with connection_reset, the small request passes",),
        target=UPLOAD,
    ),
    passed("once: a lost packet accuses nobody", big(Seen.TIMEOUT), code=None, target=UPLOAD),
    passed("the second time it passes", big(Seen.TIMEOUT), big(), code=None, target=UPLOAD),
    passed(
        "twice, but one never got as far as asking",
        big(Seen.TIMEOUT),
        replace(connected(seen=Seen.TIMEOUT), role=Role.BODY),
        code=None,
        target=UPLOAD,
    ),
    passed(
        "413 is an answer, once is enough",
        big(Seen.HTTP_STATUS, status=413, headers={"via": "gw"}),
        code=Failure.HTTP_METHOD_OR_SIZE,
        reasons=("ends with 413",),
        target=UPLOAD,
    ),
    passed(
        "403 with a page",
        big(Seen.HTTP_STATUS, status=403, **HTML),
        code=Failure.HTTP_METHOD_OR_SIZE,
        target=UPLOAD,
    ),
    passed(
        "403 of a product",
        big(Seen.HTTP_STATUS, status=403, vendor="DLP"),
        code=Failure.HTTP_METHOD_OR_SIZE,
        target=UPLOAD,
    ),
    passed(
        "403 in squid's words",
        big(Seen.HTTP_STATUS, status=403, headers={"x-squid-error": "ERR_TOO_BIG 0"}),
        code=Failure.HTTP_METHOD_OR_SIZE,
        target=UPLOAD,
    ),
    passed(
        "403 of the service, which does not know us",
        big(Seen.HTTP_STATUS, status=403),
        code=None,
        target=UPLOAD,
    ),
    passed(
        "405 of the service, which takes no POST here",
        big(Seen.HTTP_STATUS, status=405),
        code=None,
        target=UPLOAD,
    ),
    passed(
        "Range is ignored",
        big(None, Role.RANGE, status=200),
        code=Failure.HTTP_METHOD_OR_SIZE,
        reasons=("a request with Range ends with 200",),
        target=UPDATES,
    ),
    passed("Range is answered", big(None, Role.RANGE, status=206), code=None, target=UPDATES),
    Example(
        "a big body is refused in the tunnel",
        (*WELL_PROXIED, big(Seen.HTTP_STATUS, via=VIA, status=413)),
        Failure.HTTP_METHOD_OR_SIZE,
        BlockerKind.PROXY,
        address=VIA,
        target=replace(UPLOAD, route=PROXIED.route),
    ),
    passed(
        "HTTP/2 is taken away",
        shaken(role=Role.ALPN, alpn="http/1.1"),
        code=Failure.HTTP_VERSION,
        blocker=BlockerKind.FIREWALL,
        severity=Severity.INFO,
        outcome=Outcome.REACHABLE,
        reasons=("http/1.1 was chosen",),
    ),
    passed(
        "no protocol is chosen at all",
        shaken(role=Role.ALPN),
        code=Failure.HTTP_VERSION,
        outcome=Outcome.REACHABLE,
        reasons=("nothing was chosen",),
    ),
    Example(
        "the proxy takes HTTP/2 away",
        (*WELL_PROXIED, shaken(role=Role.ALPN, via=VIA, alpn="http/1.1")),
        Failure.HTTP_VERSION,
        BlockerKind.PROXY,
        outcome=Outcome.REACHABLE,
        target=PROXIED,
    ),
    passed("HTTP/2 is chosen", shaken(role=Role.ALPN, alpn="h2"), code=None),
    passed("the handshake that offers it failed", shaken(Seen.TIMEOUT, role=Role.ALPN), code=None),
    asked(
        "HTTP/1.0 is spoken",
        answered(http_version="1.0", headers={"server": "old"}),
        code=Failure.HTTP_VERSION,
        outcome=Outcome.REACHABLE,
        reasons=("the answer is HTTP/1.0",),
    ),
    asked("HTTP/1.1 is spoken", answered(http_version="1.1"), code=None),
    asked(
        "a step takes more than its share",
        replace(answered(), took_s=2.1),
        code=Failure.NET_SLOW,
        severity=Severity.WARNING,
        outcome=Outcome.DEGRADED,
        confidence=Confidence.CERTAIN,
        reasons=("http_round_trip took 2.1 s",),
    ),
    asked("a step takes its share and no more", replace(answered(), took_s=2.0), code=None),
    asked(
        "the body trickles",
        answered(slow_bytes_per_s=900),
        code=Failure.NET_SLOW,
        reasons=("900 bytes a second",),
    ),
    asked("the body does not trickle", answered(slow_bytes_per_s=9000), code=None),
    passed("a control takes long", replace(answered(role=Role.RETRY), took_s=4.0), code=None),
    Example(
        "a SYN was lost: that is no slow line",
        (WELL[0], replace(connected(syns=3), took_s=3.0), *WELL[2:]),
        None,
    ),
    Example(
        "one SYN, and it took long",
        (WELL[0], replace(connected(syns=1), took_s=3.0), *WELL[2:]),
        Failure.NET_SLOW,
    ),
)


@examples(GOOD)
def test_good_exchange(example: Example) -> None:
    check(example)


@pytest.mark.parametrize(
    ("evidence", "name"),
    [
        ({"location": LOGIN, "title": "Welcome"}, LOGIN),
        ({"headers": {"location": LOGIN}}, LOGIN),
        ({"title": "Welcome"}, "Welcome"),
        ({}, "captive portal"),
    ],
)
def test_how_a_portal_is_called(evidence: dict[str, Any], name: str) -> None:
    found = Example("", (*IN_CLEAR, answered(Seen.TIMEOUT)), None, shared=(portal(**evidence),)).row().finding
    assert found is not None
    assert found.blocked_by.name == name


@pytest.mark.parametrize(
    ("evidence", "name"),
    [({"vendor": "Zscaler", "headers": {"via": "gw"}}, "Zscaler"), ({"headers": {"via": "gw", "server": "x"}}, "gw"),
     ({"headers": {"server": "x"}}, "x"), ({}, "")],
)  # fmt: skip
def test_who_handed_out_a_wrong_list(evidence: dict[str, Any], name: str) -> None:
    body = revocation(Seen.REVOCATION_CONTENT, status=200, **HTML, **evidence)
    found = Example("", (*IN_CLEAR, body), None, target=CRL).row().finding
    assert found is not None
    assert found.blocked_by.name == name


@pytest.mark.parametrize("title", ["\x1b[2Jgone", "a\nb", "\u202eevil"])
def test_titles_of_strangers_are_shown_escaped(title: str) -> None:
    page = Example("", (*IN_TLS, answered(Seen.HTTP_CONTENT, status=200, **HTML, title=title)), None)
    wrong = Example("", (*IN_CLEAR, answered(Seen.TIMEOUT)), None, target=PLAIN_TARGET,
                    shared=(portal(title=title),))  # fmt: skip
    body = revocation(Seen.REVOCATION_CONTENT, status=200, **HTML, title=title)
    fetched = Example("", (*IN_CLEAR, body), None, target=CRL)
    for example in (page, wrong, fetched):
        found = example.row().finding
        assert found is not None
        assert all(title not in reason for reason in found.reasons)
