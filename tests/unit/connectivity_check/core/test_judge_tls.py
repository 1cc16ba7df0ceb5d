"""Rows that connected and whose handshake failed, or passed with the wrong certificate."""

from __future__ import annotations

from typing import Any

from connectivity_check.core.controls import UNROUTABLE
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import BlockerKind, Confidence, Observation, Outcome, Role, Scope, Step
from tests.unit.connectivity_check.core.cases import (
    CORP_ROOT,
    HOST,
    OTHER,
    OTHER_ADDRESS,
    OTHER_HOST,
    OTHER_PROXIED,
    PROXIED,
    PROXY,
    VIA,
    WELL,
    WELL_PROXIED,
    Beside,
    Example,
    answered,
    certificate,
    check,
    connected,
    examples,
    resolved,
    saw,
    shaken,
    target,
    tunnelled,
)

TCP = WELL[:2]
TUNNEL = WELL_PROXIED[:2]
SNI = shaken(role=Role.CONTROL_SNI, server_name=OTHER_HOST)
PORTAL = saw(
    Step.HTTP_ROUND_TRIP, Seen.HTTP_CONTENT, Role.PORTAL, url="http://www.msftconnecttest.com/connecttest.txt",
    status=302, location="http://login.hotel.example/", title="Welcome",
)  # fmt: skip
ANYBODY = connected(UNROUTABLE, role=Role.UNROUTABLE)


def cut(seen: Seen = Seen.CONNECTION_RESET, via: str = "", **evidence: Any) -> Observation:
    """Give a handshake that ended after the ClientHello."""
    return shaken(seen, via=via, stage="client_hello", **evidence)


def direct(name: str, *seen: Observation, code: Failure | None, **expected: Any) -> Example:
    """Give an example of a row that connected directly."""
    return Example(name, (*TCP, *seen), code, **expected)


def stopped_inside(host: str) -> Beside:
    """Give a row that fell silent inside TLS with the service's own certificate."""
    return target(host), (
        resolved(OTHER_ADDRESS, name=host),
        connected(OTHER_ADDRESS),
        shaken(server_name=host),
        answered(Seen.TIMEOUT),
    )


