"""Verdicts on name resolution: what the resolver said, and who said it."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

from connectivity_check.core.case import Case
from connectivity_check.core.controls import UNROUTABLE, is_global
from connectivity_check.core.facts import addresses_of, field_text, mappings, number, of, text, texts
from connectivity_check.core.ip_text import ip_of
from connectivity_check.core.known import suffix_of
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

_CODES = {
    Seen.DNS_NXDOMAIN: Failure.DNS_NXDOMAIN,
    Seen.DNS_NO_ANSWER: Failure.DNS_NODATA,
    Seen.DNS_REFUSED: Failure.DNS_REFUSED,
    Seen.DNS_SERVFAIL: Failure.DNS_SERVFAIL,
    Seen.DNS_BOGON: Failure.DNS_SINKHOLE,
    Seen.TIMEOUT: Failure.DNS_TIMEOUT,
    Seen.CONNECTION_REFUSED: Failure.DNS_TIMEOUT,
    Seen.HOST_UNREACHABLE: Failure.DNS_TIMEOUT,
    Seen.NETWORK_UNREACHABLE: Failure.DNS_TIMEOUT,
    Seen.PERMISSION_DENIED: Failure.TCP_LOCAL_BLOCK,
}

_FORGED_EDE = (4, 15, 16, 17, 18)
"""RFC 8914: forged answer, blocked, censored, filtered, prohibited. No set: a recorded code may be a list."""


def judge_failed_resolve(case: Case, failed: Observation) -> Finding:
    """Judge a name that did not resolve. The rcode is a fact; who is behind it is inferred."""
    injected = _injected(case)
    if injected:
        return injected
    code = _CODES.get(failed.seen or Seen.OTHER, Failure.DNS_SERVFAIL)
    override = _override(case)
    if override and override.severity is Severity.BLOCKING:
        return override
    if code is Failure.DNS_NODATA and _private_elsewhere(case):
        return _finding(case, Failure.DNS_PRIVATE_ANSWER, failed, "another resolver gives a private address")
    return _finding(case, code, failed, *_comparison(case, code))


def _finding(case: Case, code: Failure, failed: Observation, *more: str) -> Finding:
    resolver = text(failed, "resolver")
    told = [f"EDE {each.get('code')} {field_text(each, 'text')}".rstrip() for each in mappings(failed, "ede")]
    forged = any(each.get("code") in _FORGED_EDE for each in mappings(failed, "ede"))
    second = any(addresses_of(each) for each in case.controls(Role.OTHER_RESOLVER, Step.RESOLVE))
    sure = code is Failure.DNS_SINKHOLE or forged or second
    return case.finding(
        code,
        Step.RESOLVE,
        _said(failed),
        *told,
        *more,
        blocker=Blocker(BlockerKind.RESOLVER, resolver),
        scope=Scope.ENDPOINT if case.known.answered_names else Scope.ALL,
        confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
    )


def _said(observation: Observation) -> str:
    name, resolver = text(observation, "name"), text(observation, "resolver")
    if observation.seen is Seen.TIMEOUT:
        return f"resolver {resolver} did not answer for {name}"
    if observation.seen is Seen.DNS_BOGON:
        return f"resolver {resolver} answered {', '.join(addresses_of(observation))} for {name}"
    if observation.seen is Seen.DNS_NO_ANSWER:
        return f"resolver {resolver} answered NOERROR without any address for {name}"
    return f"resolver {resolver} answered {text(observation, 'rcode') or observation.seen} for {name}"


def _comparison(case: Case, code: Failure) -> list[str]:
    found: list[str] = []
    for each in case.controls(Role.OTHER_RESOLVER, Step.RESOLVE):
        if addresses_of(each):
            found.append(f"resolver {text(each, 'resolver')} gives {', '.join(addresses_of(each))}")
        else:
            found.append(f"resolver {text(each, 'resolver')} fails as well: {each.seen}")
    if code is Failure.DNS_TIMEOUT:
        if case.passed(Role.DNS_TCP):
            found.append("the same question over TCP is answered: only UDP is cut")
        others = case.known.answered_names - {case.target.host}
        found.append(f"{len(others)} other names are answered" if others else "no other name is answered")
    elif case.known.answered_names:
        found.append(f"{len(case.known.answered_names)} other names resolve")
    return found


def _injected(case: Case) -> Finding | None:
    """Two answers that differ, or an answer from where nobody lives."""
    for each in (*case.controls(Role.RETRY, Step.RESOLVE), *case.probes(Step.RESOLVE)):
        if _contradict(each):
            return _injection(case, "answers that exclude each other came for one question")
        if texts(each, "wrong_source"):
            return _injection(
                case, f"an answer came from {', '.join(texts(each, 'wrong_source'))}, not asked"
            )
    for each in case.controls(Role.UNROUTABLE, Step.RESOLVE):
        if each.seen is not Seen.TIMEOUT and text(each, "rcode"):
            return _injection(case, f"{UNROUTABLE}, where no resolver is, answered {text(each, 'rcode')}")
    return None


def _contradict(observation: Observation) -> bool:
    """Whether two answers to the same question exclude each other; parts of a round robin do not.

    A question that was sent again gets another answer, which may differ when addresses rotate, and so may
    those of several resolvers: only more answers than questions show that somebody else spoke.
    """
    answers = mappings(observation, "answers")
    if len(answers) <= number(observation, "sent"):
        return False
    by_type: dict[tuple[str, str], list[tuple[str, frozenset[str]]]] = {}
    for each in answers:
        found = each.get("addresses")
        addresses = frozenset(map(str, found)) if isinstance(found, list | tuple) else frozenset()
        kind = field_text(each, "type"), field_text(each, "from")
        by_type.setdefault(kind, []).append((field_text(each, "rcode"), addresses))
    return any(
        rcode != other_rcode or bool(one) != bool(two) or (bool(one) and not one & two)
        for group in by_type.values()
        for (rcode, one), (other_rcode, two) in pairwise(group)
    )


def _injection(case: Case, reason: str) -> Finding:
    return case.finding(
        Failure.DNS_INJECTED,
        Step.RESOLVE,
        reason,
        blocker=case.firewall(),
        confidence=Confidence.CERTAIN,
        severity=Severity.BLOCKING,
    )


def judge_wrong_address(case: Case) -> Finding | None:
    """Judge a row that resolved and failed afterwards: was it sent to the wrong place?"""
    resolved = next((each for each in case.probes(Step.RESOLVE) if each.ok), None)
    if resolved is None:
        return None
    found = (
        _override(case)
        or _injected(case)
        or _rewritten(case, resolved)
        or _private(case, resolved, Severity.BLOCKING)
        or _inconsistent(case, resolved)
        or _one_for_all(case, resolved)
    )
    return found if found and found.severity is Severity.BLOCKING else None


def judge_passing_address(case: Case) -> tuple[Finding, ...]:
    """Judge a row that is well: what is odd about its name all the same."""
    resolved = next((each for each in case.probes(Step.RESOLVE) if each.ok), None)
    found = [_override(case)]
    if resolved:
        found.append(_private(case, resolved, Severity.WARNING))
    alternates = of(case.seen, Step.RESOLVE, Role.ALTERNATE)
    if case.target.route.proxy and alternates and not alternates[0].ok:
        found.append(
            case.finding(
                Failure.DNS_PROXY_ONLY,
                Step.RESOLVE,
                _said(alternates[0]),
                "the proxy reaches the name",
                blocker=Blocker(BlockerKind.RESOLVER, text(alternates[0], "resolver")),
                confidence=Confidence.CERTAIN,
            )
        )
    return tuple(each for each in found if each)


def _override(case: Case) -> Finding | None:
    """The system's own look-up differs from DNS: a hosts file, NRPT or another name service."""
    local = next((each for each in case.controls(Role.GETADDRINFO) if addresses_of(each)), None)
    if local is None:
        return None
    asked = case.probes(Step.RESOLVE)
    dns = {address for each in asked if text(each, "transport") != "system" for address in addresses_of(each)}
    here = set(addresses_of(local))
    if not here or here & dns or (not dns and not _used(case, here)):
        return None
    worked = any(each.ok for each in case.seen if each.role is Role.PROBE and each.step in _LATE)
    return case.finding(
        Failure.DNS_LOCAL_OVERRIDE,
        Step.RESOLVE,
        f"this device's own look-up says {', '.join(sorted(here))}",
        f"DNS says {', '.join(sorted(dns))}" if dns else "DNS gives no address",
        blocker=Blocker(BlockerKind.HOST, name="hosts file or name policy"),
        confidence=Confidence.CERTAIN,
        severity=Severity.WARNING if worked else Severity.BLOCKING,
    )


