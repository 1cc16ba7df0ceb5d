"""A report as one HTML file for people: no script, nothing from outside, both languages inside."""

from __future__ import annotations

from collections.abc import Iterator

from connectivity_check.model import Outcome, Report, RowChange
from connectivity_check.render import html_parts as parts
from connectivity_check.render import overview
from connectivity_check.render import texts as words
from connectivity_check.render.code_names import CODE_TEXTS
from connectivity_check.render.columns import source_of, verify
from connectivity_check.render.html_parts import both, code
from connectivity_check.render.html_style import POLICY, STYLE
from connectivity_check.render.overview import Verdict
from connectivity_check.render.rules import (
    REQUEST_NAMES,
    BlockerGroup,
    Rule,
    by_blocker,
    rules_of,
    without_rule,
)
from connectivity_check.render.safe_text import html_text
from connectivity_check.render.texts import Lang, Text

_SIGNS = {Verdict.OPEN: "✓", Verdict.DEGRADED: "!", Verdict.BLOCKED: "✕", Verdict.UNCLEAR: "?"}


def render_html(report: Report, lang: Lang = Lang.EN) -> str:
    """Give the page; it opens in `lang`, and a switch without script shows the other language.

    First what a manager wants (verdict, counts, who blocks what and which rule to open), then every row.
    """
    title = f"{words.TITLE.said(lang)}: {overview.headline(report).said(lang)}"
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{_switches(lang)}<header>\n<h1>{both(words.TITLE)}</h1>\n{_languages()}</header>\n<main>\n"
        f"{''.join(_sections(report))}</main>\n</body>\n</html>\n"
    )


def _switches(lang: Lang) -> str:
    # They stand before everything they switch: a style sheet can only look forward.
    return "".join(
        f'<input type="radio" name="lang" id="lang-{each}" class="switch"'
        f'{" checked" if each is lang else ""} aria-label="{name}">\n'
        for each, name in ((Lang.EN, "English"), (Lang.JA, "日本語"))
    )


def _languages() -> str:
    return (
        '<div class="languages"><label for="lang-en" lang="en">English</label>'
        '<label for="lang-ja" lang="ja">日本語</label></div>\n'
    )


def _sections(report: Report) -> Iterator[str]:
    yield _verdict(report)
    yield _counts(report)
    yield _facts(report)
    if report.findings:
        yield _run_findings(report)
    yield f"<section><h2>{both(words.WHO_BLOCKS_WHAT)}</h2>\n"
    groups = by_blocker(rules_of(report))
    if not groups:
        yield f"<p>{both(words.NOTHING_BLOCKED)}</p>\n"
    for number, group in enumerate(groups, 1):
        yield _group(group, report, f"group-{number}")
    yield _without_rule(report)
    yield "</section>\n"
    if report.changes is not None:
        yield _changes(report.changes)
    if len(report.recording.path.consumers) > 1:
        yield _consumers(report)
    yield f"<section><h2>{both(words.ALL_ROWS)}</h2>\n"
    yield parts.all_rows(report) if report.rows else f"<p>{both(words.NO_ROWS)}</p>\n"
    yield "</section>\n"


def _verdict(report: Report) -> str:
    found = overview.verdict(report)
    partial = overview.partial(report)
    warning = f'<p class="partial" role="alert">{both(partial)}</p>\n' if partial else ""
    return (
        f'<p class="headline {found}"><span aria-hidden="true">{_SIGNS[found]} </span>'
        f"{both(overview.headline(report))}</p>\n{warning}"
    )


def _counts(report: Report) -> str:
    items = ""
    for each in Outcome:
        count = report.count(each)
        items += f'<li class="{each if count else "none"}"><b>{count}</b> {both(words.OUTCOMES[each])}</li>'
    return f'<ul class="counts">{items}</ul>\n{_bar(report)}'


def _bar(report: Report) -> str:
    """Draw the counts. Widths are attributes of a drawing: the policy forbids styles in elements."""
    total, left, drawn = len(report.rows), 0.0, ""
    if not total:
        return ""
    for each in Outcome:
        width = 1000 * report.count(each) / total
        if width:
            drawn += f'<rect class="{each}" x="{left:.1f}" width="{width:.1f}" height="12"/>'
        left += width
    return (
        '<svg class="bar" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">'
        f"{drawn}</svg>\n"
    )


def _facts(report: Report) -> str:
    pairs = zip(overview.facts_of(report, Lang.EN), overview.facts_of(report, Lang.JA), strict=True)
    items = "".join(
        f"<dt>{both(label)}</dt><dd>{both(Text(english, japanese))}</dd>"
        for (label, english), (_, japanese) in pairs
    )
    return f'<dl class="facts">{items}</dl>\n'