CUT = (
    direct(
        "reset, and the same address answers another name",
        cut(),
        SNI,
        code=Failure.TLS_SNI_RESET,
        blocker=BlockerKind.FIREWALL,
        severity=Severity.BLOCKING,
        confidence=Confidence.CERTAIN,
        reasons=(f"answers the server name {OTHER_HOST}",),
        hint=(HOST,),
        beside=(OTHER,),
    ),
    direct("an alert for another name is an answer, too", cut(), shaken(
        Seen.TLS_ALERT, role=Role.CONTROL_SNI, alert=112), code=Failure.TLS_SNI_RESET),
    direct(
        "reset, and another name is reset as well: nobody can be named",
        cut(),
        shaken(Seen.CONNECTION_RESET, role=Role.CONTROL_SNI),
        code=Failure.META_UNEXPLAINED,
        severity=Severity.UNKNOWN,
        confidence=Confidence.UNEXPLAINED,
        outcome=Outcome.UNEXPLAINED,
        beside=(OTHER,),
    ),
    direct("silence, and the same address answers another name", cut(Seen.TIMEOUT), SNI,
           code=Failure.TLS_SNI_DROP, blocker=BlockerKind.FIREWALL, confidence=Confidence.CERTAIN),
    direct(
        "reset here and at an address that answers another name",
        cut(),
        shaken(Seen.CONNECTION_RESET, role=Role.GOOD_ADDRESS, address=OTHER_ADDRESS),
        code=Failure.TLS_SNI_RESET,
        confidence=Confidence.LIKELY,
        reasons=(f"the name {HOST} is cut at an address",),
    ),
    direct("reset here, answered at another's address: not the name", cut(), shaken(
        Seen.TLS_ALERT, role=Role.GOOD_ADDRESS, alert=112), code=Failure.META_UNEXPLAINED),
    direct("any address accepts, and all say nothing", cut(Seen.TIMEOUT), code=Failure.TCP_FAKE_ACCEPT,
           blocker=BlockerKind.FIREWALL, scope=Scope.ALL, confidence=Confidence.CERTAIN, shared=(ANYBODY,)),
    direct("any address accepts, but another name is answered", cut(Seen.TIMEOUT), SNI,
           code=Failure.TLS_SNI_DROP, shared=(ANYBODY,)),
    direct("any address accepts, and this one resets", cut(), code=Failure.META_UNEXPLAINED,
           shared=(ANYBODY,)),
    direct("small segments pass: big packets are lost", cut(Seen.TIMEOUT, received=0),
           shaken(role=Role.SMALL_MSS, ip_mss=536), SNI, code=Failure.IP_PMTU_HOLE,
           confidence=Confidence.CERTAIN, reasons=("536",), hint=("MSS",)),
    direct("small segments are lost as well: the name", cut(Seen.TIMEOUT),
           shaken(Seen.TIMEOUT, role=Role.SMALL_MSS), SNI, code=Failure.TLS_SNI_DROP),
    direct("small segments pass, but it was a reset: the name", cut(), shaken(role=Role.SMALL_MSS), SNI,
           code=Failure.TLS_SNI_RESET),
    direct("the same again passes", cut(), shaken(role=Role.RETRY), SNI, code=Failure.META_FLAKY,
           severity=Severity.WARNING, outcome=Outcome.DEGRADED),
    direct("two rows fell silent where no filter reads: the line", cut(Seen.TIMEOUT), SNI,
           code=Failure.NET_SLOW, severity=Severity.UNKNOWN, outcome=Outcome.UNEXPLAINED,
           scope=Scope.SEVERAL, beside=(stopped_inside("a.test"), stopped_inside("b.test"))),
    direct("one such row is not enough", cut(Seen.TIMEOUT), SNI, code=Failure.TLS_SNI_DROP,
           beside=(stopped_inside("a.test"),)),
    direct("a reset is no matter of speed", cut(), SNI, code=Failure.TLS_SNI_RESET,
           beside=(stopped_inside("a.test"), stopped_inside("b.test"))),
    Example("reset at a private address: the wrong place", (resolved("10.1.2.3"), connected("10.1.2.3"), cut()),
            Failure.DNS_PRIVATE_ANSWER, BlockerKind.RESOLVER),
    direct("a portal explains it", cut(), SNI, code=Failure.HTTP_CAPTIVE_PORTAL, shared=(PORTAL,)),
)  # fmt: skip


def tunnel(name: str, *seen: Observation, code: Failure, **expected: Any) -> Example:
    """Give an example of a row whose tunnel was opened."""
    return Example(name, (*TUNNEL, *seen), code, target=PROXIED, **expected)


CUT_IN_TUNNEL = (
    tunnel("closed, and another name passes the same proxy", cut(Seen.EOF, VIA),
           shaken(role=Role.CONTROL_SNI, via=VIA, server_name=OTHER_HOST), code=Failure.PROXY_TUNNEL_CUT,
           blocker=BlockerKind.PROXY, address=VIA, confidence=Confidence.CERTAIN, hint=(VIA, HOST)),
    tunnel("closed, while other rows pass", cut(Seen.EOF, VIA), code=Failure.PROXY_TUNNEL_CUT,
           confidence=Confidence.LIKELY, beside=(OTHER_PROXIED,)),
    tunnel("closed, and nothing passes", cut(Seen.EOF, VIA), code=Failure.META_UNEXPLAINED),
    tunnel("closed, while rows pass by another way only", cut(Seen.EOF, VIA), code=Failure.META_UNEXPLAINED,
           beside=(OTHER,)),
    tunnel("reset, and another name passes: the name", cut(Seen.CONNECTION_RESET, VIA),
           shaken(role=Role.CONTROL_SNI, via=VIA), code=Failure.TLS_SNI_RESET, blocker=BlockerKind.PROXY,
           address=VIA),
    tunnel("silent, and any address accepts: that is the direct way's affair", cut(Seen.TIMEOUT, VIA),
           shaken(role=Role.CONTROL_SNI, via=VIA), code=Failure.TLS_SNI_DROP, shared=(ANYBODY,)),
    tunnel("silent, and the tunnel alone of the TLS 1.2 try was opened", cut(Seen.TIMEOUT, VIA),
           tunnelled(role=Role.TLS12), shaken(Seen.TIMEOUT, role=Role.TLS12, via=VIA),
           shaken(role=Role.CONTROL_SNI, via=VIA), code=Failure.TLS_SNI_DROP),
    tunnel("silent, and TLS 1.2 alone passes", cut(Seen.TIMEOUT, VIA), shaken(role=Role.TLS12, via=VIA),
           code=Failure.TLS_VERSION_LOW, blocker=BlockerKind.PROXY),
    tunnel("plain text inside the tunnel", cut(Seen.NOT_TLS, VIA, first_bytes=b"HTTP/1.1 403".hex()),
           code=Failure.TLS_NOT_TLS, blocker=BlockerKind.PROXY),
)  # fmt: skip

