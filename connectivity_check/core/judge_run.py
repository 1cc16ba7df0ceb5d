"""Verdicts on the whole run: no network, a wrong clock, settings that contradict, a lying resolver."""

from __future__ import annotations

from collections.abc import Sequence

from connectivity_check.core.case import Case
from connectivity_check.core.facts import addresses_of, text
from connectivity_check.core.judge_http import judge_headers
from connectivity_check.core.known import Known
from connectivity_check.failure import Failure, Seen
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    ConsumerPath,
    Finding,
    Outcome,
    PathKind,
    Recording,
    Report,
    Role,
    Row,
    Scope,
    Step,
    Target,
)

_RUN = Target(n=0, pattern="*", host=None)


def judge_run(recording: Recording, rows: Sequence[Row], facts: Known) -> tuple[Finding, ...]:
    """Give what holds for all rows alike, worst first as far as it can be ordered."""
    case = Case(_RUN, (), facts, recording.timeout_s)
    found = [
        _no_network(case, recording, rows),
        _rewriting(case),
        _clock(case),
        _consumers(case, recording.path.consumers),
        *judge_headers(case),
    ]
    return tuple(each for each in found if each)


def _no_network(case: Case, recording: Recording, rows: Sequence[Row]) -> Finding | None:
    """Nothing at all worked, so nothing was measured."""
    tried = [row for row in rows if row.observations]
    if not tried or any(row.outcome in (Outcome.REACHABLE, Outcome.DEGRADED) for row in rows):
        return None
    steps = [each for row in tried for each in row.observations if each.role is Role.PROBE]
    resolves = [each for each in steps if each.step is Step.RESOLVE]
    connects = [each for each in steps if each.step is Step.CONNECT]
    if resolves and not connects and all(each.seen in _NO_ANSWER for each in resolves):
        return case.finding(
            Failure.DNS_TIMEOUT,
            Step.RESOLVE,
            f"no resolver answered for any name: {text(resolves[0], 'resolver')}",
            blocker=Blocker(BlockerKind.RESOLVER, text(resolves[0], "resolver")),
            scope=Scope.ALL,
            confidence=Confidence.CERTAIN,
        )
    if connects and not any(each.ok or each.seen is Seen.CONNECTION_REFUSED for each in connects):
        return case.finding(
            Failure.META_UNEXPLAINED,
            Step.CONNECT,
            f"none of {len(connects)} connections was answered",
            scope=Scope.ALL,
            confidence=Confidence.UNEXPLAINED,
        )
    return None


_NO_ANSWER = (
    Seen.TIMEOUT,
    Seen.CONNECTION_REFUSED,
    Seen.HOST_UNREACHABLE,
    Seen.NETWORK_UNREACHABLE,
    Seen.PERMISSION_DENIED,
)


def _rewriting(case: Case) -> Finding | None:
    for each in case.controls(Role.RANDOM_NAME, Step.RESOLVE):
        if addresses_of(each):
            return case.finding(
                Failure.DNS_NX_REWRITE,
                Step.RESOLVE,
                f"{text(each, 'name')}, which does not exist, resolves to {', '.join(addresses_of(each))}",
                blocker=Blocker(BlockerKind.RESOLVER, text(each, "resolver")),
                scope=Scope.ALL,
                confidence=Confidence.CERTAIN,
            )
    return None


def _clock(case: Case) -> Finding | None:
    skew = case.known.skew_s
    if skew is None:
        return None
    return case.finding(
        Failure.CLOCK_SKEW,
        Step.HTTP_ROUND_TRIP,
        f"{len(case.known.skews)} hosts tell the time; this clock is {abs(skew):.0f} s"
        f" {'behind' if skew > 0 else 'ahead'}",
        blocker=Blocker(BlockerKind.HOST, name="clock"),
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN,
    )


def _consumers(case: Case, consumers: Sequence[ConsumerPath]) -> Finding | None:
    """Consumers that are told different ways; one that is told none is not in conflict.

    Host names mean the same in either case; bypass lists are not compared.
    """
    ways = {(each.kind, each.proxy.lower()) for each in consumers}
    if len(ways) < 2:
        return None
    return case.finding(
        Failure.PROXY_CONSUMER_CONFLICT,
        None,
        *(f"{each.consumer}: {_way(each)} ({each.source})" for each in consumers),
        blocker=Blocker(BlockerKind.HOST, name="proxy settings"),
        scope=Scope.ALL,
        confidence=Confidence.CERTAIN,
    )


def _way(consumer: ConsumerPath) -> str:
    return "direct" if consumer.kind is PathKind.DIRECT else f"{consumer.kind} {consumer.proxy}"


def exit_code(report: Report, *, strict: bool = False) -> int:
    """Give 0 when every required row is open, 1 when one is not, 3 when that could not be measured.

    A run in which nothing answered at all is 3 whatever its rows say; `strict` counts required rows that
    are degraded as not open.
    """
    required = [row for row in report.rows if row.target.required]
    nothing = any(
        each.scope is Scope.ALL and each.failure in (Failure.DNS_TIMEOUT, Failure.META_UNEXPLAINED)
        for each in report.findings
    )
    if nothing:
        return 3
    bad = {Outcome.BLOCKED, Outcome.DEGRADED} if strict else {Outcome.BLOCKED}
    if any(row.outcome in bad for row in required):
        return 1
    if any(row.outcome is Outcome.UNEXPLAINED for row in required):
        return 3
    tested = [row for row in report.rows if row.outcome is not Outcome.NOT_PROBEABLE]
    return 0 if tested or not required else 3
