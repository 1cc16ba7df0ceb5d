"""A report as Markdown, for tickets and wikis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from connectivity_check.model import Outcome, Report, Row
from connectivity_check.render import overview
from connectivity_check.render import texts as words
from connectivity_check.render.columns import source_of
from connectivity_check.render.rules import REQUEST_NAMES, BlockerGroup, by_blocker, rules_of, without_rule
from connectivity_check.render.safe_text import markdown_code, markdown_text
from connectivity_check.render.texts import Lang, Text


def render_markdown(report: Report, lang: Lang = Lang.EN) -> str:
    """Give headline, counts, who blocks what, and a table of all rows (GitHub's dialect)."""
    blocks = [
        f"# {words.TITLE.said(lang)}",
        f"**{markdown_text(overview.headline(report).said(lang))}**",
        *_partial(report, lang),
        _counts(report, lang),
        _facts(report, lang),
        *_findings(report, lang),
        f"## {words.WHO_BLOCKS_WHAT.said(lang)}",
        *_groups(report, lang),
        *_without_rule(report, lang),
        *_changes(report, lang),
        f"## {words.ALL_ROWS.said(lang)} ({len(report.rows)})",
        _rows(report, lang),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(headings: Iterable[Text], lines: Iterable[Iterable[str]], lang: Lang) -> str:
    head = [heading.said(lang) for heading in headings]
    rule = ["-"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _partial(report: Report, lang: Lang) -> Iterator[str]:
    sentence = overview.partial(report)
    if sentence:
        yield f"> **{markdown_text(sentence.said(lang))}**"


def _counts(report: Report, lang: Lang) -> str:
    lines = ([words.OUTCOMES[each].said(lang), str(report.count(each))] for each in Outcome)
    return _table((words.VERDICT, words.COUNT), lines, lang)


def _facts(report: Report, lang: Lang) -> str:
    facts = overview.facts_of(report, lang)
    return "\n".join(f"- {label.said(lang)}: {markdown_text(value)}" for label, value in facts)


def _findings(report: Report, lang: Lang) -> Iterator[str]:
    if report.findings:
        yield f"## {words.RUN_FINDINGS.said(lang)}"
    for each in report.findings:
        reasons = markdown_text("; ".join((*each.reasons, overview.todo(each).said(lang))))
        title = markdown_text(overview.cause(each).said(lang))
        yield f"- **{title}** ({markdown_code(each.failure)}): {reasons}"


def _groups(report: Report, lang: Lang) -> Iterator[str]:
    groups = by_blocker(rules_of(report))
    if not groups:
        yield words.NOTHING_BLOCKED.said(lang)
    for group in groups:
        yield f"### {markdown_text(overview.blocker(group.blocked_by).said(lang))} ({group.rows})"
        yield _group(group, report, lang)


def _without_rule(report: Report, lang: Lang) -> Iterator[str]:
    rows = without_rule(report)
    if rows:
        yield f"### {words.NO_RULE_HELPS.said(lang)} ({len(rows)})"
        lines = (
            [
                markdown_code(overview.endpoint(row)),
                f"{markdown_text(overview.cause(found).said(lang))} {markdown_code(found.failure)}",
                markdown_text(overview.todo(found).said(lang)),
            ]
            for row, found in rows
        )
        yield _table((words.ENDPOINT, words.CAUSE, words.WHAT_TO_DO), lines, lang)


def _group(group: BlockerGroup, report: Report, lang: Lang) -> str:
    source = source_of(report.recording)
    lines = (
        [
            markdown_code(rule.source or source),
            markdown_code(rule.place),
            markdown_text(REQUEST_NAMES[rule.request].said(lang)),
            (words.REQUIRED if rule.required else words.OPTIONAL).said(lang),
            f"{markdown_text(overview.cause(rule.finding).said(lang))} {markdown_code(rule.finding.failure)}",
            markdown_text(overview.todo(rule.finding).said(lang)),
        ]
        for rule in group.rules
    )
    headings = (words.SOURCE, words.RULE, words.ACTION, words.NEEDED, words.CAUSE, words.WHAT_TO_CHANGE)
    return _table(headings, lines, lang)


def _changes(report: Report, lang: Lang) -> Iterator[str]:
    if report.changes is None:
        return
    yield f"## {words.CHANGES.said(lang)}"
    if not report.changes:
        yield words.NO_CHANGES.said(lang)
        return
    lines = (
        [
            str(each.n),
            markdown_code(overview.changed_endpoint(each)),
            *(markdown_text(side.said(lang)) for side in overview.sides(each)),
        ]
        for each in report.changes
    )
    yield _table((words.NUMBER, words.ENDPOINT, words.BEFORE, words.AFTER), lines, lang)


def _rows(report: Report, lang: Lang) -> str:
    headings = (
        words.NUMBER,
        words.ENDPOINT,
        words.NEEDED,
        words.VERDICT,
        words.CAUSE,
        words.BLOCKED_BY,
        words.WHY,
        words.TIME,
    )
    return _table(headings, (_row(row, lang) for row in report.rows), lang)


def _row(row: Row, lang: Lang) -> list[str]:
    finding = row.finding
    cause = (
        f"{markdown_text(overview.cause(finding).said(lang))} {markdown_code(finding.failure)}"
        if finding
        else ""
    )
    return [
        str(row.target.n),
        markdown_code(overview.endpoint(row)),
        (words.REQUIRED if row.target.required else words.OPTIONAL).said(lang),
        markdown_text(overview.outcome(row).said(lang)),
        cause,
        markdown_text(overview.blocker(finding.blocked_by).said(lang)) if finding else "",
        markdown_text("; ".join(finding.reasons)) if finding else "",
        f"{row.took_s * 1000:.0f} ms",
    ]