_LATE = (Step.TLS_HANDSHAKE, Step.HTTP_ROUND_TRIP, Step.REVOCATION)


def _used(case: Case, here: set[str]) -> bool:
    return any(text(each, "address") in here for each in case.probes(Step.CONNECT))


def _rewritten(case: Case, resolved: Observation) -> Finding | None:
    for control in case.controls(Role.RANDOM_NAME, Step.RESOLVE):
        if set(addresses_of(control)) & set(addresses_of(resolved)):
            return case.finding(
                Failure.DNS_NX_REWRITE,
                Step.RESOLVE,
                f"{text(control, 'name')}, which does not exist, gets the same address as this name",
                blocker=Blocker(BlockerKind.RESOLVER, text(resolved, "resolver")),
                scope=Scope.ALL,
                confidence=Confidence.CERTAIN,
                severity=Severity.BLOCKING,
            )
    return None


def _private(case: Case, resolved: Observation, severity: Severity) -> Finding | None:
    addresses = addresses_of(resolved)
    if not addresses or case.target.expectation.private_ok:
        return None
    if case.target.host and ip_of(case.target.host):
        return None
    if not all(_is_private(each) for each in addresses):
        return None
    linked = any("privatelink" in name for name in texts(resolved, "cnames"))
    if linked and severity is not Severity.BLOCKING:
        return None
    return case.finding(
        Failure.DNS_PRIVATE_ANSWER,
        Step.RESOLVE,
        f"resolver {text(resolved, 'resolver')} gives {', '.join(addresses)}",
        "its CNAME chain goes through privatelink" if linked else "no privatelink name is in its CNAME chain",
        blocker=Blocker(BlockerKind.RESOLVER, text(resolved, "resolver")),
        severity=severity,
    )


