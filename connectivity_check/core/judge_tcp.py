"""Verdicts on connecting: dropped, reset, refused, prohibited; by whom, as far as packets tell."""

from __future__ import annotations

from collections.abc import Mapping

from connectivity_check.core.case import Case
from connectivity_check.core.facts import field_text, mapping, mappings, number, text
from connectivity_check.core.judge_dns import judge_wrong_address
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

_ADMIN = {4: (9, 10, 13), 6: (1, 5, 6)}
"""ICMP type 3 (RFC 1122, RFC 1812) and ICMPv6 type 1 (RFC 4443) codes that name a policy.

No sets: the code of a recorded file may be a list.
"""
_PORT = {4: 3, 6: 4}
LAN_RTT_MS = 3.0
"""Differences of round trips below this say nothing."""


def judge_failed_connect(case: Case, failed: Observation) -> Finding:
    """Judge a row none of whose addresses could be connected to."""
    wrong = judge_wrong_address(case)
    if wrong:
        return wrong
    icmp = mapping(failed, "icmp")
    if failed.seen is Seen.PERMISSION_DENIED:
        return _local(case, failed)
    if icmp:
        return _icmp(case, failed, icmp)
    if failed.seen in (Seen.NETWORK_UNREACHABLE, Seen.HOST_UNREACHABLE):
        return case.finding(
            Failure.TCP_NO_ROUTE,
            Step.CONNECT,
            f"{_tried(failed)}: {text(failed, 'errno') or failed.seen}",
            blocker=Blocker(BlockerKind.HOST if failed.evidence.get("instant") else BlockerKind.UNKNOWN),
            confidence=Confidence.CERTAIN,
        )
    if failed.seen in (Seen.CONNECTION_REFUSED, Seen.CONNECTION_RESET):
        return _refused(case, failed)
    return _silent(case, failed)


def _tried(observation: Observation) -> str:
    return f"{text(observation, 'address')} port {number(observation, 'port'):.0f}"


def _local(case: Case, failed: Observation) -> Finding:
    return case.finding(
        Failure.TCP_LOCAL_BLOCK,
        Step.CONNECT,
        f"no SYN to {_tried(failed)} left this device"
        if failed.evidence.get("unsent")
        else f"connect to {_tried(failed)} was forbidden at once by this device ({text(failed, 'errno')})",
        blocker=Blocker(BlockerKind.HOST, text(failed, "source")),
        confidence=Confidence.CERTAIN,
    )


def _icmp(case: Case, failed: Observation, icmp: Mapping[str, Json]) -> Finding:
    """An ICMP error names its sender; its code says whether this is policy or routing."""
    sender, code = field_text(icmp, "from"), icmp.get("code")
    family = 6 if icmp.get("family") == 6 or ":" in sender else 4
    said = f"{sender} answered with ICMP type {icmp.get('type')} code {code} for {_tried(failed)}"
    if code in _ADMIN[family]:
        failure = Failure.TCP_ICMP_ADMIN
    elif code == _PORT[family]:
        failure = Failure.TCP_ICMP_PORT
    else:
        failure = Failure.TCP_NO_ROUTE
    own = sender != "" and sender == text(failed, "source")
    kind = BlockerKind.HOST if own else BlockerKind.FIREWALL
    if failure is Failure.TCP_NO_ROUTE:
        kind = BlockerKind.UNKNOWN
    return case.finding(
        failure, Step.CONNECT, said, blocker=Blocker(kind, sender), confidence=Confidence.CERTAIN
    )


def _silent(case: Case, failed: Observation) -> Finding:
    """SYNs without an answer."""
    syns = number(failed, "syns", 1)
    said = f"{syns:.0f} SYNs to {_tried(failed)} were not answered"
    retries = case.controls(Role.RETRY, Step.CONNECT)
    alone = any(each.ok for each in retries)
    if alone or (not retries and case.known.passed_alone >= 2):
        return _not_always(case, said, alone=alone)
    if not case.others_pass and not case.passed(Role.OTHER_PORT) and not case.passed(Role.ALTERNATE):
        return unexplained(case, Step.CONNECT, said)
    last, reached = _last_hop(case)
    reasons = [said]
    if last:
        reasons.append(f"SYNs of growing TTL were answered by {last} last")
    if case.others_pass:
        reasons.append("other hosts of the list are reached")
    other_port = case.passed(Role.OTHER_PORT)
    if other_port:
        reasons.append("the same address accepts another port")
    return case.finding(
        Failure.TCP_DROPPED,
        Step.CONNECT,
        *reasons,
        blocker=case.firewall(last, "this router or the next box behind it" if last else ""),
        scope=Scope.PORT if other_port else Scope.ENDPOINT,
        confidence=Confidence.CERTAIN if other_port or (last and not reached) else Confidence.LIKELY,
    )


