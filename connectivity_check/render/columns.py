"""The columns of spreadsheets: of a row, and of a change request."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from connectivity_check.model import Finding, PathKind, Recording, Report, Row, Target
from connectivity_check.render import overview
from connectivity_check.render import texts as words
from connectivity_check.render.code_names import CODE_TEXTS
from connectivity_check.render.rules import REQUEST_NAMES, Request, Rule, requests_of
from connectivity_check.render.texts import Lang, Text

_Subject = TypeVar("_Subject")
_PERMIT = frozenset((Request.OPEN, Request.ALLOW_NAME, Request.PROXY_ALLOW, Request.NO_INSPECTION))
_FILL_IN_SOURCE = "(fill in: address or subnet of the clients)"
"""A rule with the source "any" is refused by every network team, and rightly so."""


@dataclass(frozen=True, slots=True)
class Column(Generic[_Subject]):
    """A column: its key in CSV, its heading for people, its width in characters, and what stands in it."""

    key: str
    heading: Text
    width: int
    value: Callable[[_Subject, Report, Lang], str | int | float]


def row_columns() -> tuple[Column[Row], ...]:
    """Give the columns of a list of all rows; keys are stable, new ones come at the end."""
    return (
        Column("n", Text("No.", "番号"), 6, lambda row, *_: row.target.n),
        Column("pattern", Text("Pattern", "パターン"), 38, lambda row, *_: row.target.pattern),
        Column("target", words.ENDPOINT, 38, lambda row, *_: row.target.host or ""),
        Column("port", words.PORT, 7, lambda row, *_: row.target.port),
        Column("required", words.NEEDED, 10, lambda row, _, lang: _needed(row.target.required).said(lang)),
        Column("outcome", words.VERDICT, 13, lambda row, _, lang: words.OUTCOMES[row.outcome].said(lang)),
        Column("failure", words.CODE, 24, lambda row, *_: row.failure or ""),
        Column("cause", words.CAUSE, 30, lambda row, _, lang: _cause(row.finding, lang)),
        Column("blocked_by", words.BLOCKED_BY, 30, lambda row, _, lang: _blocked_by(row.finding, lang)),
        Column("hint", words.WHAT_TO_CHANGE, 60, lambda row, _, lang: _todo(row.finding, lang)),
        Column("evidence", words.WHY, 60, lambda row, report, lang: row_evidence(row, report, lang)),
        Column("confidence", words.CONFIDENCE, 14, lambda row, _, lang: _confidence(row.finding, lang)),
        Column("scope", words.SCOPE, 18, lambda row, _, lang: _scope(row.finding, lang)),
        Column("took_ms", Text("Time (ms)", "所要時間 (ms)"), 11, lambda row, *_: round(row.took_s * 1000)),
        Column("service", words.SERVICE, 26, lambda row, *_: row.target.service),
        Column(
            "addresses",
            Text("Addresses seen", "解決アドレス"),
            30,
            lambda row, *_: _many(overview.resolved(row)),
        ),
        Column(
            "cnames", Text("CNAME chain", "CNAME チェーン"), 30, lambda row, *_: _many(overview.aliases(row))
        ),
        Column("request", Text("Request", "依頼種別"), 22, lambda row, *_: " + ".join(requests_of(row))),
        Column("source", words.SOURCE, 18, lambda _, report, __: source_of(report.recording)),
        Column(
            "verify", Text("Verify command", "確認コマンド"), 50, lambda row, report, _: verify(row, report)
        ),
        Column("partial", Text("Whole", "完了"), 14, lambda row, _, lang: _partial(row, lang)),
    )


def request_columns() -> tuple[Column[Rule], ...]:
    """Give the columns of the change-request sheet: what the forms of network teams ask for."""
    return (
        Column(
            "blocked_by", words.BLOCKED_BY, 30, lambda r, _, lang: overview.blocker(r.blocked_by).said(lang)
        ),
        Column(
            "request",
            Text("Request type", "依頼種別"),
            28,
            lambda r, _, lang: REQUEST_NAMES[r.request].said(lang),
        ),
        Column("source", words.SOURCE, 20, lambda r, report, _: r.source or source_of(report.recording)),
        Column("destination", Text("Destination", "宛先 FQDN"), 42, lambda r, *_: r.destination),
        Column("tried", Text("Hosts tried", "検査したホスト"), 42, lambda r, *_: _many(_hosts(r))),
        Column(
            "addresses",
            Text("Addresses seen (they change: information only)", "解決アドレス (参考、変動します)"),
            32,
            lambda r, *_: _many(each for row in r.rows for each in overview.resolved(row)),
        ),
        Column(
            "cnames",
            Text("CNAME chain", "CNAME チェーン"),
            32,
            lambda r, *_: _many(each for row in r.rows for each in overview.aliases(row)),
        ),
        Column("port", words.PORT, 7, lambda r, *_: r.port),
        Column("protocol", Text("Protocol", "プロトコル"), 10, lambda r, *_: r.protocol),
        Column(
            "direction",
            Text("Direction", "方向"),
            11,
            lambda _, __, lang: Text("outgoing", "外向き").said(lang),
        ),
        Column("action", Text("Action", "動作"), 20, lambda r, _, lang: _action(r).said(lang)),
        Column("inspect", Text("TLS inspection", "TLS 検査"), 15, lambda r, _, lang: _inspect(r).said(lang)),
        Column(
            "proxy_auth", Text("Proxy login", "プロキシ認証"), 15, lambda r, _, lang: _login(r).said(lang)
        ),
        Column("required", words.NEEDED, 11, lambda r, _, lang: _needed(r.required).said(lang)),
        Column("service", words.SERVICE, 28, lambda r, *_: _many(row.target.service for row in r.rows)),
        Column("justification", Text("Justification", "理由"), 50, _justification),
        Column("owner", Text("Owner (fill in)", "担当者 (記入)"), 18, lambda *_: ""),
        Column("valid", Text("From / until (fill in)", "適用期間 (記入)"), 20, lambda *_: ""),
        Column("hint", words.WHAT_TO_CHANGE, 60, lambda r, _, lang: _todo(r.finding, lang)),
        Column(
            "evidence",
            words.WHY,
            70,
            lambda r, report, lang: row_evidence(r.rows[0], report, lang, r.finding),
        ),
        Column(
            "verify",
            Text("Verify command", "確認コマンド"),
            56,
            lambda r, report, _: verify(r.rows[0], report),
        ),
    )


def source_of(recording: Recording) -> str:
    """Give what a rule's source has to be: this host's address, never "any"."""
    return recording.source_address or recording.host or _FILL_IN_SOURCE


def row_evidence(row: Row, report: Report, lang: Lang, finding: Finding | None = None) -> str:
    """Give what speaks for a finding of a row (the deciding one), with hop, time and test number; "" without
    a finding."""
    finding = finding or row.finding
    if finding is None:
        return ""
    hop = overview.last_hop(row)
    parts = [
        f"{finding.failure} ({words.CONFIDENCES[finding.confidence].said(lang)})",
        *finding.reasons,
        f"last hop {hop}" if hop else "",
        report.recording.started_at,
        test_id(row, report),
    ]
    return "; ".join(each for each in parts if each)


def test_id(row: Row, report: Report) -> str:
    """Give a number to quote in a ticket: start of the run and number of the row."""
    start = "".join(each for each in report.recording.started_at if each.isalnum())
    return f"test {start}-{row.target.n}" if start else f"test {row.target.n}"


def verify(row: Row, report: Report) -> str:
    """Give the command that tries this row again by the same way; "" when it has no host."""
    if row.target.host is None:
        return ""
    command = f"isolator-check --target {shlex.quote(overview.endpoint(row))}"
    path, proxy = report.recording.path, row.target.route.proxy
    if path.kind is PathKind.PAC and path.proxy:
        return f"{command} --pac {shlex.quote(path.proxy)}"
    if proxy:
        return f"{command} --proxy {shlex.quote(proxy.url)}"
    return f"{command} --direct"


def _needed(required: bool) -> Text:
    return words.REQUIRED if required else words.OPTIONAL


def _partial(row: Row, lang: Lang) -> str:
    return words.PARTIAL_ROW.said(lang) if row.partial else ""


def _cause(finding: Finding | None, lang: Lang) -> str:
    return overview.cause(finding).said(lang) if finding else ""


def _blocked_by(finding: Finding | None, lang: Lang) -> str:
    return overview.blocker(finding.blocked_by).said(lang) if finding else ""


def _todo(finding: Finding | None, lang: Lang) -> str:
    if finding is None:
        return ""
    general = CODE_TEXTS[finding.failure].todo_ja
    # The hint with names and addresses is English data: the Japanese sheet gives both.
    return f"{general} / {finding.hint}".rstrip(" /") if lang is Lang.JA else finding.hint


def _confidence(finding: Finding | None, lang: Lang) -> str:
    return words.CONFIDENCES[finding.confidence].said(lang) if finding else ""


def _scope(finding: Finding | None, lang: Lang) -> str:
    return words.SCOPES[finding.scope].said(lang) if finding else ""


def _hosts(rule: Rule) -> Iterable[str]:
    return (row.target.host or "" for row in rule.rows)


def _many(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(each for each in values if each))


def _action(rule: Rule) -> Text:
    return Text("permit", "許可") if rule.request in _PERMIT else REQUEST_NAMES[rule.request]


def _inspect(rule: Rule) -> Text:
    tls = any(row.target.tls for row in rule.rows)
    return Text("bypass", "対象外 (bypass)") if tls else Text("not TLS", "TLS なし")


def _login(rule: Rule) -> Text:
    by_proxy = any(_proxied(row.target) for row in rule.rows)
    return Text("exempt", "除外 (exempt)") if by_proxy else Text("no proxy", "プロキシなし")


def _proxied(target: Target) -> bool:
    return target.route.proxy is not None


def _justification(rule: Rule, report: Report, lang: Lang) -> str:
    target = rule.rows[0].target
    version = next((each.version for each in report.recording.lists if each.id == target.list_id), "")
    source = " ".join(each for each in (target.list_id, version) if each)
    reason = CODE_TEXTS[rule.finding.failure].meaning.said(lang)
    listed = Text(
        "Published endpoint of the security service, list {source}.", "公開された接続先 (リスト {source})。"
    )
    return f"{listed.fill(source=source).said(lang)} {reason}" if source else reason