ENDS = (
    direct("an alert about the name or the ciphers", cut(Seen.TLS_ALERT, alert=40, alert_name="handshake_failure"),
           code=Failure.TLS_ALERT, blocker=BlockerKind.UNKNOWN, confidence=Confidence.CERTAIN,
           reasons=("alert 40 handshake_failure at stage client_hello",)),
    direct("the same alert, another name is answered", cut(Seen.TLS_ALERT, alert=40), SNI,
           code=Failure.TLS_ALERT, reasons=("another server name is answered",)),
    direct("the alert of a side that speaks no such version", cut(Seen.TLS_ALERT, alert=70),
           code=Failure.TLS_VERSION_LOW, confidence=Confidence.LIKELY, blocker=BlockerKind.FIREWALL,
           reasons=("TLS 1.2 and 1.3",)),
    direct("our own library refuses the version", cut(Seen.TLS_HANDSHAKE, local_error="UNSUPPORTED_PROTOCOL",
           offered=["TLSv1.3"]), code=Failure.TLS_VERSION_LOW, reasons=("offering TLSv1.3 failed: UNSUPPORTED",)),
    direct("reset, and TLS 1.2 alone passes: 1.3 is cut", cut(), shaken(role=Role.TLS12), SNI,
           code=Failure.TLS_VERSION_LOW, confidence=Confidence.CERTAIN, reasons=("TLS 1.2 alone passes",)),
    direct("reset, and only TLS 1.0 or 1.1 passes", cut(), shaken(role=Role.TLS_LEGACY), SNI,
           code=Failure.TLS_VERSION_LOW, reasons=("TLS 1.0 or 1.1 passes",)),
    direct("reset, and no version passes: the name", cut(), shaken(Seen.CONNECTION_RESET, role=Role.TLS12), SNI,
           code=Failure.TLS_SNI_RESET),
    direct("our own library ends it otherwise", shaken(Seen.TLS_HANDSHAKE, local_error="BAD_SIGNATURE"),
           code=Failure.TLS_ALERT, reasons=("BAD_SIGNATURE at stage unknown",)),
    direct("plain text", cut(Seen.NOT_TLS, first_bytes=b"HTTP/1.1 403 \x1b[2J".hex()), code=Failure.TLS_NOT_TLS,
           blocker=BlockerKind.FIREWALL, reasons=("HTTP/1.1 403",), hint=("443",)),
    direct("plain text whose record is no hex", cut(Seen.NOT_TLS, first_bytes="zz\u00b2"),
           code=Failure.TLS_NOT_TLS, reasons=("zz",)),
)  # fmt: skip


@examples((*CUT, *CUT_IN_TUNNEL, *ENDS))
def test_failed_handshake(example: Example) -> None:
    check(example)


def test_an_alert_says_of_other_names_what_was_tried() -> None:
    for controls, said in (((), False), ((SNI,), True)):
        found = Example("", (*TCP, cut(Seen.TLS_ALERT, alert=40), *controls), None).row().finding
        assert found is not None
        assert any("another server name" in each for each in found.reasons) == said