def _not_always(case: Case, said: str, *, alone: bool) -> Finding:
    """It failed among many and passed alone: a limit, when it went so for several."""
    several = case.known.passed_alone + case.known.slow_syns
    limited = several >= 2
    return case.finding(
        Failure.TCP_RATE_LIMITED if limited else Failure.META_FLAKY,
        Step.CONNECT,
        said,
        "alone, a moment later, the same address accepted" if alone else "",
        f"{several} connections were late, or came to be only when tried alone" if limited else "",
        blocker=case.firewall() if limited else Blocker(),
        scope=Scope.SEVERAL if limited else Scope.ENDPOINT,
        severity=Severity.BLOCKING if limited else Severity.WARNING,
    )


def _last_hop(case: Case) -> tuple[str, bool]:
    for each in case.controls(Role.HOPS):
        return text(each, "last_hop"), each.evidence.get("reached") is True
    return "", False


def _refused(case: Case, failed: Observation) -> Finding:
    """RST to a SYN: from the host itself, or from a box that speaks in its name?"""
    said = f"{_tried(failed)} was answered with a reset"
    distance = _distances(case, text(failed, "address"), number(failed, "port"))
    if distance:
        rst, host, how = distance
        if rst != host:
            return _middlebox(case, said, f"the reset came with TTL {rst}, {how} with {host}", rst)
        return _by_host(case, said, f"reset and {how} came with the same TTL {rst}", Confidence.CERTAIN)
    ours = number(failed, "rtt_ms")
    other = [number(each, "rtt_ms") for each in case.controls(Role.OTHER_PORT, Step.CONNECT) if each.ok]
    if other and other[0] - ours > LAN_RTT_MS and ours < 0.5 * other[0]:
        reason = f"the reset took {ours:.1f} ms, the host's own answer on another port {other[0]:.1f} ms"
        return _middlebox(case, said, reason, None)
    return _by_host(case, said, "nothing shows another sender", Confidence.LIKELY)


def _distances(case: Case, address: str, port: float) -> tuple[int, int, str] | None:
    """TTL of the reset, TTL of what is surely a host's answer, and which answer that is."""
    rst, same_host, elsewhere = None, None, None
    for each in case.controls(Role.TTL):
        ttl = each.evidence.get("ttl")
        if not isinstance(ttl, int) or not 0 < ttl < 256:
            continue
        if text(each, "address") == address and number(each, "port") == port:
            rst = ttl if text(each, "answer") == "rst" else None
        elif text(each, "answer") == "syn_ack":
            if text(each, "address") == address:
                same_host = ttl
            else:
                elsewhere = ttl
    if rst is None:
        return None
    if same_host is not None:
        return rst, same_host, "the host's own answer on another port"
    # A reset from fewer hops than any server is away was made on the way; the same distance proves nothing
    # certain, but a host is the simpler reading.
    if elsewhere is not None:
        return rst, elsewhere if _hops(rst) < _hops(elsewhere) else rst, "answers of other servers"
    return None


def _hops(ttl: int) -> int:
    """How many routers a packet passed, if it started with one of the usual values."""
    return next(start for start in (32, 64, 128, 255) if ttl <= start) - ttl


def _middlebox(case: Case, said: str, reason: str, ttl: int | None) -> Finding:
    box = ""
    if ttl is not None:
        away = _hops(ttl) + 1
        for each in case.controls(Role.HOPS):
            box = next(
                (field_text(hop, "from") for hop in mappings(each, "hops") if hop.get("ttl") == away), ""
            )
    return case.finding(
        Failure.TCP_RESET_MIDDLEBOX,
        Step.CONNECT,
        said,
        reason,
        blocker=case.firewall(box),
        confidence=Confidence.CERTAIN,
    )


def _by_host(case: Case, said: str, reason: str, confidence: Confidence) -> Finding:
    return case.finding(
        Failure.TCP_REFUSED_HOST,
        Step.CONNECT,
        said,
        reason,
        blocker=Blocker(BlockerKind.SERVER),
        confidence=confidence,
    )


def too_slow(case: Case, step: Step, *reasons: str) -> Finding | None:
    """Give the finding when several rows fell silent where no filter can read: the line itself is slow.

    A client with more patience may get through, so this neither passes a row nor names anybody.
    """
    if case.known.stopped_inside < 2:
        return None
    return case.finding(
        Failure.NET_SLOW,
        step,
        *reasons,
        f"{case.known.stopped_inside} rows fell silent inside TLS with the service's own certificate",
        scope=Scope.SEVERAL,
        severity=Severity.UNKNOWN,
    )


