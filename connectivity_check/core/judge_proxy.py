"""Verdicts on proxies: not reached, not a proxy, refused, asked who we are, or failing behind itself.

A status alone misleads (squid answers 503 for drop, refusal and no route alike), so the proxy's own words
come first (X-Squid-Error; Proxy-Status, RFC 9209), then a control request, then the status and the time.
"""

from __future__ import annotations

import re

from connectivity_check.core.case import Case
from connectivity_check.core.facts import field_text, mapping, number, text, texts
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    Finding,
    Observation,
    Role,
    Scope,
    Step,
)

_SQUID = {
    "ERR_ACCESS_DENIED": Failure.PROXY_DENIED,
    "ERR_CACHE_ACCESS_DENIED": Failure.PROXY_AUTH,
    "ERR_DNS_FAIL": Failure.PROXY_DNS,
    "ERR_CANNOT_FORWARD": Failure.PROXY_DNS,
    "ERR_READ_TIMEOUT": Failure.PROXY_UPSTREAM_TIMEOUT,
    "ERR_FORWARDING_DENIED": Failure.PROXY_DENIED,
    "ERR_TOO_BIG": Failure.HTTP_METHOD_OR_SIZE,
}
"""ERR_CANNOT_FORWARD: squid 5, when the name of a CONNECT does not resolve (squid-cache/squid#1453)."""

_SQUID_ERRNO = {
    "110": Failure.PROXY_UPSTREAM_TIMEOUT,
    "111": Failure.PROXY_UPSTREAM_REFUSED,
    "113": Failure.PROXY_UPSTREAM_UNREACHABLE,
    "101": Failure.PROXY_UPSTREAM_UNREACHABLE,
    "104": Failure.PROXY_UPSTREAM_REFUSED,
    "1": Failure.PROXY_UPSTREAM_UNREACHABLE,
    "13": Failure.PROXY_UPSTREAM_UNREACHABLE,
}
"""The errno that squid puts behind ERR_CONNECT_FAIL, as Linux numbers it.

Texts: a header is a stranger's, and not all that `isdigit` accepts is a number to `int`.
"""

_PROXY_STATUS = {
    "dns_error": Failure.PROXY_DNS,
    "dns_timeout": Failure.PROXY_DNS,
    "connection_timeout": Failure.PROXY_UPSTREAM_TIMEOUT,
    "connection_refused": Failure.PROXY_UPSTREAM_REFUSED,
    "destination_ip_unroutable": Failure.PROXY_UPSTREAM_UNREACHABLE,
    "destination_not_found": Failure.PROXY_DNS,
    "http_request_denied": Failure.PROXY_DENIED,
    "destination_ip_prohibited": Failure.PROXY_DENIED,
}
QUICK_S = 0.5
"""A proxy that gives up sooner was told so: a refusal, or its own policy."""


def judge_failed_proxy_name(case: Case, failed: Observation) -> Finding:
    """Judge a proxy whose own name does not resolve."""
    return case.finding(
        Failure.PROXY_UNRESOLVED,
        Step.RESOLVE,
        f"the proxy's name {text(failed, 'name')}: {text(failed, 'rcode') or failed.seen}",
        blocker=case.proxy(via=failed.via),
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN,
    )


def judge_failed_proxy_connect(case: Case, failed: Observation) -> Finding:
    """Judge a proxy that cannot be connected to."""
    icmp = field_text(mapping(failed, "icmp"), "from")
    return case.finding(
        Failure.PROXY_UNREACHABLE,
        Step.CONNECT,
        f"{text(failed, 'address')} port {number(failed, 'port'):.0f}: {failed.seen}",
        f"{icmp} answered by ICMP" if icmp else "",
        blocker=case.proxy(via=failed.via),
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN,
    )


def judge_failed_tunnel(case: Case, failed: Observation) -> Finding:
    """Judge a proxy that was reached and did not open the way; plain requests through it are judged alike."""
    if failed.seen is Seen.PROXY_PROTOCOL or failed.seen is Seen.HTTP_PROTOCOL:
        return _not_proxy(case, failed, f"it answered {text(failed, 'first_bytes') or 'something else'}")
    if failed.seen is Seen.SOCKS_REPLY:
        return _socks(case, failed)
    in_tls = text(failed, "stage") == "tls" or (
        failed.evidence.get("tls") and not failed.evidence.get("status")
    )
    if in_tls and failed.seen is not Seen.TIMEOUT:
        return _not_proxy(case, failed, f"TLS with the proxy itself failed: {failed.seen}")
    if failed.seen in (Seen.TIMEOUT, Seen.EOF, Seen.CONNECTION_RESET):
        return _mute(case, failed)
    failure, reason = explain_answer(failed)
    if failure is Failure.PROXY_DENIED and _port_alone(case):
        failure, reason = Failure.PROXY_PORT_DENIED, f"{reason}; port 443 of the same host is let through"
    if failure is None:
        failure, reason = _by_control(case, failed)
    return case.finding(
        failure,
        failed.step,
        f"proxy answered {number(failed, 'status'):.0f} {text(failed, 'reason')}".rstrip(),
        reason,
        _control_said(case),
        blocker=case.proxy(_calls_itself(failed), via=failed.via),
        confidence=Confidence.CERTAIN if failure in _CERTAIN else Confidence.LIKELY,
        severity=Severity.BLOCKING,
    )