def test_bytes_of_a_stranger_are_shown_escaped() -> None:
    row = Example("", (*TCP, cut(Seen.NOT_TLS, first_bytes="1b5b324a0a")), None).row()
    assert row.finding is not None
    assert "\x1b" not in row.finding.reasons[0]
    assert "\n" not in row.finding.reasons[0]


def shown(
    seen: Seen | None, name: str = HOST, issuer: str = "Vendor Issuing CA 01", **facts: Any
) -> Observation:
    """Give a handshake that brought a chain."""
    public = facts.pop("verified_public", False)
    chain = facts.pop("chain", [certificate(name, issuer, not_before="2020-01-01", not_after="2021-01-01")])
    given = {"verified_public": public, "chain": chain, "name_matches": True, "stage": "certificate"}
    return shaken(seen, **given | facts)


INSPECTED = {"issuer": "Corp Inspection CA", "root_common_name": "Corp Root", "root_spki_sha256": CORP_ROOT}
ALSO_INSPECTED = (
    target("c.test"),
    (
        resolved(OTHER_ADDRESS, name="c.test"),
        connected(OTHER_ADDRESS),
        shown(Seen.TLS_UNKNOWN_AUTHORITY, "c.test", **INSPECTED),
    ),
)


def off(host: str, skew_s: float) -> Beside:
    """Give a passing row whose Date says that this clock is off."""
    chain = (resolved(OTHER_ADDRESS, name=host), connected(OTHER_ADDRESS), shaken(), answered(skew_s=skew_s))
    return target(host), chain


