"""What a reader wants first: the verdict on the run, and a row in words."""

from __future__ import annotations

from enum import StrEnum

from connectivity_check.core.facts import addresses_of, of, roles, text, texts
from connectivity_check.model import Blocker, Finding, Outcome, Report, Role, Row, RowChange, Step
from connectivity_check.render import texts as words
from connectivity_check.render.code_names import CODE_TEXTS
from connectivity_check.render.texts import Lang, Text


class Verdict(StrEnum):
    """The run in one word, for colours and states."""

    OPEN = "open"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    UNCLEAR = "unclear"


def verdict(report: Report) -> Verdict:
    """Judge the run: a blocked required row outweighs an unclear one, which outweighs a degraded one.

    Optional rows that are blocked, and warnings about the whole run, make it degraded. A run that tried
    nothing is unclear.
    """
    required = _required(report)
    if Outcome.BLOCKED in required:
        return Verdict.BLOCKED
    if Outcome.UNEXPLAINED in required or not report.rows or report.interrupted:
        return Verdict.UNCLEAR
    if Outcome.DEGRADED in required or any(
        row.outcome in (Outcome.BLOCKED, Outcome.UNEXPLAINED) for row in report.rows
    ):
        return Verdict.DEGRADED
    return Verdict.OPEN


def headline(report: Report) -> Text:
    """Give the verdict as a sentence with numbers."""
    required = _required(report)
    numbers = {
        "required": len(required),
        "reachable": required.count(Outcome.REACHABLE),
        "blocked": required.count(Outcome.BLOCKED),
        "degraded": required.count(Outcome.DEGRADED),
        "unclear": required.count(Outcome.UNEXPLAINED),
        "untested": required.count(Outcome.NOT_PROBEABLE),
    }
    if not report.rows:
        return words.HEADLINE_NOTHING
    if not required:
        return words.HEADLINE_OPTIONAL
    for number, sentence in (
        ("blocked", words.HEADLINE_BLOCKED),
        ("unclear", words.HEADLINE_UNCLEAR),
        ("degraded", words.HEADLINE_DEGRADED),
        ("untested", words.HEADLINE_UNTESTED),
    ):
        if numbers[number]:
            return sentence.fill(**numbers)
    return words.HEADLINE_OPEN.fill(**numbers)


def partial(report: Report) -> Text | None:
    """Give the sentence that says a run is not whole; None when it is."""
    unfinished = sum(row.partial for row in report.rows)
    if not (report.interrupted or unfinished):
        return None
    return words.PARTIAL.fill(n=unfinished, total=len(report.rows))


def endpoint(row: Row) -> str:
    """Give what was tried as `host:port`, or the pattern when there was nothing to try."""
    host = row.target.host
    if host is None:
        # A port behind a path would look like part of it.
        return row.target.pattern if "/" in row.target.pattern else f"{row.target.pattern}:{row.target.port}"
    return f"[{host}]:{row.target.port}" if ":" in host else f"{host}:{row.target.port}"


def blocker(blocked_by: Blocker) -> Text:
    """Give who blocks: kind, address and own name, as far as known."""
    known = " ".join(
        each for each in (blocked_by.address, f"({blocked_by.name})" if blocked_by.name else "") if each
    )
    kind = words.BLOCKERS[blocked_by.kind]
    return Text(f"{kind.en} {known}".strip(), f"{kind.ja} {known}".strip())


def cause(finding: Finding) -> Text:
    """Give the title of a finding's code."""
    return CODE_TEXTS[finding.failure].title


def todo(finding: Finding) -> Text:
    """Give what to change: the finding's own hint, and the general remedy in Japanese."""
    return Text(finding.hint, CODE_TEXTS[finding.failure].todo_ja)


def resolved(row: Row) -> tuple[str, ...]:
    """Give the addresses that the row's name had in this run."""
    found = of(row.observations, Step.RESOLVE)
    return tuple(dict.fromkeys(address for each in found for address in addresses_of(each)))


def aliases(row: Row) -> tuple[str, ...]:
    """Give the CNAME chain behind the row's name."""
    found = of(row.observations, Step.RESOLVE)
    return tuple(dict.fromkeys(name for each in found for name in texts(each, "cnames")))


def last_hop(row: Row) -> str:
    """Give the last router that answered before silence, "" when none is known."""
    return next((hop for each in roles(row.observations, Role.HOPS) if (hop := text(each, "last_hop"))), "")


def _required(report: Report) -> list[Outcome]:
    return [row.outcome for row in report.rows if row.target.required]


def partial_sentence(report: Report, lang: Lang) -> str:
    """Give `partial` in one language, "" when the run is whole."""
    sentence = partial(report)
    return sentence.said(lang) if sentence else ""


def outcome(row: Row) -> Text:
    """Give a row's verdict, and whether it was not finished."""
    name = words.OUTCOMES[row.outcome]
    if not row.partial:
        return name
    return Text(f"{name.en} ({words.PARTIAL_ROW.en})", f"{name.ja} ({words.PARTIAL_ROW.ja})")


def sides(change: RowChange) -> tuple[Text, Text]:
    """Give a change's before and after with their codes."""
    return _side(change.before, change.before_failure), _side(change.after, change.after_failure)


def changed_endpoint(change: RowChange) -> str:
    """Give what changed as `host:port`."""
    return f"{change.target or change.pattern}:{change.port}"


def _side(name: str, failure: str) -> Text:
    if not name:
        return words.NOT_THERE
    known = next(
        (text for outcome, text in words.OUTCOMES.items() if outcome.value == name), Text(name, name)
    )
    return Text(f"{known.en} {failure}".strip(), f"{known.ja} {failure}".strip())


def facts_of(report: Report, lang: Lang) -> tuple[tuple[Text, str], ...]:
    """Give the circumstances of the run with their labels; what is not known is left out."""
    recording = report.recording
    path = recording.path
    way = " ".join(
        each
        for each in (words.PATHS[path.kind].said(lang), path.proxy, f"({path.source})" if path.source else "")
        if each
    )
    lists = ", ".join(" ".join(filter(None, (each.id, each.version))) for each in recording.lists)
    facts = (
        (words.HOST, recording.host),
        (words.SOURCE, recording.source_address),
        (words.WAY, way),
        (words.LISTS, lists),
        (words.STARTED, recording.started_at),
        (words.TOOK, words.SECONDS.fill(s=f"{recording.took_s:.1f}").said(lang)),
    )
    return tuple((label, value) for label, value in facts if value)
