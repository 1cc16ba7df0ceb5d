"""Verdicts on answers: a block page, a portal, a wrong body, a cut request; and what revocation needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectivity_check.core.case import Case
from connectivity_check.core.facts import field_text, mapping, mappings, number, text
from connectivity_check.core.judge_proxy import explain_answer
from connectivity_check.core.judge_tcp import too_slow
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    Finding,
    Json,
    Kind,
    Observation,
    Role,
    Scope,
    Step,
)

_REVOCATION = {
    Kind.CRL: Failure.REV_CRL,
    Kind.OCSP: Failure.REV_OCSP,
    Kind.CTL: Failure.REV_CTL,
}
NETWORK_AUTHENTICATION_REQUIRED = 511
"""RFC 6585 section 6."""
SLOW_BYTES_PER_S = 8 * 1024
SLOW_SHARE = 0.4
"""A step that passes, but takes more than this share of the row's deadline, is slow."""


def captive(case: Case, step: Step) -> Finding | None:
    """Give the finding when the connectivity test page is not what it is known to be.

    A portal stops all but a few hosts; where most names pass, the page is filtered by itself.
    """
    passing = {each.host for each in case.known.passes if not each.via}
    if 2 * len(passing) > len(case.known.answered_names):
        return None
    for each in case.controls(Role.PORTAL):
        moved = text(each, "location") or field_text(mapping(each, "headers"), "location")
        wrong = each.seen in (Seen.HTTP_STATUS, Seen.HTTP_CONTENT)
        status = number(each, "status")
        if not wrong or each.via or status in (407, 403, 451) or (status >= 500 and status != 511):
            continue
        return case.finding(
            Failure.HTTP_CAPTIVE_PORTAL,
            step,
            f"{text(each, 'url')} answers {status:.0f}" + (f" and points to {moved}" if moved else ""),
            f"its page is titled {text(each, 'title')!a}" if text(each, "title") else "",
            blocker=Blocker(BlockerKind.FIREWALL, name=moved or text(each, "title") or "captive portal"),
            scope=Scope.ALL,
            confidence=Confidence.CERTAIN,
            severity=Severity.BLOCKING,
        )
    return None


def judge_failed_exchange(case: Case, failed: Observation) -> Finding:
    """Judge a request that was sent (or could not be) and an answer that is not the service's."""
    if number(failed, "status") == NETWORK_AUTHENTICATION_REQUIRED:
        return captive(case, failed.step) or _portal_by_status(case, failed)
    if number(failed, "status") == 407:
        return case.finding(
            Failure.PROXY_AUTH,
            failed.step,
            "a transparent proxy asks for authentication (407)",
            blocker=Blocker(BlockerKind.PROXY, name=_server(failed)),
            confidence=Confidence.CERTAIN,
        )
    by_proxy, words = explain_answer(failed)
    if by_proxy and by_proxy is not Failure.PROXY_DENIED and "ERR_" in words:
        return case.finding(
            by_proxy,
            failed.step,
            f"a transparent proxy says {words}",
            blocker=Blocker(BlockerKind.PROXY, failed.via, _server(failed)),
            confidence=Confidence.CERTAIN,
            severity=Severity.BLOCKING,
        )
    portal = captive(case, failed.step)
    if portal:
        return portal
    if failed.step is Step.REVOCATION:
        return _revocation(case, failed)
    if failed.seen in (Seen.TIMEOUT, Seen.CONNECTION_RESET, Seen.EOF, Seen.HTTP_PROTOCOL, Seen.OTHER):
        return _cut(case, failed)
    if _is_block_page(case, failed):
        return _block_page(case, failed)
    return case.finding(
        Failure.HTTP_STATUS,
        failed.step,
        f"{text(failed, 'url')} answers {number(failed, 'status'):.0f} {text(failed, 'reason')}".rstrip(),
        "the certificate is the service's own" if case.target.tls else "the answer is no block page",
        blocker=Blocker(BlockerKind.SERVER, name=_server(failed)),
        severity=Severity.WARNING,
    )


