"""A JSON document of schema 1 as a report again: for `--replay` and `--baseline`."""

from __future__ import annotations

import json

from connectivity_check.core.document import SCHEMA
from connectivity_check.core.json_node import Node
from connectivity_check.failure import Failure, Seen, Severity
from connectivity_check.model import (
    Blocker,
    BlockerKind,
    Confidence,
    ConsumerPath,
    Expectation,
    Finding,
    InputError,
    Kind,
    ListInfo,
    Observation,
    Outcome,
    PathKind,
    PathSettings,
    ProxyAuth,
    ProxyScheme,
    ProxyServer,
    Recording,
    Report,
    Role,
    Route,
    Row,
    RowChange,
    Scope,
    Step,
    Target,
)

_MILLISECOND = 0.001
_LARGEST_N = 10**9


def read_report(data: bytes) -> Report:
    """Give the report that a file holds (UTF-8, with or without a byte order mark).

    Raises InputError, in one sentence, when it is not a complete JSON document of schema 1.
    """
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # ValueError: bad UTF-8, bad JSON (a file cut in half), an integer of thousands of digits.
        raise InputError("the report is not JSON: give a file written by --format json") from None
    return parse_report(value)


def parse_report(document: object) -> Report:
    """Give the report of a document. Keys it does not know are ignored; one that is missing or of another
    type is an InputError with its place, as is a schema other than 1."""
    root = Node(document)
    schema = root.child("schema")
    # Not ==: True and 1.0 are no schema numbers.
    if schema.integer(0, _LARGEST_N) != SCHEMA:
        raise schema.wrong(f"{SCHEMA} (this version reads no other schema)")
    rows = tuple(_row(each) for each in root.child("rows").items())
    changes = root.member("changes", None)
    return Report(
        _recording(root, rows),
        rows,
        tuple(_finding(each) for each in root.member("findings", []).items()),
        root.member("interrupted", False).boolean(),
        tuple(_change(each) for each in changes.items()) if changes.present() else None,
    )


def _recording(root: Node, rows: tuple[Row, ...]) -> Recording:
    root.child("list").member("id", "").text()
    return Recording(
        targets=tuple(row.target for row in rows),
        observations=tuple(row.observations for row in rows),
        shared=tuple(_observation(each) for each in root.member("shared", []).items()),
        unfinished=frozenset(index for index, row in enumerate(rows) if row.partial),
        lists=tuple(_list(each) for each in root.member("lists", []).items()),
        path=_path(root.child("path")),
        started_at=root.child("started_at").text(),
        took_s=root.child("took_s").seconds(),
        timeout_s=root.member("timeout_s", 5.0).seconds(),
        source_address=root.member("source_address", "").text(),
        host=root.member("host", "").text(),
    )


def _list(node: Node) -> ListInfo:
    return ListInfo(
        node.child("id").text(),
        node.member("version", "").text(),
        node.member("entries", 0).integer(0, _LARGEST_N),
    )


def _path(node: Node) -> PathSettings:
    return PathSettings(
        node.child("kind").choice(PathKind),
        node.child("proxy").text(),
        node.member("source", "").text(),
        tuple(_consumer(each) for each in node.member("consumers", []).items()),
    )


def _consumer(node: Node) -> ConsumerPath:
    return ConsumerPath(
        node.child("consumer").text(),
        node.child("kind").choice(PathKind),
        node.member("proxy", "").text(),
        node.member("source", "").text(),
    )


def _row(node: Node) -> Row:
    failed = node.child("failure").present()
    return Row(
        target=_target(node),
        outcome=node.child("outcome").choice(Outcome),
        observations=tuple(_observation(each) for each in node.child("observations").items()),
        finding=_finding(node) if failed else None,
        others=tuple(_finding(each) for each in node.member("others", []).items()),
        took_s=node.child("took_ms").seconds(_MILLISECOND),
        partial=node.member("partial", False).boolean(),
    )


