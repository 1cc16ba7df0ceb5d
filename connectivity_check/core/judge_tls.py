"""Verdicts on TLS: cut for the name, cut for the size, inspected, out of date, or not TLS at all."""

from __future__ import annotations

from collections.abc import Mapping

from connectivity_check.core.case import Case
from connectivity_check.core.facts import answered, field_text, mappings, number, of, text, texts
from connectivity_check.core.judge_dns import judge_wrong_address
from connectivity_check.core.judge_http import captive
from connectivity_check.core.judge_tcp import too_slow, unexplained
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    Finding,
    Json,
    Observation,
    Role,
    Scope,
    Step,
)

_CUT = (Seen.TIMEOUT, Seen.CONNECTION_RESET, Seen.EOF)
PROTOCOL_VERSION = 70
"""The alert of a side that speaks none of the offered versions (RFC 8446 section 6.2)."""


def judge_failed_handshake(case: Case, failed: Observation) -> Finding:
    """Judge a connection that was open and a handshake that did not end well."""
    if failed.evidence.get("chain"):
        return _certificate(case, failed)
    portal = captive(case, Step.TLS_HANDSHAKE)
    if portal:
        return portal
    if failed.seen is Seen.NOT_TLS:
        return _not_tls(case, failed)
    # Before the controls that change something: what passes unchanged needs no change to pass.
    if any(each.ok for each in case.controls(Role.RETRY, Step.TLS_HANDSHAKE)):
        return case.finding(
            Failure.META_FLAKY,
            Step.TLS_HANDSHAKE,
            f"one handshake ended with {_end(failed)}, the same again a moment later passed",
            confidence=Confidence.CERTAIN,
        )
    small = case.controls(Role.SMALL_MSS, Step.TLS_HANDSHAKE)
    if failed.seen is Seen.TIMEOUT and any(each.ok for each in small):
        return case.finding(
            Failure.IP_PMTU_HOLE,
            Step.TLS_HANDSHAKE,
            f"the handshake stopped after {number(failed, 'received'):.0f} bytes",
            "with segments of at most 536 bytes it passes",
            blocker=case.firewall(),
            confidence=Confidence.CERTAIN,
        )
    version = _version(case, failed)
    if version:
        return version
    if failed.seen in _CUT:
        return _cut(case, failed)
    return _alert(case, failed)


def _version(case: Case, failed: Observation) -> Finding | None:
    older = "TLS 1.2 alone" if case.passed(Role.TLS12, Step.TLS_HANDSHAKE) else ""
    if not older and case.passed(Role.TLS_LEGACY, Step.TLS_HANDSHAKE):
        older = "TLS 1.0 or 1.1"
    refused = failed.evidence.get("alert") == PROTOCOL_VERSION or text(failed, "local_error") in _OLD
    if not older and not refused:
        return None
    return case.finding(
        Failure.TLS_VERSION_LOW,
        Step.TLS_HANDSHAKE,
        f"offering {', '.join(texts(failed, 'offered')) or 'TLS 1.2 and 1.3'} failed: {_end(failed)}",
        f"{older} passes" if older else "",
        blocker=case.proxy(via=failed.via) if failed.via else case.firewall(),
        confidence=Confidence.CERTAIN if older else Confidence.LIKELY,
    )


_OLD = frozenset(
    {"UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION", "VERSION_TOO_LOW", "TLSV1_ALERT_PROTOCOL_VERSION"}
)


def _end(failed: Observation) -> str:
    if "alert" in failed.evidence:
        return f"alert {failed.evidence['alert']} {text(failed, 'alert_name')}".rstrip()
    return text(failed, "local_error") or str(failed.seen)


def _cut(case: Case, failed: Observation) -> Finding:
    """Silence, reset or end after the ClientHello: is it the name, the address, or everything?"""
    name, said = text(failed, "server_name"), f"after the ClientHello came {_end(failed)}"
    slow = too_slow(case, Step.TLS_HANDSHAKE, said) if failed.seen is Seen.TIMEOUT else None
    if slow:
        return slow
    other_name = case.answered(Role.CONTROL_SNI)
    mute = not failed.via and failed.seen is Seen.TIMEOUT and not other_name
    if mute and case.passed(Role.UNROUTABLE, Step.CONNECT):
        return case.finding(
            Failure.TCP_FAKE_ACCEPT,
            Step.CONNECT,
            "an address that no network has accepts connections too",
            said,
            blocker=case.firewall(name="transparent proxy or access gateway"),
            scope=Scope.ALL,
            confidence=Confidence.CERTAIN,
        )
    good = case.controls(Role.GOOD_ADDRESS, Step.TLS_HANDSHAKE)
    cut_there = bool(good) and not any(answered(each) for each in good)
    if not other_name and not cut_there:
        wrong = judge_wrong_address(case)
        if wrong:
            return wrong
        if failed.via and case.others_pass:
            return _tunnel_cut(case, failed, said, confidence=Confidence.LIKELY)
        return unexplained(case, Step.TLS_HANDSHAKE, said)
    reasons = [said]
    if other_name:
        reasons.append(f"the same address answers the server name {_control_name(case)}")
    if cut_there:
        reasons.append(f"the name {name} is cut at an address that answers for another name too")
    elsewhere = next((text(each, "address") for each in good if answered(each)), "")
    if elsewhere:
        # A filter on the name has it cut there too, unless the ways part; the server may do it by itself.
        reasons.append(f"the name {name} is answered at {elsewhere}")
    sure = Confidence.CERTAIN if other_name and not elsewhere else Confidence.LIKELY
    if failed.via and failed.seen is Seen.EOF:
        return _tunnel_cut(case, failed, *reasons, confidence=sure)
    dropped = failed.seen is Seen.TIMEOUT
    return case.finding(
        Failure.TLS_SNI_DROP if dropped else Failure.TLS_SNI_RESET,
        Step.TLS_HANDSHAKE,
        *reasons,
        blocker=case.proxy(via=failed.via) if failed.via else case.firewall(),
        confidence=sure,
    )