def unexplained(case: Case, step: Step, *reasons: str) -> Finding:
    """Give the finding for a failure that nothing can be held against."""
    return case.finding(
        Failure.META_UNEXPLAINED,
        step,
        *reasons,
        "no control passed, so nobody can be named",
        confidence=Confidence.UNEXPLAINED,
    )


def judge_partial_connect(case: Case) -> tuple[Finding, ...]:
    """Judge a row that connected: what of its addresses failed, and how hard it was to connect."""
    tries = case.probes(Step.CONNECT)
    if not any(each.ok for each in tries) or any(each.via for each in tries):
        return ()
    found = [
        _accepted_for_all(case),
        _broken_family(case, tries),
        _broken_addresses(case, tries),
        _limited(case, tries),
    ]
    return tuple(each for each in found if each)


def _accepted_for_all(case: Case) -> Finding | None:
    """A port that only accepts proves nothing where a gateway accepts for everybody."""
    accepted = [each for each in case.controls(Role.UNROUTABLE, Step.CONNECT) if each.ok]
    if case.target.expectation.kind is not Kind.OPAQUE:
        return None
    if not any(number(each, "port") == case.target.port for each in accepted):
        return None
    return case.finding(
        Failure.TCP_FAKE_ACCEPT,
        Step.CONNECT,
        "an address that no network has accepts connections to this port too",
        blocker=case.firewall(name="transparent proxy or access gateway"),
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN,
        severity=Severity.UNKNOWN,
    )


def _broken_family(case: Case, tries: tuple[Observation, ...]) -> Finding | None:
    """IPv6 that leads nowhere; a host without any IPv6 does not even try and loses nothing."""
    six = [each for each in tries if each.evidence.get("family") == 6]
    four = [each for each in tries if each.evidence.get("family") == 4]
    real = [each for each in six if not each.evidence.get("instant")]
    if not real or any(each.ok for each in six) or not any(each.ok for each in four):
        return None
    icmp = next((field_text(mapping(each, "icmp"), "from") for each in real if mapping(each, "icmp")), "")
    return case.finding(
        Failure.IP_V6_BROKEN,
        Step.CONNECT,
        f"{_tried(real[0])}: {real[0].seen}",
        "the IPv4 addresses accept",
        blocker=case.firewall(icmp),
        scope=Scope.FAMILY,
        confidence=Confidence.CERTAIN,
    )


def _broken_addresses(case: Case, tries: tuple[Observation, ...]) -> Finding | None:
    """Some addresses of one family accept, others do not; or none of IPv4, which some agents need."""
    for family in (4, 6):
        group = [each for each in tries if each.evidence.get("family") == family]
        bad = [each for each in group if not each.ok]
        sent = any(not each.evidence.get("instant") for each in bad)
        whole = family == 4 and sent and len(bad) == len(group)
        left_out = number(bad[0], "left_out") if bad else 0
        if whole or 0 < len(bad) < len(group):
            return case.finding(
                Failure.META_FLAKY,
                Step.CONNECT,
                f"{len(bad)} of {len(group)} addresses fail: "
                + ", ".join(f"{text(each, 'address')} ({each.seen})" for each in bad),
                f"{left_out:.0f} more addresses of the name were not tried" if left_out else "",
                blocker=case.firewall(field_text(mapping(bad[0], "icmp"), "from")),
                scope=Scope.FAMILY if whole else Scope.ADDRESS,
                confidence=Confidence.CERTAIN,
            )
    return None


def _limited(case: Case, tries: tuple[Observation, ...]) -> Finding | None:
    """Connected only after repeated SYNs, as many others did, while one alone needs a single one."""
    slow = [each for each in tries if each.ok and number(each, "syns", 1) > 1]
    retries = [each for each in case.controls(Role.RETRY, Step.CONNECT) if each.ok]
    alone = retries and all(number(each, "syns", 1) <= 1 for each in retries)
    if not slow or not alone or case.known.slow_syns < max(3, case.known.connects // 10):
        return None
    return case.finding(
        Failure.TCP_RATE_LIMITED,
        Step.CONNECT,
        f"{case.known.slow_syns} of {case.known.connects} connections needed more than one SYN",
        "alone, one SYN is enough",
        blocker=case.firewall(),
        scope=Scope.ALL,
        severity=Severity.WARNING,
    )