_PRIVATE = [
    ipaddress.ip_network(each)
    for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]


def _is_private(address: str) -> bool:
    value = ip_of(address)
    if value is None:
        return False
    return any(value in network for network in _PRIVATE if network.version == value.version)


def _private_elsewhere(case: Case) -> bool:
    controls = case.controls(Role.OTHER_RESOLVER, Step.RESOLVE)
    return any(_is_private(address) for each in controls for address in addresses_of(each))


def _inconsistent(case: Case, resolved: Observation) -> Finding | None:
    """Other addresses elsewhere, and there the handshake with this name is good."""
    here = set(addresses_of(resolved))
    controls = case.controls(Role.OTHER_RESOLVER, Step.RESOLVE)
    elsewhere = {address for each in controls for address in addresses_of(each) if is_global(address)}
    if not elsewhere or here & elsewhere:
        return None
    good = [each for each in case.controls(Role.OTHER_RESOLVER, Step.TLS_HANDSHAKE) if each.ok]
    if not good:
        return None
    return case.finding(
        Failure.DNS_INCONSISTENT,
        Step.RESOLVE,
        f"resolver {text(resolved, 'resolver')} gives {', '.join(sorted(here))}",
        f"another resolver gives {', '.join(sorted(elsewhere))}",
        f"at {text(good[0], 'address')} the certificate is good for this name",
        blocker=Blocker(BlockerKind.RESOLVER, text(resolved, "resolver")),
        confidence=Confidence.CERTAIN,
    )


def _one_for_all(case: Case, resolved: Observation) -> Finding | None:
    """One address for unrelated names that do not work there: the sinkhole of a DNS filter.

    Unrelated names share front ends of a CDN, too, but come to them by a CNAME; a filter's answer has none.
    """
    if texts(resolved, "cnames"):
        return None
    addresses = addresses_of(resolved)
    names = case.known.names_of.get(addresses[0], frozenset()) if len(addresses) == 1 else frozenset()
    passes = {p.address for p in case.known.passes}
    if len(names | {suffix_of(case.target.host or "")}) < 2 or addresses[0] in passes:
        return None
    if not case.others_pass and len(names) < 3:
        return None
    return case.finding(
        Failure.DNS_SINKHOLE,
        Step.RESOLVE,
        f"{addresses[0]} is the only address of unrelated names: {', '.join(sorted(names)[:4])}",
        "nothing works at it",
        blocker=Blocker(BlockerKind.RESOLVER, text(resolved, "resolver")),
    )