def _tunnel_cut(case: Case, failed: Observation, *reasons: str, confidence: Confidence) -> Finding:
    return case.finding(
        Failure.PROXY_TUNNEL_CUT,
        Step.TLS_HANDSHAKE,
        "the proxy opened the tunnel",
        *reasons,
        blocker=case.proxy(via=failed.via),
        confidence=confidence,
    )


def _control_name(case: Case) -> str:
    return next((text(each, "server_name") for each in case.controls(Role.CONTROL_SNI)), "")


def _not_tls(case: Case, failed: Observation) -> Finding:
    start = text(failed, "first_bytes")
    try:
        shown = ascii(bytes.fromhex(start).decode("latin-1"))[1:-1]
    except ValueError:
        shown = start
    return case.finding(
        Failure.TLS_NOT_TLS,
        Step.TLS_HANDSHAKE,
        f"the answer to the ClientHello begins with {shown[:48]!a}",
        blocker=case.proxy(via=failed.via) if failed.via else case.firewall(),
        confidence=Confidence.CERTAIN,
    )


def _alert(case: Case, failed: Observation) -> Finding:
    other = case.answered(Role.CONTROL_SNI)
    return case.finding(
        Failure.TLS_ALERT,
        Step.TLS_HANDSHAKE,
        f"the handshake ended with {_end(failed)} at stage {text(failed, 'stage') or 'unknown'}",
        "another server name is answered at the same address" if other else "",
        blocker=Blocker(BlockerKind.UNKNOWN),
        confidence=Confidence.CERTAIN,
    )


def _certificate(case: Case, failed: Observation) -> Finding:
    """A chain came that this system does not accept for this name and time."""
    expired, early = failed.evidence.get("expired") is True, failed.evidence.get("not_yet") is True
    # What a stranger's certificate says about dates or names is the stranger's affair; who it is comes first
    # only when the wrong address or a portal explains it.
    portal = captive(case, Step.TLS_HANDSHAKE)
    if portal:
        return portal
    if not (expired or early) or failed.evidence.get("name_matches") is False:
        wrong = judge_wrong_address(case)
        if wrong:
            return wrong
    if expired or early:
        return _dates(case, failed, early)
    if failed.evidence.get("name_matches") is False:
        leaf = next(iter(mappings(failed, "chain")), {})
        return case.finding(
            Failure.TLS_HOSTNAME,
            Step.TLS_HANDSHAKE,
            f"the certificate is for {_names(leaf)}, not for {text(failed, 'server_name')}",
            f"issued by {field_text(leaf, 'issuer')}",
            blocker=Blocker(BlockerKind.UNKNOWN, name=_names(leaf)),
            confidence=Confidence.CERTAIN,
        )
    if failed.evidence.get("verified_public") is True:
        return case.finding(
            Failure.TLS_STORE_INCOMPLETE,
            Step.TLS_HANDSHAKE,
            f"the chain ends in the public CA {text(failed, 'root_common_name')}",
            f"this device's store says: {text(failed, 'verified_system')}",
            blocker=Blocker(BlockerKind.HOST, name="certificate store"),
            confidence=Confidence.CERTAIN,
        )
    return _inspected(case, failed, trusted=False)


def _names(leaf: Mapping[str, Json]) -> str:
    names = leaf.get("names")
    if isinstance(names, list | tuple) and names:
        return ", ".join(str(each) for each in names[:3])
    return field_text(leaf, "common_name") or "nobody"


def _dates(case: Case, failed: Observation, early: bool) -> Finding:
    leaf = next(iter(mappings(failed, "chain")), {})
    valid = f"valid from {field_text(leaf, 'not_before')} to {field_text(leaf, 'not_after')}"
    skew = case.known.skew_s
    if skew is not None and (skew > 0) == early:
        return case.finding(
            Failure.CLOCK_SKEW,
            Step.TLS_HANDSHAKE,
            valid,
            f"several hosts agree: this device's clock is {abs(skew):.0f} s"
            f" {'behind' if skew > 0 else 'ahead'}",
            blocker=Blocker(BlockerKind.HOST, name="clock"),
            scope=Scope.ALL,
            confidence=Confidence.CERTAIN,
            severity=Severity.BLOCKING,
        )
    return case.finding(
        Failure.TLS_NOT_YET if early else Failure.TLS_EXPIRED,
        Step.TLS_HANDSHAKE,
        valid,
        f"issued by {field_text(leaf, 'issuer')}",
        blocker=Blocker(BlockerKind.UNKNOWN, name=field_text(leaf, "issuer_common_name")),
        confidence=Confidence.CERTAIN,
    )