BEHIND = (off("a.test", 4000.0), off("b.test", 4001.0))
AHEAD = (off("a.test", -4000.0), off("b.test", -4001.0))
EXPIRED = shown(Seen.TLS_INVALID_CERTIFICATE, expired=True)
EARLY = shown(Seen.TLS_INVALID_CERTIFICATE, not_yet=True)
CERTIFICATES = (
    direct("a CA nobody knows", shown(Seen.TLS_UNKNOWN_AUTHORITY, **INSPECTED),
           code=Failure.TLS_INTERCEPT_UNTRUSTED, blocker=BlockerKind.TLS_INSPECTION, severity=Severity.BLOCKING,
           confidence=Confidence.LIKELY, scope=Scope.ENDPOINT, address="",
           reasons=("issued by CN=Corp Inspection CA", CORP_ROOT), hint=("Corp Root", HOST)),
    direct("the same root on another host", shown(Seen.TLS_UNKNOWN_AUTHORITY, **INSPECTED),
           code=Failure.TLS_INTERCEPT_UNTRUSTED, confidence=Confidence.CERTAIN, scope=Scope.SEVERAL,
           reasons=("1 other hosts",), beside=(ALSO_INSPECTED,)),
    direct("another issuer is expected", shown(Seen.TLS_UNKNOWN_AUTHORITY, **INSPECTED),
           code=Failure.TLS_INTERCEPT_UNTRUSTED, confidence=Confidence.CERTAIN,
           reasons=("expected is Vendor Root",), target=target(issuers=("Vendor Root",))),
    Example("inspected at the proxy", (*TUNNEL, shown(Seen.TLS_UNKNOWN_AUTHORITY, via=VIA, **INSPECTED)),
            Failure.TLS_INTERCEPT_UNTRUSTED, BlockerKind.TLS_INSPECTION, address=VIA, target=PROXIED),
    direct("a chain of no known form", shown(Seen.TLS_UNKNOWN_AUTHORITY, chain=["leaf"]),
           code=Failure.TLS_INTERCEPT_UNTRUSTED, reasons=("root SPKI sha256 unknown",)),
    direct("a public CA this device does not have", shown(Seen.TLS_UNKNOWN_AUTHORITY, verified_public=True,
           root_common_name="Vendor Root", verified_system="self-signed certificate in chain"),
           code=Failure.TLS_STORE_INCOMPLETE, blocker=BlockerKind.HOST, severity=Severity.WARNING,
           outcome=Outcome.DEGRADED, reasons=("public CA Vendor Root", "self-signed certificate in chain")),
    direct("for another name", shown(Seen.TLS_INVALID_HOSTNAME, "portal.corp.example", name_matches=False),
           code=Failure.TLS_HOSTNAME, blocker=BlockerKind.UNKNOWN,
           reasons=(f"for portal.corp.example, not for {HOST}",)),
    direct("for another name, at an address that others know better",
           shown(Seen.TLS_INVALID_HOSTNAME, "x.test", name_matches=False),
           resolved("20.0.7.7", role=Role.OTHER_RESOLVER), shaken(role=Role.OTHER_RESOLVER, address="20.0.7.7"),
           code=Failure.DNS_INCONSISTENT, blocker=BlockerKind.RESOLVER, reasons=("20.0.7.7",)),
    direct("for another name, known by its common name alone", shown(Seen.TLS_INVALID_HOSTNAME,
           chain=[{"common_name": "old.test"}], name_matches=False), code=Failure.TLS_HOSTNAME,
           reasons=("for old.test",)),
    direct("for nobody", shown(Seen.TLS_INVALID_HOSTNAME, chain=[{"names": []}], name_matches=False),
           code=Failure.TLS_HOSTNAME, reasons=("for nobody",)),
    direct("a portal's certificate", shown(Seen.TLS_INVALID_HOSTNAME, "p.test", name_matches=False),
           code=Failure.HTTP_CAPTIVE_PORTAL, scope=Scope.ALL, shared=(PORTAL,)),
    direct("expired", EXPIRED, code=Failure.TLS_EXPIRED, blocker=BlockerKind.UNKNOWN, confidence=Confidence.CERTAIN,
           reasons=("valid from 2020-01-01 to 2021-01-01", "Vendor Issuing CA 01"), beside=(OTHER,)),
    direct("expired, and this clock is ahead", EXPIRED, code=Failure.CLOCK_SKEW, blocker=BlockerKind.HOST,
           severity=Severity.BLOCKING, confidence=Confidence.CERTAIN, scope=Scope.ALL, reasons=("4000 s ahead",), beside=AHEAD),
    direct("expired, and this clock is behind: expired all the more", EXPIRED, code=Failure.TLS_EXPIRED,
           beside=BEHIND),
    direct("not valid yet", EARLY, code=Failure.TLS_NOT_YET, beside=(OTHER,)),
    direct("not valid yet, and this clock is behind", EARLY, code=Failure.CLOCK_SKEW,
           reasons=("4001 s behind",), beside=BEHIND),
    direct("not valid yet, and one host alone says so", EARLY, code=Failure.TLS_NOT_YET, beside=BEHIND[:1]),
    Example("expired, for another name, at a private address: the wrong place",
            (resolved("10.1.2.3"), connected("10.1.2.3"), shown(
                Seen.TLS_INVALID_CERTIFICATE, "x.test", expired=True, name_matches=False)),
            Failure.DNS_PRIVATE_ANSWER),
)  # fmt: skip


@examples(CERTIFICATES)
def test_certificates(example: Example) -> None:
    check(example)


