"""A report as a JSON document of schema 1: `docs/preflight-reports.md` says what each key means.

The document is complete: `document_reader.parse_report` gives the report back, so that a recorded run can be
judged again or serve as a baseline. Proxy credentials have no key in it, whatever the report holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from connectivity_check.model import (
    Blocker,
    ConsumerPath,
    Expectation,
    Finding,
    Json,
    ListInfo,
    Observation,
    Outcome,
    PathSettings,
    ProxyServer,
    Report,
    Route,
    Row,
    RowChange,
    Target,
)

SCHEMA = 1
LARGEST_INTEGER = 2**63 - 1
"""What JSON readers of other languages keep exact at best; anything larger is no measurement of ours."""

Document: TypeAlias = dict[str, Any]
"""An object of the document: only None, bool, int, float, str, lists and objects of these."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_FINDING: Document = {
    "failed_step": None,
    "failure": None,
    "blocked_by": None,
    "hint": "",
    "confidence": None,
    "scope": None,
    "severity": None,
    "reasons": [],
}
"""The same keys as of a finding: a reader need not ask whether they are there."""


def report_document(report: Report) -> Document:
    """Give the whole report. Never fails: what JSON cannot hold is replaced (see `json_value`)."""
    recording = report.recording
    lists = [_list(each) for each in recording.lists]
    return {
        "schema": SCHEMA,
        "list": lists[0] if lists else _list(ListInfo("")),
        "lists": lists,
        "started_at": _text(recording.started_at),
        "took_s": _seconds(recording.took_s),
        "timeout_s": _seconds(recording.timeout_s),
        "host": _text(recording.host),
        "source_address": _text(recording.source_address),
        "interrupted": report.interrupted,
        "path": _path(recording.path),
        "summary": _summary(report),
        "findings": [_finding(each) for each in report.findings],
        "rows": [_row(each) for each in report.rows],
        "shared": [_observation(each) for each in recording.shared],
        "changes": None if report.changes is None else [_change(each) for each in report.changes],
    }


def json_value(value: object) -> Any:
    """Give a value that JSON can hold and every reader can read.

    A half of a surrogate pair becomes U+FFFD; NaN, infinities and integers beyond 64 bits become null, as a
    fact that was not learned; a value of another type becomes its text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return value if abs(value) <= LARGEST_INTEGER else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_text(str(key)): json_value(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [json_value(each) for each in value]
    return _text(str(value))


def _text(text: str) -> str:
    # str() turns a member of a StrEnum into a plain text.
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", str(text))


def _texts(texts: Iterable[str]) -> list[str]:
    return [_text(each) for each in texts]


def _seconds(seconds: float) -> float:
    """Whole microseconds, so that a value survives being written and read; 0 for what is no number."""
    return round(seconds, 6) if math.isfinite(seconds) else 0.0


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3) if math.isfinite(seconds * 1000) else 0.0


def _list(info: ListInfo) -> Document:
    return {"id": _text(info.id), "version": _text(info.version), "entries": json_value(info.entries)}


def _path(path: PathSettings) -> Document:
    return {
        "kind": path.kind.value,
        "proxy": _text(path.proxy),
        "source": _text(path.source),
        "consumers": [_consumer(each) for each in path.consumers],
    }


def _consumer(consumer: ConsumerPath) -> Document:
    return {
        "consumer": _text(consumer.consumer),
        "kind": consumer.kind.value,
        "proxy": _text(consumer.proxy),
        "source": _text(consumer.source),
    }


def _summary(report: Report) -> Document:
    counts: Document = {outcome.value: report.count(outcome) for outcome in Outcome}
    counts["total"] = len(report.rows)
    counts["required"] = sum(row.target.required for row in report.rows)
    counts["required_blocked"] = sum(
        row.target.required and row.outcome is Outcome.BLOCKED for row in report.rows
    )
    counts["unfinished"] = sum(row.partial for row in report.rows)
    return counts


def _row(row: Row) -> Document:
    target, finding = row.target, row.finding
    decisive = _finding(finding) if finding else _NO_FINDING
    return {
        "n": target.n,
        "pattern": _text(target.pattern),
        "target": None if target.host is None else _text(target.host),
        "port": target.port,
        "required": target.required,
        "outcome": row.outcome.value,
        **decisive,
        "took_ms": _milliseconds(row.took_s),
        "partial": row.partial,
        "others": [_finding(each) for each in row.others],
        "observations": [_observation(each) for each in row.observations],
        **_target_facts(target),
    }


def _target_facts(target: Target) -> Document:
    """What the analysis needs to know of a target beyond name and port."""
    return {
        "wildcard": _text(target.wildcard),
        "service": _text(target.service),
        "category": _text(target.category),
        "geography": _text(target.geography),
        "list_id": _text(target.list_id),
        "path_rule": target.path_rule,
        "expectation": _expectation(target.expectation),
        "route": _route(target.route),
    }


def _expectation(expectation: Expectation) -> Document:
    return {
        "kind": expectation.kind.value,
        "path": _text(expectation.path),
        "method": _text(expectation.method),
        "statuses": list(expectation.statuses),
        "body_contains": _text(expectation.body_contains),
        "html_allowed": expectation.html_allowed,
        "pinned": expectation.pinned,
        "issuers": _texts(expectation.issuers),
        "h2": expectation.h2,
        "upload": expectation.upload,
        "ranges": expectation.ranges,
        "private_ok": expectation.private_ok,
    }


def _route(route: Route) -> Document:
    return {
        "proxy": _proxy(route.proxy),
        "source": _text(route.source),
        "fallbacks": [_proxy(each) for each in route.fallbacks],
        "error": _text(route.error),
        "pac": route.pac,
    }


def _proxy(proxy: ProxyServer | None) -> Document | None:
    """An address and how to answer it; never who we are."""
    if proxy is None:
        return None
    return {
        "scheme": proxy.scheme.value,
        "host": _text(proxy.host),
        "port": proxy.port,
        "auth": proxy.auth.value if proxy.auth else None,
    }


def _finding(finding: Finding) -> Document:
    return {
        "failed_step": finding.step.value if finding.step else None,
        "failure": finding.failure.value,
        "blocked_by": _blocker(finding.blocked_by),
        "hint": _text(finding.hint),
        "confidence": finding.confidence.value,
        "scope": finding.scope.value,
        "severity": finding.severity.value,
        "reasons": _texts(finding.reasons),
    }


def _blocker(blocker: Blocker) -> Document:
    return {
        "kind": blocker.kind.value,
        "address": _text(blocker.address),
        "name": _text(blocker.name),
    }


def _observation(observation: Observation) -> Document:
    evidence: Mapping[str, Json] = observation.evidence
    return {
        "step": observation.step.value,
        "role": observation.role.value,
        "via": _text(observation.via),
        "failure": observation.seen.value if observation.seen else None,
        "evidence": json_value(evidence),
        "took_ms": _milliseconds(observation.took_s),
        "started_ms": _milliseconds(observation.started_s),
    }


def _change(change: RowChange) -> Document:
    return {
        "n": change.n,
        "pattern": _text(change.pattern),
        "target": _text(change.target),
        "port": change.port,
        "before": _text(change.before),
        "after": _text(change.after),
        "before_failure": _text(change.before_failure),
        "after_failure": _text(change.after_failure),
    }