def _inspected(case: Case, seen: Observation, *, trusted: bool) -> Finding:
    chain = mappings(seen, "chain")
    issuer = field_text(chain[0], "issuer") if chain else ""
    spki = text(seen, "root_spki_sha256")
    hosts = case.known.foreign_roots.get(spki, frozenset()) - {case.target.host}
    expected = case.target.expectation.issuers
    pinned = case.target.expectation.pinned is not False
    reasons = [
        f"issued by {issuer}, root SPKI sha256 {spki or 'unknown'}",
        f"the same root signs for {len(hosts)} other hosts of the list" if hosts else "",
        f"expected is {expected[0]} or the like" if expected else "",
    ]
    if trusted:
        reasons.append("this system trusts that root, the public bundle does not know it")
    return case.finding(
        Failure.TLS_INTERCEPT_TRUSTED if trusted else Failure.TLS_INTERCEPT_UNTRUSTED,
        Step.TLS_HANDSHAKE,
        *reasons,
        blocker=Blocker(
            BlockerKind.TLS_INSPECTION,
            str(case.target.route.proxy) if case.target.route.proxy else "",
            text(seen, "root_common_name") or issuer,
        ),
        scope=Scope.SEVERAL if hosts else Scope.ENDPOINT,
        confidence=Confidence.CERTAIN if trusted or hosts or expected else Confidence.LIKELY,
        severity=Severity.WARNING if trusted and not pinned else Severity.BLOCKING,
    )


def judge_good_handshake(case: Case) -> tuple[Finding, ...]:
    """Judge a handshake that this system accepts: would the agent, which does not ask the system, as well?"""
    found: list[Finding] = []
    for seen in case.probes(Step.TLS_HANDSHAKE):
        if not seen.ok:
            continue
        if seen.evidence.get("verified_public") not in (True, None):
            found.append(_inspected(case, seen, trusted=True))
        else:
            found += _issuer(case, seen)
    found += _rule_of_wildcard(case)
    return tuple(found)


def _issuer(case: Case, seen: Observation) -> list[Finding]:
    expected = {each.lower() for each in case.target.expectation.issuers}
    shown = [
        field_text(each, key).lower()
        for each in mappings(seen, "chain")
        for key in ("issuer_common_name", "common_name")
    ]
    shown.append(text(seen, "root_common_name").lower())
    if not expected or not any(shown) or expected & set(shown):
        return []
    leaf = next(iter(mappings(seen, "chain")), {})
    return [
        case.finding(
            Failure.TLS_ISSUER_CHANGED,
            Step.TLS_HANDSHAKE,
            f"issued by {field_text(leaf, 'issuer')}",
            f"this list's data knows {', '.join(case.target.expectation.issuers[:3])}",
            blocker=Blocker(BlockerKind.SERVER, name=field_text(leaf, "issuer_common_name")),
        )
    ]


def _rule_of_wildcard(case: Case) -> list[Finding]:
    """The sample passed; does another name under the same wildcard?"""
    for each in of(case.seen, Step.PROXY_CONNECT, Role.RANDOM_LABEL):
        if each.seen is Seen.PROXY_STATUS and number(each, "status") in (403, 407):
            auth = number(each, "status") == 407
            return [
                case.finding(
                    Failure.PROXY_AUTH if auth else Failure.PROXY_DENIED,
                    Step.PROXY_CONNECT,
                    f"{text(each, 'target')} is answered {number(each, 'status'):.0f},"
                    " while the sample host passes",
                    blocker=case.proxy(),
                    scope=Scope.WILDCARD,
                    confidence=Confidence.CERTAIN,
                    severity=Severity.WARNING,
                )
            ]
    labels = of(case.seen, Step.TLS_HANDSHAKE, Role.RANDOM_LABEL)
    # Once may be a lost packet. A server may cut names it does not know by itself; then it cuts a listed
    # name of others, too.
    always = len(labels) > 1 and all(each.seen in _CUT and not answered(each) for each in labels)
    if not always or not case.answered(Role.CONTROL_SNI):
        return []
    silent = labels[0].seen is Seen.TIMEOUT
    return [
        case.finding(
            Failure.TLS_SNI_DROP if silent else Failure.TLS_SNI_RESET,
            Step.TLS_HANDSHAKE,
            f"the name {text(labels[0], 'server_name')} under the wildcard is cut at the sample's address",
            "the sample host passes",
            blocker=case.firewall(),
            scope=Scope.WILDCARD,
            severity=Severity.WARNING,
        )
    ]