def _portal_by_status(case: Case, failed: Observation) -> Finding:
    return case.finding(
        Failure.HTTP_CAPTIVE_PORTAL,
        failed.step,
        "status 511: the network wants a sign-in (RFC 6585)",
        blocker=Blocker(BlockerKind.FIREWALL, name=_server(failed)),
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN,
    )


def _server(observation: Observation) -> str:
    headers = mapping(observation, "headers")
    return field_text(headers, "via") or field_text(headers, "server")


def _is_block_page(case: Case, failed: Observation) -> bool:
    if text(failed, "vendor"):
        return True
    if text(failed, "leads_to") and not case.target.tls:
        return True  # inside TLS with its own certificate the service itself sends its clients elsewhere
    html = failed.evidence.get("html") is True
    status = number(failed, "status")
    if failed.seen is Seen.HTTP_CONTENT:
        return html
    return html and not case.target.expectation.html_allowed and (status in (403, 451) or 200 <= status < 400)


def _block_page(case: Case, failed: Observation) -> Finding:
    vendor, title = text(failed, "vendor"), text(failed, "title")
    incident, away = text(failed, "incident"), text(failed, "leads_to")
    page = f" with a page titled {title!a}" if title else "" if away else " with a page"
    return case.finding(
        Failure.HTTP_BLOCK_PAGE,
        failed.step,
        f"{text(failed, 'url')} answers {number(failed, 'status'):.0f}{page}",
        f"it leads to {away}, which is not of the host's own domain" if away else "",
        f"it is a page of {vendor}" if vendor else "",
        f"incident {incident}" if incident else "",
        blocker=Blocker(
            BlockerKind.PROXY if failed.via else BlockerKind.FIREWALL,
            failed.via,
            vendor or away or _server(failed) or title,
        ),
        confidence=Confidence.CERTAIN if vendor else Confidence.LIKELY,
    )


def _revocation(case: Case, failed: Observation) -> Finding:
    """The bytes that revocation needs did not come, whatever came instead."""
    failure = _REVOCATION.get(case.target.expectation.kind, Failure.REV_CRL)
    told = text(failed, "error") or str(failed.seen)
    if failed.evidence.get("stale") is True:
        told = f"it ran out at {text(failed, 'next_update')}"
    html = failed.evidence.get("html") is True
    status = number(failed, "status")
    return case.finding(
        failure,
        failed.step,
        f"{text(failed, 'url')}: {told}",
        f"status {status:.0f}" + (f", a page titled {text(failed, 'title')!a}" if html else "")
        if status
        else "",
        f"it is a page of {text(failed, 'vendor')}" if text(failed, "vendor") else "",
        blocker=Blocker(
            BlockerKind.PROXY if failed.via else BlockerKind.FIREWALL if html else BlockerKind.UNKNOWN,
            failed.via,
            text(failed, "vendor") or _server(failed),
        ),
        confidence=Confidence.CERTAIN,
    )


def _cut(case: Case, failed: Observation) -> Finding:
    """A request without an answer. Inside TLS with the service's own certificate nobody else can read it."""
    said = f"the request for {text(failed, 'url')} ended with {failed.seen}"
    hidden = any(each.evidence.get("verified_public") is True for each in case.probes(Step.TLS_HANDSHAKE))
    slow = too_slow(case, failed.step, said) if failed.seen is Seen.TIMEOUT else None
    if slow:
        return slow
    if hidden or not case.others_pass:
        return case.finding(
            Failure.META_UNEXPLAINED,
            failed.step,
            said,
            "the certificate is the service's own, so no filter read the request: the service or the path"
            if hidden
            else "no control passed, so nobody can be named",
            confidence=Confidence.UNEXPLAINED,
        )
    return case.finding(
        Failure.HTTP_CUT,
        failed.step,
        said,
        "other names get an answer",
        blocker=case.proxy(via=failed.via) if failed.via else case.firewall(),
    )


def judge_good_exchange(case: Case) -> tuple[Finding, ...]:
    """Judge a row that got its answer: its bigger requests, its protocol, its speed."""
    found = [*_big(case), *_version(case), *_slow(case)]
    return tuple(found)


