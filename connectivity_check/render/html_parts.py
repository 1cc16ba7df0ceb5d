"""Pieces of the HTML report: texts in both languages, tables, the table of all rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connectivity_check.model import Finding, Report, Row
from connectivity_check.render import overview
from connectivity_check.render import texts as words
from connectivity_check.render.code_names import CODE_TEXTS
from connectivity_check.render.safe_text import html_text
from connectivity_check.render.texts import Text


def both(text: Text) -> str:
    """Give a text in both languages, of which the style sheet shows one."""
    if text.en == text.ja:
        return html_text(text.en)
    return (
        f'<span class="en" lang="en">{html_text(text.en)}</span>'
        f'<span class="ja" lang="ja">{html_text(text.ja)}</span>'
    )


def code(text: str) -> str:
    """Give a name, address or code."""
    return f"<code>{html_text(text)}</code>" if text else ""


def quoted(texts: Iterable[str]) -> str:
    """Give sentences of the analysis, which are in English in every language, as a list; "" when empty."""
    items = "".join(f"<li>{html_text(each)}</li>" for each in texts if each)
    return f'<ul lang="en">{items}</ul>' if items else ""


def tag(css_class: str, text: Text) -> str:
    """Give a coloured word."""
    return f'<span class="tag {css_class}">{both(text)}</span>'


def table(
    caption: Text, headings: Sequence[tuple[Text, bool]], lines: Iterable[str], name: str, css_class: str = ""
) -> str:
    """Give a table that scrolls by itself on narrow screens; a heading says whether its column is numbers.

    `name` is the id of the caption, which also names the region for screen readers.
    """
    attribute = f' class="{css_class}"' if css_class else ""
    head = "".join(
        f'<th scope="col"{" class=number" if number else ""}>{both(heading)}</th>'
        for heading, number in headings
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}"><table{attribute}>'
        f'<caption id="{name}">{both(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{''.join(lines)}</tbody></table></div>\n"
    )


def todo(finding: Finding) -> str:
    """Give what to change. In Japanese the general remedy stands before the English one with the names."""
    general = html_text(CODE_TEXTS[finding.failure].todo_ja)
    hint = html_text(finding.hint)
    return (
        f'<span class="ja" lang="ja">{general}</span><span class="en" lang="en">{hint}</span>'
        f'<div class="ja dim" lang="en">{hint}</div>'
    )


def cause(finding: Finding) -> str:
    """Give title, code and meaning of a finding."""
    text = CODE_TEXTS[finding.failure]
    return f"<b>{both(text.title)}</b> {code(finding.failure)}"


def all_rows(report: Report) -> str:
    """Give the table of all rows, in the order of the report."""
    headings = (
        (words.NUMBER, True),
        (words.ENDPOINT, False),
        (words.NEEDED, False),
        (words.VERDICT, False),
        (words.CAUSE, False),
        (words.BLOCKED_BY, False),
        (words.TIME, True),
    )
    caption = words.ROWS_CAPTION.fill(n=len(report.rows))
    return table(caption, headings, (_row(row) for row in report.rows), "all-rows")


def _row(row: Row) -> str:
    target, finding = row.target, row.finding
    about = target.service
    if target.host is not None and target.pattern not in (target.host, ""):
        about = f"{target.pattern} · {about}" if about else target.pattern
    return (
        f'<tr><td class="number">{target.n}</td>'
        f'<th scope="row">{code(overview.endpoint(row))}<div class="dim">{html_text(about)}</div></th>'
        f'<td class="word">{both(words.REQUIRED if target.required else words.OPTIONAL)}</td>'
        f"<td>{tag(row.outcome.value, overview.outcome(row))}</td>"
        f"<td>{_findings(row)}</td>"
        f"<td>{both(overview.blocker(finding.blocked_by)) if finding else ''}</td>"
        f'<td class="number">{row.took_s * 1000:.0f} ms</td></tr>\n'
    )


def _findings(row: Row) -> str:
    """Give the deciding finding, with its evidence to unfold, and what else was found."""
    if row.finding is None and not row.others:
        return ""
    shown = cause(row.finding) if row.finding else ""
    inside = quoted(row.finding.reasons) if row.finding else ""
    if row.finding:
        inside += f"<div>{both(words.WHAT_TO_CHANGE)}: {todo(row.finding)}</div>"
        inside += (
            f'<p class="dim">{both(words.CONFIDENCE)}: {both(words.CONFIDENCES[row.finding.confidence])};'
            f" {both(words.SCOPE)}: {both(words.SCOPES[row.finding.scope])}</p>"
        )
    for other in row.others:
        inside += f"<p>{both(words.ALSO)}: {cause(other)}</p>{quoted((*other.reasons, other.hint))}"
    return f"{shown}<details><summary>{both(words.WHY)}</summary>{inside}</details>"
