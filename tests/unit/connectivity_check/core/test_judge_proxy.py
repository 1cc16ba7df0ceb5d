"""Rows through a proxy that fail at it: who refused, and on whose side of the proxy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    BlockerKind,
    Confidence,
    Kind,
    Observation,
    Outcome,
    Role,
    Route,
    Scope,
    Step,
)
from tests.unit.connectivity_check.core.cases import (
    HOST,
    OTHER_HOST,
    OTHER_PROXIED,
    PROXIED,
    PROXY,
    VIA,
    WELL,
    WELL_PROXIED,
    Example,
    answered,
    check,
    connected,
    examples,
    resolved,
    shaken,
    target,
    tunnelled,
)

TO_PROXY = WELL_PROXIED[:1]
RESOLVES_HERE = resolved("20.0.0.1", role=Role.ALTERNATE)
BY_ADDRESS = tunnelled(role=Role.GOOD_ADDRESS, target="20.0.0.1:443")
ODD_PORT = target(port=8443, proxy=PROXY)


def status(code: int, *, took_s: float = 0.01, **evidence: object) -> Observation:
    """Give a CONNECT that was answered with a status other than 2xx."""
    return replace(tunnelled(Seen.PROXY_STATUS, status=code, **evidence), took_s=took_s)


def as_control(seen: Observation, role: Role) -> Observation:
    """Give the same observation as a control."""
    return replace(seen, role=role)


def proxied(name: str, *seen: Observation, code: Failure, **expected: object) -> Example:
    """Give an example of a row that reached the proxy."""
    expected.setdefault("target", PROXIED)
    return Example(name, (*TO_PROXY, *seen), code, **expected)  # type: ignore[arg-type]


AT_THE_PROXY = (
    Example(
        "the proxy's name does not exist",
        (resolved(seen=Seen.DNS_NXDOMAIN, name=PROXY.host, via=VIA, rcode="NXDOMAIN"),),
        Failure.PROXY_UNRESOLVED,
        BlockerKind.PROXY,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        VIA,
        Scope.ALL,
        reasons=(f"the proxy's name {PROXY.host}: NXDOMAIN",),
        target=PROXIED,
    ),
    Example(
        "no resolver answers for the proxy's name",
        (resolved(seen=Seen.TIMEOUT, name=PROXY.host, via=VIA),),
        Failure.PROXY_UNRESOLVED,
        reasons=("generic_timeout_error",),
        target=PROXIED,
    ),
    Example(
        "nothing listens where the proxy should be",
        (connected("10.0.0.80", seen=Seen.CONNECTION_REFUSED, via=VIA, port=3128),),
        Failure.PROXY_UNREACHABLE,
        BlockerKind.PROXY,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        VIA,
        Scope.ALL,
        reasons=("10.0.0.80 port 3128: connection_refused",),
        hint=(VIA,),
        target=PROXIED,
    ),
    Example(
        "a router prohibits the way to the proxy",
        (connected("10.0.0.80", seen=Seen.HOST_UNREACHABLE, via=VIA, port=3128, icmp={"from": "10.0.0.1"}),),
        Failure.PROXY_UNREACHABLE,
        reasons=("10.0.0.1 answered by ICMP",),
        target=PROXIED,
    ),
    proxied(
        "another protocol answers",
        tunnelled(Seen.PROXY_PROTOCOL, first_bytes="5353482d"),
        code=Failure.PROXY_NOT_PROXY,
        blocker=BlockerKind.PROXY,
        confidence=Confidence.CERTAIN,
        scope=Scope.ALL,
        reasons=("it answered 5353482d",),
    ),
    proxied(
        "another protocol answers, its bytes unknown",
        tunnelled(Seen.PROXY_PROTOCOL),
        code=Failure.PROXY_NOT_PROXY,
        reasons=("something else",),
    ),
    proxied(
        "TLS with the proxy itself fails",
        tunnelled(Seen.TLS_UNKNOWN_AUTHORITY, stage="tls"),
        code=Failure.PROXY_NOT_PROXY,
        confidence=Confidence.LIKELY,
        reasons=("TLS with the proxy itself failed: ssl_unknown_authority",),
    ),
    proxied(
        "TLS with the proxy fails, told by its evidence alone",
        tunnelled(Seen.CONNECTION_RESET, tls={"stage": "client_hello"}),
        code=Failure.PROXY_NOT_PROXY,
    ),
    proxied(
        "an https proxy that answers is judged by its answer",
        tunnelled(Seen.PROXY_STATUS, tls={"stage": "finished"}, status=407, schemes=["ntlm"]),
        code=Failure.PROXY_AUTH,
    ),
)

SOCKS = (
    proxied(
        "no acceptable method",
        tunnelled(Seen.SOCKS_REPLY, socks_method=255),
        code=Failure.PROXY_AUTH,
        confidence=Confidence.CERTAIN,
        hint=("Exempt", VIA),
    ),
    proxied("password refused", tunnelled(Seen.SOCKS_REPLY, auth="failed"), code=Failure.PROXY_AUTH),
    proxied(
        "refused by a rule",
        tunnelled(Seen.SOCKS_REPLY, socks_reply=2, socks_method=0),
        code=Failure.PROXY_SOCKS,
        confidence=Confidence.CERTAIN,
        address=VIA,
        reasons=("SOCKS reply 2: not allowed by ruleset", "other names pass"),
        hint=(HOST,),
        beside=(OTHER_PROXIED,),
    ),
    proxied(
        "a reply that RFC 1928 does not know",
        tunnelled(Seen.SOCKS_REPLY, socks_reply=99),
        code=Failure.PROXY_SOCKS,
        reasons=("SOCKS reply 99: unassigned",),
    ),
    proxied(
        "a reply that is no number",
        tunnelled(Seen.SOCKS_REPLY, socks_reply="two"),
        code=Failure.PROXY_SOCKS,
        reasons=("SOCKS reply -1: unassigned",),
    ),
)

MUTE = (
    proxied(
        "no answer for any name: slow, stuck or no proxy",
        tunnelled(Seen.TIMEOUT),
        code=Failure.PROXY_TIMEOUT,
        blocker=BlockerKind.PROXY,
        address=VIA,
        confidence=Confidence.LIKELY,
        scope=Scope.ALL,
        reasons=("took the connection and answered nothing", "for any name"),
        hint=(VIA, "--timeout"),
    ),
    proxied(
        "TLS with an https proxy takes too long: no word against it being one",
        tunnelled(Seen.TIMEOUT, stage="tls", tls={"stage": "client_hello"}),
        code=Failure.PROXY_TIMEOUT,
    ),
    proxied(
        "an https proxy waits for a firewall behind it",
        tunnelled(Seen.TIMEOUT, stage="sent", tls={"stage": "finished"}),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
        beside=(OTHER_PROXIED,),
    ),
    proxied(
        "the same silence, while other rows pass: it waits for a firewall behind it",
        tunnelled(Seen.TIMEOUT),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
        blocker=BlockerKind.FIREWALL,
        confidence=Confidence.LIKELY,
        reasons=("it answers for other names",),
        beside=(OTHER_PROXIED,),
    ),
    proxied(
        "the same silence, while a control name is let through",
        tunnelled(Seen.TIMEOUT),
        tunnelled(role=Role.CONTROL_NAME, target=f"{OTHER_HOST}:443"),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
    ),
    proxied(
        "the same silence, while a control name is refused in words",
        tunnelled(Seen.TIMEOUT),
        as_control(status(403), Role.CONTROL_NAME),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
    ),
    proxied(
        "the same silence, while it opened a tunnel for a row that failed later",
        tunnelled(Seen.TIMEOUT),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
        beside=((OTHER_PROXIED[0], (*TO_PROXY, tunnelled(), shaken(Seen.CONNECTION_RESET, via=VIA))),),
    ),
    proxied(
        "the same silence, and the address is let through: it cannot resolve the name",
        tunnelled(Seen.TIMEOUT),
        BY_ADDRESS,
        code=Failure.PROXY_DNS,
        blocker=BlockerKind.PROXY,
        confidence=Confidence.CERTAIN,
        beside=(OTHER_PROXIED,),
    ),
    proxied(
        "the same silence, and an address was let through for another row",
        tunnelled(Seen.TIMEOUT),
        code=Failure.PROXY_DNS,
        confidence=Confidence.LIKELY,
        beside=((OTHER_PROXIED[0], (*TO_PROXY, tunnelled(Seen.TIMEOUT), BY_ADDRESS)),),
    ),
    proxied(
        "ended instead of answered, while others pass: refused without a word",
        tunnelled(Seen.EOF),
        code=Failure.PROXY_DENIED,
        confidence=Confidence.LIKELY,
        reasons=("other names pass",),
        beside=(OTHER_PROXIED,),
    ),
    proxied("ended instead of answered, for all", tunnelled(Seen.EOF), code=Failure.PROXY_NOT_PROXY),
    proxied(
        "reset though the address is let through: no question of the name",
        tunnelled(Seen.CONNECTION_RESET),
        BY_ADDRESS,
        code=Failure.PROXY_DENIED,
    ),
)

BY_CONTROL = (
    proxied(
        "500: by address it works",
        status(500),
        BY_ADDRESS,
        code=Failure.PROXY_DNS,
        confidence=Confidence.LIKELY,
        severity=Severity.BLOCKING,
        reasons=("proxy answered 500", "by address is let through"),
    ),
    proxied(
        "500 at once, by address too: refused behind it",
        status(500),
        RESOLVES_HERE,
        as_control(status(500), Role.GOOD_ADDRESS),
        code=Failure.PROXY_UPSTREAM_REFUSED,
        reasons=("refused within 10 ms",),
    ),
    proxied(
        "500 at once, by address after a while: silence behind it",
        status(500),
        RESOLVES_HERE,
        as_control(status(500, took_s=4.0), Role.GOOD_ADDRESS),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
        reasons=("gave up after 4.0 s",),
    ),
    proxied(
        "500 at once, by address it is asked who we are: the row's own time counts",
        status(500),
        RESOLVES_HERE,
        as_control(status(407), Role.GOOD_ADDRESS),
        code=Failure.PROXY_UPSTREAM_REFUSED,
    ),
    proxied(
        "500 at once, by address no answer",
        status(500),
        RESOLVES_HERE,
        tunnelled(Seen.TIMEOUT, role=Role.GOOD_ADDRESS),
        code=Failure.PROXY_UPSTREAM_TIMEOUT,
        reasons=("a tunnel to its address gets no answer either",),
    ),
    proxied(
        "500 at once, and the name does not resolve here either",
        status(500),
        resolved(seen=Seen.DNS_NXDOMAIN, role=Role.ALTERNATE),
        code=Failure.PROXY_DNS,
        reasons=("does not resolve here either",),
    ),
    proxied(
        "500 at once, and the name resolves here",
        status(500),
        RESOLVES_HERE,
        code=Failure.PROXY_UPSTREAM_REFUSED,
    ),
    proxied("500 after a while", status(500, took_s=3.0), code=Failure.PROXY_UPSTREAM_TIMEOUT),
)

PORT = (
    proxied(
        "403 on 8443, 443 is open: the port",
        status(403),
        tunnelled(role=Role.OTHER_PORT),
        code=Failure.PROXY_PORT_DENIED,
        confidence=Confidence.CERTAIN,
        reasons=("port 443 of the same host is let through",),
        hint=("8443",),
        target=ODD_PORT,
    ),
    proxied(
        "403 on 8443, 443 fails behind the proxy: still the port",
        status(403),
        as_control(status(504), Role.OTHER_PORT),
        code=Failure.PROXY_PORT_DENIED,
        target=ODD_PORT,
    ),
    proxied(
        "403 on both: the name",
        status(403),
        as_control(status(403), Role.OTHER_PORT),
        code=Failure.PROXY_DENIED,
        target=ODD_PORT,
    ),
    proxied("403 on 8443, 443 not tried", status(403), code=Failure.PROXY_DENIED, target=ODD_PORT),
    proxied(
        "403 on 443 is never the port",
        status(403),
        tunnelled(role=Role.OTHER_PORT),
        code=Failure.PROXY_DENIED,
    ),
)


@examples((*AT_THE_PROXY, *SOCKS, *MUTE, *BY_CONTROL, *PORT))
def test_proxy(example: Example) -> None:
    check(example)


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        ({"status": 503, "headers": {"x-squid-error": "ERR_CONNECT_FAIL 110"}}, "upstream_timeout"),
        ({"status": 503, "headers": {"x-squid-error": "ERR_CONNECT_FAIL 111"}}, "upstream_refused"),
        ({"status": 503, "headers": {"x-squid-error": "ERR_CONNECT_FAIL 104"}}, "upstream_refused"),
        ({"status": 503, "headers": {"x-squid-error": "ERR_CONNECT_FAIL 113"}}, "upstream_unreachable"),
        ({"status": 503, "headers": {"x-squid-error": "ERR_CONNECT_FAIL 9999"}}, "upstream_unreachable"),
        ({"status": 503, "headers": {"x-squid-error": "ERR_DNS_FAIL 0"}}, "dns"),
        ({"status": 500, "headers": {"x-squid-error": "ERR_CANNOT_FORWARD 0"}}, "dns"),
        ({"status": 403, "headers": {"x-squid-error": "ERR_ACCESS_DENIED 0"}}, "denied"),
        ({"status": 407, "headers": {"x-squid-error": "ERR_CACHE_ACCESS_DENIED"}}, "auth"),
        ({"status": 504, "headers": {"x-squid-error": "ERR_UNHEARD_OF 0"}}, "upstream_timeout"),
        ({"status": 403, "headers": {"x-squid-error": "ERR_CONNECT_FAIL none"}}, "denied"),
        ({"status": 502, "headers": {"proxy-status": "gw; error=dns_timeout"}}, "dns"),
        ({"status": 502, "headers": {"proxy-status": 'gw; error="connection_refused"'}}, "upstream_refused"),
        ({"status": 502, "headers": {"proxy-status": "gw; error=connection_timeout"}}, "upstream_timeout"),
        ({"status": 502, "headers": {"proxy-status": "gw; error=destination_ip_prohibited"}}, "denied"),
        ({"status": 504, "headers": {"proxy-status": "gw; error=tls_alert_received"}}, "upstream_timeout"),
        ({"status": 407, "schemes": ["ntlm", "basic"]}, "auth"),
        ({"status": 407}, "auth"),
        ({"status": 401}, "denied"),
        ({"status": 451}, "denied"),
        ({"status": 500, "title": "Filtered"}, "denied"),
        ({"status": 500, "reason": "Access Denied"}, "denied"),
        ({"status": 504}, "upstream_timeout"),
        ({"status": 405}, "not_proxy"),
        ({"status": 502, "body_start": "Could not resolve the host"}, "dns"),
    ],
)
def test_the_proxys_own_words_come_first(evidence: dict[str, object], code: str) -> None:
    found = check(proxied("", tunnelled(Seen.PROXY_STATUS, **evidence), code=Failure(f"proxy.{code}")))
    assert found.outcome is Outcome.BLOCKED


@pytest.mark.parametrize("number", ["\u00b2", "\u0663", "9" * 5000, "-1", "1e9"])
def test_a_squid_error_that_is_no_number_stops_nobody(number: str) -> None:
    squid = tunnelled(
        Seen.PROXY_STATUS, status=403, headers={"x-squid-error": f"ERR_CONNECT_FAIL {number}", "via": "1.1 x"}
    )
    row = Example("", (*TO_PROXY, squid), None, target=PROXIED).row()
    assert row.failure in (Failure.PROXY_UPSTREAM_UNREACHABLE, Failure.PROXY_DENIED)
    assert row.finding is not None
    assert row.finding.blocked_by.name == "1.1 x"


def test_the_schemes_and_the_proxys_name_are_told() -> None:
    check(
        proxied(
            "",
            status(407, schemes=["ntlm", "basic"], headers={"server": "squid/5.7"}),
            code=Failure.PROXY_AUTH,
            confidence=Confidence.CERTAIN,
            reasons=("ntlm, basic", "other names pass"),
            hint=("Exempt", HOST, VIA, "SYSTEM"),
            beside=(OTHER_PROXIED,),
        )
    )


PAC_PROXY = target(route=Route(PROXY, "http://wpad/wpad.dat", pac=True))
PAC_DIRECT = target(route=Route(None, "http://wpad/wpad.dat", pac=True))
PLAIN = target(port=80, kind=Kind.PLAIN, proxy=PROXY)
CUT_DIRECT = (*WELL[:2], shaken(Seen.CONNECTION_RESET))
PAC = (
    proxied(
        "the PAC file chose the proxy, which refuses; direct works",
        status(403),
        shaken(role=Role.ALTERNATE),
        answered(role=Role.ALTERNATE),
        code=Failure.PROXY_PAC_MISMATCH,
        blocker=BlockerKind.PROXY,
        confidence=Confidence.CERTAIN,
        reasons=(f"the PAC file says {VIA}, which fails", "direct works"),
        target=PAC_PROXY,
    ),
    Example(
        "the PAC file chose direct, which is cut; the proxy works",
        (*CUT_DIRECT, *(replace(each, role=Role.ALTERNATE) for each in WELL_PROXIED[1:])),
        Failure.PROXY_PAC_MISMATCH,
        BlockerKind.FIREWALL,
        reasons=("the PAC file says DIRECT, which fails", f"through {VIA} works"),
        target=PAC_DIRECT,
    ),
    proxied(
        "the same, but the other way fails as well",
        status(403),
        shaken(Seen.TIMEOUT, role=Role.ALTERNATE),
        code=Failure.PROXY_DENIED,
        target=PAC_PROXY,
    ),
    proxied("the same, the other way not tried", status(403), code=Failure.PROXY_DENIED, target=PAC_PROXY),
    proxied(
        "the same, and no PAC file chose",
        status(403),
        shaken(role=Role.ALTERNATE),
        answered(role=Role.ALTERNATE),
        code=Failure.PROXY_DENIED,
    ),
    Example(
        "the PAC file gives no way",
        (),
        Failure.PROXY_PAC_ERROR,
        BlockerKind.PROXY,
        Severity.BLOCKING,
        Confidence.CERTAIN,
        reasons=("wpad.dat: line 3: syntax error",),
        hint=(HOST,),
        target=target(route=Route(source="http://wpad/wpad.dat", error="wpad.dat: line 3: syntax error")),
    ),
)
PLAIN_THROUGH_PROXY = (
    Example(
        "the proxy gives up on a plain request",
        (*TO_PROXY, answered(Seen.HTTP_STATUS, via=VIA, status=503, took=1)),
        Failure.PROXY_DNS,
        target=PLAIN,
    ),
    Example(
        "the proxy wants a login for a plain request",
        (*TO_PROXY, answered(Seen.HTTP_STATUS, via=VIA, status=407, schemes=["basic"])),
        Failure.PROXY_AUTH,
        BlockerKind.PROXY,
        address=VIA,
        target=PLAIN,
    ),
    Example(
        "what answers a plain request is no HTTP",
        (*TO_PROXY, answered(Seen.HTTP_PROTOCOL, via=VIA)),
        Failure.PROXY_NOT_PROXY,
        target=PLAIN,
    ),
    Example(
        "the proxy says in its words that it refuses",
        (
            *TO_PROXY,
            answered(Seen.HTTP_STATUS, via=VIA, status=403, headers={"x-squid-error": "ERR_ACCESS_DENIED 0"}),
        ),
        Failure.PROXY_DENIED,
        BlockerKind.PROXY,
        Severity.BLOCKING,
        target=PLAIN,
    ),
    Example(
        "the same status without such words is the service's, or a block page's",
        (*TO_PROXY, answered(Seen.HTTP_STATUS, via=VIA, status=403)),
        Failure.HTTP_STATUS,
        BlockerKind.SERVER,
        Severity.WARNING,
        outcome=Outcome.DEGRADED,
        target=PLAIN,
    ),
)


@examples((*PAC, *PLAIN_THROUGH_PROXY))
def test_ways(example: Example) -> None:
    check(example)


def test_a_tunnel_that_was_opened_and_reset_is_not_the_proxys_answer() -> None:
    row = Example(
        "", (*TO_PROXY, tunnelled(), shaken(Seen.EOF, via=VIA)), None, target=PROXIED, beside=(OTHER_PROXIED,)
    ).row()
    assert row.failure is Failure.PROXY_TUNNEL_CUT
    assert row.finding is not None
    assert row.finding.step is Step.TLS_HANDSHAKE