def _run_findings(report: Report) -> str:
    cards = "".join(
        f'<div class="card"><h3>{both(overview.cause(each))} {code(each.failure)}'
        f" {parts.tag(_severity_class(each.severity.value), words.SEVERITIES[each.severity])}</h3>"
        f"<p>{both(CODE_TEXTS[each.failure].meaning)}</p>{parts.quoted(each.reasons)}"
        f"<div>{parts.todo(each)}</div></div>\n"
        for each in report.findings
    )
    return f"<section><h2>{both(words.RUN_FINDINGS)}</h2>\n{cards}</section>\n"


def _severity_class(severity: str) -> str:
    return {"blocking": "blocked", "warning": "degraded", "unknown": "unexplained"}.get(
        severity, "not_probeable"
    )


def _group(group: BlockerGroup, report: Report, name: str) -> str:
    headings = (
        (words.ACTION, False),
        (words.RULE, False),
        (words.NEEDED, False),
        (words.CAUSE, False),
        (words.WHAT_TO_CHANGE, False),
    )
    lines = (_rule(rule, report) for rule in group.rules)
    caption = words.GROUP_CAPTION.fill(rules=len(group.rules), rows=group.rows)
    return (
        f'<div class="card"><h3>{both(overview.blocker(group.blocked_by))}</h3>\n'
        f"{parts.table(caption, headings, lines, name, 'rules')}</div>\n"
    )


def _without_rule(report: Report) -> str:
    """Give what failed though nobody blocks it, so that nobody is asked to open anything."""
    rows = without_rule(report)
    if not rows:
        return ""
    headings = ((words.ENDPOINT, False), (words.CAUSE, False), (words.WHAT_TO_DO, False))
    lines = (
        f'<tr><th scope="row">{code(overview.endpoint(row))}</th>'
        f'<td>{parts.cause(found)}<div class="dim">{both(CODE_TEXTS[found.failure].meaning)}</div></td>'
        f"<td>{parts.todo(found)}{parts.quoted(found.reasons)}</td></tr>\n"
        for row, found in rows
    )
    caption = words.ROWS_CAPTION.fill(n=len(rows))
    shown = parts.table(caption, headings, lines, "no-rule")
    return f'<div class="card"><h3>{both(words.NO_RULE_HELPS)}</h3>\n{shown}</div>\n'


def _rule(rule: Rule, report: Report) -> str:
    meaning = CODE_TEXTS[rule.finding.failure].meaning
    command = verify(rule.rows[0], report)
    check = f"<p>{both(words.VERIFY)}: {code(command)}</p>" if command else ""
    source = rule.source or source_of(report.recording)
    return (
        f"<tr><td>{both(REQUEST_NAMES[rule.request])}</td>"
        f'<th scope="row">{code(rule.place)}'
        f'<div class="dim">{both(words.FROM)} {code(source)}</div></th>'
        f"<td>{both(words.REQUIRED if rule.required else words.OPTIONAL)}</td>"
        f'<td>{parts.cause(rule.finding)}<div class="dim">{both(meaning)}</div></td>'
        f'<td class="change">{parts.todo(rule.finding)}<details><summary>{both(words.WHY)}</summary>'
        f"{parts.quoted(rule.finding.reasons)}{check}</details></td></tr>\n"
    )


def _changes(changes: tuple[RowChange, ...]) -> str:
    if not changes:
        shown = f"<p>{both(words.NO_CHANGES)}</p>\n"
    else:
        headings = (
            (words.NUMBER, True),
            (words.ENDPOINT, False),
            (words.BEFORE, False),
            (words.AFTER, False),
        )
        caption = words.ROWS_CAPTION.fill(n=len(changes))
        shown = parts.table(caption, headings, (_change(each) for each in changes), "changes")
    return f"<section><h2>{both(words.CHANGES)}</h2>\n{shown}</section>\n"


def _change(change: RowChange) -> str:
    before, after = overview.sides(change)
    return (
        f'<tr><td class="number">{change.n}</td>'
        f'<th scope="row">{code(overview.changed_endpoint(change))}</th>'
        f"<td>{both(before)}</td><td>{both(after)}</td></tr>\n"
    )


def _consumers(report: Report) -> str:
    headings = ((words.CONSUMER, False), (words.WAY, False), (words.SET_BY, False))
    lines = (
        f'<tr><th scope="row">{html_text(each.consumer)}</th>'
        f"<td>{both(words.PATHS[each.kind])} {code(each.proxy)}</td>"
        f"<td>{html_text(each.source)}</td></tr>\n"
        for each in report.recording.path.consumers
    )
    shown = parts.table(words.CONSUMERS, headings, lines, "consumers")
    return f"<section><h2>{both(words.CONSUMERS)}</h2>\n{shown}</section>\n"