_CERTAIN = frozenset({Failure.PROXY_AUTH, Failure.PROXY_DENIED, Failure.PROXY_PORT_DENIED})


def explain_answer(failed: Observation) -> tuple[Failure | None, str]:
    """Give what a proxy's answer says about itself, and the words that say it; None when it says nothing."""
    headers = mapping(failed, "headers")
    squid = field_text(headers, "x-squid-error").split()
    if squid:
        name, detail = squid[0], squid[1] if len(squid) > 1 else ""
        if name == "ERR_CONNECT_FAIL" and detail.isdigit():
            return _SQUID_ERRNO.get(detail, Failure.PROXY_UPSTREAM_UNREACHABLE), " ".join(squid)
        if name in _SQUID:
            return _SQUID[name], " ".join(squid)
    token = re.search(r"error\s*=\s*\"?([a-z_]+)", field_text(headers, "proxy-status"))
    if token and token[1] in _PROXY_STATUS:
        return _PROXY_STATUS[token[1]], f"Proxy-Status says {token[1]}"
    return _by_status(failed)


def _by_status(failed: Observation) -> tuple[Failure | None, str]:
    status = number(failed, "status")
    page = f"{text(failed, 'title')} {text(failed, 'body_start')} {text(failed, 'reason')}".lower()
    if status == 407:
        schemes = ", ".join(texts(failed, "schemes")) or "none named"
        return Failure.PROXY_AUTH, f"it asks for authentication: {schemes}"
    if status in (401, 403, 451) or "filtered" in page or "denied" in page:
        return Failure.PROXY_DENIED, "the status or the page says that policy forbids it"
    if status == 504:
        return Failure.PROXY_UPSTREAM_TIMEOUT, "gateway timeout"
    if status in (400, 404, 405, 501):
        return Failure.PROXY_NOT_PROXY, "it does not know CONNECT: a web server, not a proxy"
    if re.search(r"(could not|cannot|can't|unable to) resolve|host not found|dns", page):
        return Failure.PROXY_DNS, "the page says that the name does not resolve"
    return None, ""


def _by_control(case: Case, failed: Observation) -> tuple[Failure, str]:
    """A 5xx that says nothing (tinyproxy: 500 for all): tell by a tunnel to the address, and by time."""
    by_address = case.controls(Role.GOOD_ADDRESS, Step.PROXY_CONNECT)
    if any(each.ok for each in by_address):
        return Failure.PROXY_DNS, "the same host by address is let through"
    if by_address and explain_answer(by_address[0])[0] is None and by_address[0].seen is Seen.PROXY_STATUS:
        took = by_address[0].took_s
    else:
        took = failed.took_s
    resolves = any(each.ok for each in case.controls(Role.ALTERNATE, Step.RESOLVE))
    if not resolves and took < QUICK_S:
        return Failure.PROXY_DNS, "the name does not resolve here either"
    if by_address and by_address[0].seen is Seen.TIMEOUT:
        return Failure.PROXY_UPSTREAM_TIMEOUT, "a tunnel to its address gets no answer either"
    if took < QUICK_S:
        return Failure.PROXY_UPSTREAM_REFUSED, f"the proxy was refused within {took * 1000:.0f} ms"
    return Failure.PROXY_UPSTREAM_TIMEOUT, f"the proxy gave up after {took:.1f} s"


def _port_alone(case: Case) -> bool:
    """Whether the same host on 443 gets past the policy that forbids this port."""
    if case.target.port == 443:
        return False
    for each in case.controls(Role.OTHER_PORT, Step.PROXY_CONNECT):
        if each.ok or (each.seen is Seen.PROXY_STATUS and explain_answer(each)[0] not in _CERTAIN):
            return True
    return False


def _control_said(case: Case) -> str:
    if case.others_pass or case.passed(Role.CONTROL_NAME, Step.PROXY_CONNECT):
        return "other names pass through the same proxy"
    return ""