_CUT = (Seen.TIMEOUT, Seen.CONNECTION_RESET, Seen.EOF)


def _big(case: Case) -> list[Finding]:
    for role, what in ((Role.BODY, "a POST of 64 KiB"), (Role.RANGE, "a request with Range")):
        tries = case.controls(role)
        # A cut may be a lost packet; the second time it is none. An answer says what it says at once.
        cut = len(tries) > 1 and all(each.seen in _CUT and each.evidence.get("url") for each in tries)
        for each in tries:
            status = number(each, "status")
            page = bool(text(each, "vendor")) or bool(field_text(mapping(each, "headers"), "x-squid-error"))
            refused = status in (403, 413) and (each.evidence.get("html") is True or page or status == 413)
            stripped = role is Role.RANGE and status == 200
            if cut or refused or stripped:
                said = str(each.seen) if cut else f"{status:.0f}"
                return [
                    case.finding(
                        Failure.HTTP_METHOD_OR_SIZE,
                        Step.HTTP_ROUND_TRIP,
                        f"{what} ends with {said}, the small request passes",
                        blocker=case.proxy(_server(each), via=each.via)
                        if each.via
                        else case.firewall(name=_server(each)),
                    )
                ]
    return []


def _version(case: Case) -> list[Finding]:
    for each in case.controls(Role.ALPN, Step.TLS_HANDSHAKE):
        if each.ok and text(each, "alpn") != "h2":
            return [
                case.finding(
                    Failure.HTTP_VERSION,
                    Step.TLS_HANDSHAKE,
                    f"h2 was offered, {text(each, 'alpn') or 'nothing'} was chosen",
                    blocker=case.proxy(via=each.via) if each.via else case.firewall(),
                )
            ]
    for each in case.seen:
        if (
            each.step is Step.HTTP_ROUND_TRIP
            and each.ok
            and text(each, "http_version") in ("1.0", "HTTP/1.0")
        ):
            return [
                case.finding(
                    Failure.HTTP_VERSION,
                    Step.HTTP_ROUND_TRIP,
                    "the answer is HTTP/1.0",
                    blocker=Blocker(BlockerKind.UNKNOWN, name=_server(each)),
                )
            ]
    return []


def _slow(case: Case) -> list[Finding]:
    limit = SLOW_SHARE * case.timeout_s
    for each in case.seen:
        if each.role is not Role.PROBE or not each.ok:
            continue
        rate = number(each, "slow_bytes_per_s", SLOW_BYTES_PER_S)
        lost = each.step is Step.CONNECT and number(each, "syns", 1) > 1
        if (each.took_s > limit and not lost) or rate < SLOW_BYTES_PER_S:
            return [
                case.finding(
                    Failure.NET_SLOW,
                    each.step,
                    f"{each.step} took {each.took_s:.1f} s",
                    f"{rate:.0f} bytes a second" if rate < SLOW_BYTES_PER_S else "",
                    confidence=Confidence.CERTAIN,
                )
            ]
    return []


def judge_headers(case: Case) -> tuple[Finding, ...]:
    """Judge what a helper of one's own got of the headers that were sent."""
    for each in case.controls(Role.HEADER_ECHO):
        changed = mappings(each, "tampered")
        if changed:
            said = ", ".join(
                f"{field_text(one, 'header')}: sent {field_text(one, 'sent')!a},"
                f" got {field_text(one, 'got')!a}"
                for one in changed[:4]
            )
            return (
                case.finding(
                    Failure.HTTP_HEADER_TAMPER,
                    Step.HTTP_ROUND_TRIP,
                    said,
                    blocker=Blocker(BlockerKind.PROXY, name=_via_in(changed)),
                    scope=Scope.ALL,
                    confidence=Confidence.CERTAIN,
                ),
            )
    return ()


def _via_in(changed: Sequence[Mapping[str, Json]]) -> str:
    return next((field_text(one, "got") for one in changed if field_text(one, "header").lower() == "via"), "")