TRUSTED_HERE = shown(None, **INSPECTED)
LABEL = "q7k2.vendor.example"
LOST_LABEL = shaken(Seen.CONNECTION_RESET, role=Role.RANDOM_LABEL, server_name=LABEL)
MUTE_LABEL = shaken(Seen.TIMEOUT, role=Role.RANDOM_LABEL, server_name=LABEL)
ALERT_LABEL = shaken(Seen.TLS_ALERT, role=Role.RANDOM_LABEL, server_name=LABEL, alert=112)
WILDCARD = target(wildcard="vendor.example")
WILDCARD_PROXIED = target(wildcard="vendor.example", proxy=PROXY)
GOOD = (
    direct("this device trusts the inspection, the agent does not", TRUSTED_HERE, WELL[3],
           code=Failure.TLS_INTERCEPT_TRUSTED, blocker=BlockerKind.TLS_INSPECTION, severity=Severity.BLOCKING,
           confidence=Confidence.CERTAIN, reasons=("this system trusts that root",), hint=("Corp Root", "pins")),
    direct("a service that is known not to pin", TRUSTED_HERE, WELL[3], code=Failure.TLS_INTERCEPT_TRUSTED,
           severity=Severity.WARNING, outcome=Outcome.DEGRADED, target=target(pinned=False)),
    direct("a chain that nobody compared with the public bundle", shaken(verified_public=None), WELL[3], code=None),
    direct("one handshake of two failed", cut(), *WELL[2:], code=None),
    direct("the issuer of the data", *WELL[2:], code=None, target=target(issuers=("vendor root",))),
    direct("another public issuer", *WELL[2:], code=Failure.TLS_ISSUER_CHANGED, blocker=BlockerKind.SERVER,
           severity=Severity.WARNING, confidence=Confidence.LIKELY, outcome=Outcome.DEGRADED,
           reasons=("Vendor Issuing CA 01", "Old CA"), target=target(issuers=("Old CA",))),
    direct("an issuer that was not recorded", shaken(chain=[], root_common_name=""), WELL[3], code=None,
           target=target(issuers=("Old CA",))),
    direct("a name under the wildcard is reset twice, a listed one is not", *WELL[2:], LOST_LABEL, LOST_LABEL, SNI,
           code=Failure.TLS_SNI_RESET, blocker=BlockerKind.FIREWALL, severity=Severity.WARNING,
           scope=Scope.WILDCARD, outcome=Outcome.DEGRADED, reasons=(LABEL,), target=WILDCARD),
    direct("a name under the wildcard is dropped twice", *WELL[2:], MUTE_LABEL, MUTE_LABEL, SNI,
           code=Failure.TLS_SNI_DROP, target=WILDCARD),
    direct("it is dropped once: a lost packet accuses nobody", *WELL[2:], MUTE_LABEL, SNI, code=None,
           target=WILDCARD),
    direct("it is dropped, then answered", *WELL[2:], MUTE_LABEL, ALERT_LABEL, SNI, code=None, target=WILDCARD),
    direct("the server cuts every name it does not know", *WELL[2:], LOST_LABEL, LOST_LABEL,
           shaken(Seen.CONNECTION_RESET, role=Role.CONTROL_SNI), code=None, target=WILDCARD),
    direct("the server does not know the name and says so", *WELL[2:], ALERT_LABEL, SNI, code=None, target=WILDCARD),
    Example("the proxy has the sample open only", (*WELL_PROXIED, tunnelled(
        Seen.PROXY_STATUS, role=Role.RANDOM_LABEL, status=403, target=f"{LABEL}:443")), Failure.PROXY_DENIED,
        BlockerKind.PROXY, Severity.WARNING, Confidence.CERTAIN, VIA, Scope.WILDCARD,
        reasons=(f"{LABEL}:443 is answered 403",), target=WILDCARD_PROXIED),
    Example("the proxy exempts the sample only", (*WELL_PROXIED, tunnelled(
        Seen.PROXY_STATUS, role=Role.RANDOM_LABEL, status=407)), Failure.PROXY_AUTH, scope=Scope.WILDCARD,
        target=WILDCARD_PROXIED),
    Example("the proxy cannot resolve a name that does not exist", (*WELL_PROXIED, tunnelled(
        Seen.PROXY_STATUS, role=Role.RANDOM_LABEL, status=503)), None, target=WILDCARD_PROXIED),
)  # fmt: skip


@examples(GOOD)
def test_good_handshake(example: Example) -> None:
    check(example)


def test_a_control_by_another_way_does_not_hide_that_others_pass() -> None:
    """A direct row tried through --control-proxy as well is still held against the direct rows."""
    elsewhere = connected("10.0.0.80", role=Role.CONTROL_PATH, via="http://free.test:3128")
    silent = connected(seen=Seen.TIMEOUT, syns=3)
    for controls in ((), (elsewhere,)):
        check(Example("", (WELL[0], silent, *controls), Failure.TCP_DROPPED, beside=(OTHER,)))