def _mute(case: Case, failed: Observation) -> Finding:
    """No answer to the request at all: the proxy waits for somebody, or is none."""
    works = bool(_control_said(case))
    answers = any(
        each.evidence.get("status") for each in case.controls(Role.CONTROL_NAME, Step.PROXY_CONNECT)
    )
    by_address = case.passed(Role.GOOD_ADDRESS, Step.PROXY_CONNECT)
    if failed.seen is Seen.TIMEOUT and (by_address or (not works and _opens_addresses(case, failed))):
        return case.finding(
            Failure.PROXY_DNS,
            failed.step,
            f"the proxy did not answer for the name within {failed.took_s:.1f} s",
            "it opens a tunnel to an address at once",
            blocker=case.proxy(via=failed.via),
            confidence=Confidence.CERTAIN if by_address else Confidence.LIKELY,
        )
    if not works and not answers and failed.via not in case.known.proxies_connected:
        if failed.seen is Seen.TIMEOUT:
            return _timeout(case, failed)
        return _not_proxy(case, failed, f"no answer to a request ({failed.seen}), for any name")
    if failed.seen is Seen.TIMEOUT:
        return case.finding(
            Failure.PROXY_UPSTREAM_TIMEOUT,
            failed.step,
            f"the proxy did not answer within {failed.took_s:.1f} s",
            "it answers for other names, so it is waiting for this one",
            blocker=case.firewall(name="behind the proxy"),
        )
    return case.finding(
        Failure.PROXY_DENIED,
        failed.step,
        f"the proxy ended the connection instead of answering ({failed.seen})",
        _control_said(case),
        blocker=case.proxy(via=failed.via),
    )


def _timeout(case: Case, failed: Observation) -> Finding:
    """Silence for every name, named as it was seen.

    A slow proxy, one whose way out is shut, and a port that only takes connections look the same until one
    of them speaks.
    """
    return case.finding(
        Failure.PROXY_TIMEOUT,
        failed.step,
        f"the proxy took the connection and answered nothing within {failed.took_s:.1f} s, for any name",
        blocker=case.proxy(via=failed.via),
        scope=Scope.ALL,
    )


def _opens_addresses(case: Case, failed: Observation) -> bool:
    return failed.via in case.known.proxies_by_address


def _not_proxy(case: Case, failed: Observation, reason: str) -> Finding:
    return case.finding(
        Failure.PROXY_NOT_PROXY,
        failed.step,
        reason,
        blocker=case.proxy(_calls_itself(failed), via=failed.via),
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN if failed.seen is Seen.PROXY_PROTOCOL else Confidence.LIKELY,
    )


def _socks(case: Case, failed: Observation) -> Finding:
    """RFC 1928 section 6; no acceptable method, or a refused password (RFC 1929), is about who we are."""
    if failed.evidence.get("socks_method") == 255 or failed.evidence.get("auth") == "failed":
        return case.finding(
            Failure.PROXY_AUTH,
            failed.step,
            "the SOCKS server wants authentication",
            blocker=case.proxy(via=failed.via),
            confidence=Confidence.CERTAIN,
        )
    reply = int(number(failed, "socks_reply", -1))
    return case.finding(
        Failure.PROXY_SOCKS,
        failed.step,
        f"SOCKS reply {reply}: {SOCKS_REPLIES.get(reply, 'unassigned')}",
        _control_said(case),
        blocker=case.proxy(via=failed.via),
        confidence=Confidence.CERTAIN,
    )


SOCKS_REPLIES = {
    1: "general failure",
    2: "not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


def _calls_itself(failed: Observation) -> str:
    headers = mapping(failed, "headers")
    return field_text(headers, "via") or field_text(headers, "server")


def judge_route(case: Case) -> Finding | None:
    """Judge a target whose PAC file gave no way."""
    if not case.target.route.error:
        return None
    return case.finding(
        Failure.PROXY_PAC_ERROR,
        None,
        case.target.route.error,
        blocker=Blocker(BlockerKind.PROXY, name=case.target.route.source),
        confidence=Confidence.CERTAIN,
    )


def judge_wrong_way(case: Case) -> Finding | None:
    """Judge a way that a PAC file chose and that fails, while the other way works."""
    if not case.target.route.pac:
        return None
    steps = (Step.TLS_HANDSHAKE, Step.HTTP_ROUND_TRIP, Step.REVOCATION)
    others = [each for each in case.controls(Role.ALTERNATE) if each.step in steps]
    if not others or not all(each.ok for each in others):
        return None
    proxied = case.target.route.proxy is not None
    chosen = f"the PAC file says {case.target.route.proxy}" if proxied else "the PAC file says DIRECT"
    other = "direct" if proxied else f"through {others[-1].via}"
    return case.finding(
        Failure.PROXY_PAC_MISMATCH,
        None,
        f"{chosen}, which fails",
        f"{other} works",
        blocker=case.proxy() if proxied else case.firewall(),
        confidence=Confidence.CERTAIN,
    )
