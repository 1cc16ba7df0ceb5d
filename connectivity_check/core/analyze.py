"""From a recording to a report: every row gets a verdict, and the run as a whole does too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from connectivity_check.core.case import Case
from connectivity_check.core.controls import failing
from connectivity_check.core.facts import number, of
from connectivity_check.core.judge_dns import judge_failed_resolve, judge_passing_address
from connectivity_check.core.judge_http import captive, judge_failed_exchange, judge_good_exchange
from connectivity_check.core.judge_proxy import (
    explain_answer,
    judge_failed_proxy_connect,
    judge_failed_proxy_name,
    judge_failed_tunnel,
    judge_route,
    judge_wrong_way,
)
from connectivity_check.core.judge_run import judge_run
from connectivity_check.core.judge_tcp import judge_failed_connect, judge_partial_connect
from connectivity_check.core.judge_tls import judge_failed_handshake, judge_good_handshake
from connectivity_check.core.known import Known, known
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    Finding,
    Observation,
    Outcome,
    Recording,
    Report,
    Role,
    Row,
    Scope,
    Step,
    Target,
)

_OUTCOMES = {
    Severity.BLOCKING: Outcome.BLOCKED,
    Severity.WARNING: Outcome.DEGRADED,
    Severity.INFO: Outcome.REACHABLE,
    Severity.UNKNOWN: Outcome.UNEXPLAINED,
}
_WORST_FIRST = (Severity.BLOCKING, Severity.UNKNOWN, Severity.WARNING, Severity.INFO)


def judge(recording: Recording) -> Report:
    """Give the report of a recording: one row for each target, in order, none left out."""
    facts = known(recording.targets, recording.observations, recording.shared)
    rows = tuple(
        judge_row(target, seen, facts, recording.timeout_s, partial=index in recording.unfinished)
        for index, (target, seen) in enumerate(zip(recording.targets, recording.observations, strict=True))
    )
    findings = judge_run(recording, rows, facts)
    return Report(recording, rows, findings, interrupted=bool(recording.unfinished))


def judge_row(
    target: Target, seen: Sequence[Observation], facts: Known, timeout_s: float, *, partial: bool = False
) -> Row:
    """Give the verdict on one target."""
    case = Case(target, tuple(seen), facts, timeout_s)
    found = sorted(_findings(case, partial), key=lambda each: _WORST_FIRST.index(each.severity))
    took = max((each.started_s + each.took_s for each in seen), default=0.0) - min(
        (each.started_s for each in seen), default=0.0
    )
    if not found:
        return Row(target, Outcome.REACHABLE, case.seen, took_s=took)
    first = found[0]
    outcome = _OUTCOMES[first.severity]
    if first.failure is Failure.META_NOT_TESTABLE:
        outcome = Outcome.NOT_PROBEABLE
    return Row(target, outcome, case.seen, first, tuple(found[1:]), took, partial)


def _findings(case: Case, partial: bool) -> list[Finding]:
    pac = judge_route(case)
    if pac:
        return [pac]
    failed = failing(case.seen)
    if failed is not None and failed.seen is not Seen.INTERRUPTED:
        return [_judge_failure(case, failed)]
    if partial or failed is not None:
        return [_interrupted(case)]
    if not _went_through(case):
        blind = case.target.host is None
        return [(_refused_wildcard(case) or _not_testable(case)) if blind else _interrupted(case)]
    return [
        *judge_partial_connect(case),
        *judge_passing_address(case),
        *judge_good_handshake(case),
        *judge_good_exchange(case),
    ]


def _went_through(case: Case) -> bool:
    """Whether the chain came to its end: no row passes for want of bad news."""
    target = case.target
    if target.host is None and not target.wildcard:
        return False  # there is nothing that what a file says was seen could be of
    needed = [Step.CONNECT]
    if target.tls:
        needed.append(Step.TLS_HANDSHAKE)
    if target.expectation.kind != "opaque":
        needed.append(
            Step.REVOCATION if target.expectation.kind in _REVOCATION_KINDS else Step.HTTP_ROUND_TRIP
        )
    return all(any(each.ok for each in of(case.seen, step)) for step in needed)


_REVOCATION_KINDS = ("crl", "ocsp", "ctl")


def _judge_failure(case: Case, failed: Observation) -> Finding:
    wrong_way = judge_wrong_way(case)
    if wrong_way:
        return wrong_way
    found = _by_step(case, failed)
    return _service_down(case, failed, found) or found


def _by_step(case: Case, failed: Observation) -> Finding:
    # A PAC file may go on to DIRECT after its proxies: what was tried counts, not what was chosen first.
    if failed.step is Step.RESOLVE:
        return judge_failed_proxy_name(case, failed) if failed.via else judge_failed_resolve(case, failed)
    if failed.step is Step.CONNECT:
        if failed.via:
            return judge_failed_proxy_connect(case, failed)
        return captive(case, Step.CONNECT) or judge_failed_connect(case, failed)
    if failed.step is Step.PROXY_CONNECT:
        return judge_failed_tunnel(case, failed)
    if failed.step is Step.TLS_HANDSHAKE:
        return judge_failed_handshake(case, failed)
    if failed.via and not case.target.tls and _by_proxy(failed):
        return judge_failed_tunnel(case, failed)
    return judge_failed_exchange(case, failed)


def _by_proxy(failed: Observation) -> bool:
    """Whether a plain request through a proxy was answered by the proxy itself."""
    if failed.seen in (Seen.TIMEOUT, Seen.EOF, Seen.CONNECTION_RESET, Seen.HTTP_PROTOCOL):
        return True
    if number(failed, "status") in (407, 502, 503, 504):
        return True
    explained, words = explain_answer(failed)
    return explained is not None and ("ERR_" in words or "Proxy-Status" in words)


def _service_down(case: Case, failed: Observation, found: Finding) -> Finding | None:
    """It fails by a way that is known to be free as well: then nobody here is at fault.

    What a box here said of itself stands all the same: two things can be broken at once.
    """
    steps = (Step.PROXY_CONNECT, Step.TLS_HANDSHAKE, Step.HTTP_ROUND_TRIP, Step.REVOCATION)
    there = [
        each for each in case.controls(Role.CONTROL_PATH) if each.step in steps and not _says_of_itself(each)
    ]
    if not there or all(each.ok for each in there):
        return None
    stands = found.failure in _SELF_CONFESSED or found.blocked_by.kind in _HERE
    return None if stands else _down(case, failed, there)


def _says_of_itself(control: Observation) -> bool:
    """Whether the free way itself refuses, wants a login or was cut short: no word about the service."""
    if control.seen in (Seen.INTERRUPTED, Seen.PROXY_PROTOCOL):
        return True
    if control.seen is Seen.SOCKS_REPLY:
        return number(control, "socks_reply") not in _SOCKS_BEHIND
    said = explain_answer(control)[0]
    if control.seen is Seen.PROXY_STATUS and said is Failure.PROXY_NOT_PROXY:
        return True
    return said in (Failure.PROXY_AUTH, Failure.PROXY_DENIED)


_SOCKS_BEHIND = (1, 3, 4, 5, 6)
"""Replies (RFC 1928 section 6) about what is behind the server; the others are about its rules."""
_HERE = (BlockerKind.HOST, BlockerKind.PROXY, BlockerKind.RESOLVER, BlockerKind.TLS_INSPECTION)
_SELF_CONFESSED = (Failure.TCP_ICMP_ADMIN, Failure.TCP_ICMP_PORT, Failure.HTTP_BLOCK_PAGE)


def _down(case: Case, failed: Observation, there: Sequence[Observation]) -> Finding:
    end = next(each for each in there if not each.ok)
    return case.finding(
        Failure.META_SERVICE_DOWN,
        failed.step,
        f"here {failed.step} ends with {failed.seen}",
        f"through {end.via} {end.step} ends with {end.seen}",
        blocker=Blocker(BlockerKind.SERVER),
        confidence=Confidence.CERTAIN,
    )


def _interrupted(case: Case) -> Finding:
    last = case.seen[-1].step if case.seen else None
    return case.finding(
        Failure.META_INTERRUPTED,
        last,
        f"the run ended during or after {last}" if last else "the run ended before this row began",
        confidence=Confidence.UNEXPLAINED,
    )


def _refused_wildcard(case: Case) -> Finding | None:
    """A proxy that refuses a random name under a wildcard without a known host.

    It may have other rules for names it has heard of, so this does not count as blocked.
    """
    for each in case.controls(Role.RANDOM_LABEL, Step.PROXY_CONNECT):
        if not each.ok and explain_answer(each)[0] in (Failure.PROXY_DENIED, Failure.PROXY_AUTH):
            found = judge_failed_tunnel(case, each)
            return replace(
                found, scope=Scope.WILDCARD, confidence=Confidence.LIKELY, severity=Severity.UNKNOWN
            )
    return None


def _not_testable(case: Case) -> Finding:
    if case.target.wildcard:
        reason = "the wildcard has no known host, and a random name under it does not resolve"
    else:
        reason = "a whole network or a UDP port cannot be proved open from here"
    return case.finding(Failure.META_NOT_TESTABLE, None, reason, confidence=Confidence.CERTAIN)