def _target(node: Node) -> Target:
    host = node.child("target")
    return Target(
        n=node.child("n").integer(-_LARGEST_N, _LARGEST_N),
        pattern=node.child("pattern").text(),
        host=host.text() if host.present() else None,
        port=node.child("port").integer(0, 65535),
        required=node.child("required").boolean(),
        wildcard=node.member("wildcard", "").text(),
        service=node.member("service", "").text(),
        category=node.member("category", "").text(),
        geography=node.member("geography", "").text(),
        list_id=node.member("list_id", "").text(),
        path_rule=node.member("path_rule", False).boolean(),
        expectation=_expectation(node.member("expectation", {})),
        route=_route(node.member("route", {})),
    )


def _expectation(node: Node) -> Expectation:
    plain = Expectation()
    pinned = node.member("pinned", plain.pinned)
    return Expectation(
        kind=node.member("kind", plain.kind.value).choice(Kind),
        path=node.member("path", plain.path).text(),
        method=node.member("method", plain.method).text(),
        statuses=tuple(each.integer(100, 999) for each in node.member("statuses", []).items()),
        body_contains=node.member("body_contains", "").text(),
        html_allowed=node.member("html_allowed", False).boolean(),
        pinned=pinned.boolean() if pinned.present() else None,
        issuers=node.member("issuers", []).texts(),
        h2=node.member("h2", False).boolean(),
        upload=node.member("upload", False).boolean(),
        ranges=node.member("ranges", False).boolean(),
        private_ok=node.member("private_ok", False).boolean(),
    )


def _route(node: Node) -> Route:
    return Route(
        _proxy(node.member("proxy", None)),
        node.member("source", "").text(),
        tuple(_proxy(each) for each in node.member("fallbacks", []).items()),
        node.member("error", "").text(),
        node.member("pac", False).boolean(),
    )


def _proxy(node: Node) -> ProxyServer | None:
    if not node.present():
        return None
    auth = node.member("auth", None)
    return ProxyServer(
        node.child("host").text(),
        node.child("port").integer(0, 65535),
        node.child("scheme").choice(ProxyScheme),
        auth=auth.choice(ProxyAuth) if auth.present() else None,
    )


def _finding(node: Node) -> Finding:
    failure = node.child("failure").choice(Failure)
    step = node.child("failed_step")
    return Finding(
        failure,
        step.choice(Step) if step.present() else None,
        node.member("reasons", []).texts(),
        node.child("hint").text(),
        _blocker(node.child("blocked_by")),
        node.member("scope", Scope.ENDPOINT.value).choice(Scope),
        node.member("confidence", Confidence.LIKELY.value).choice(Confidence),
        node.member("severity", failure.severity.value).choice(Severity),
    )


def _blocker(node: Node) -> Blocker:
    return Blocker(
        node.child("kind").choice(BlockerKind),
        node.child("address").text(),
        node.member("name", "").text(),
    )


def _observation(node: Node) -> Observation:
    seen = node.child("failure")
    return Observation(
        step=node.child("step").choice(Step),
        seen=seen.choice(Seen) if seen.present() else None,
        evidence=node.child("evidence").json_object(),
        took_s=node.child("took_ms").seconds(_MILLISECOND),
        started_s=node.member("started_ms", 0.0).seconds(_MILLISECOND),
        role=node.member("role", Role.PROBE.value).choice(Role),
        via=node.member("via", "").text(),
    )


def _change(node: Node) -> RowChange:
    return RowChange(
        n=node.child("n").integer(-_LARGEST_N, _LARGEST_N),
        pattern=node.child("pattern").text(),
        target=node.child("target").text(),
        port=node.child("port").integer(0, 65535),
        before=node.child("before").text(),
        after=node.child("after").text(),
        before_failure=node.member("before_failure", "").text(),
        after_failure=node.member("after_failure", "").text(),
    )
