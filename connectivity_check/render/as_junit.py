"""A report as JUnit XML: a test case per row, in the shape of the xUnit plug-in's junit-10 schema."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from connectivity_check.model import Finding, Outcome, Report, Row
from connectivity_check.render import overview
from connectivity_check.render.columns import source_of
from connectivity_check.render.overview import cause
from connectivity_check.render.safe_text import plain

_MARKS = {
    Outcome.BLOCKED: "failure",
    Outcome.UNEXPLAINED: "error",
    Outcome.NOT_PROBEABLE: "skipped",
}
"""Reachable and degraded rows pass; what is wrong with a degraded one stands in its output."""
_LONGEST_TIME_S = 999_999.0


def render_junit(report: Report) -> str:
    """Give the document, in English.

    `failure` is a blocked row, `error` one of which nobody knows why it failed (or which was not finished),
    `skipped` one that cannot be tested. `type` is the code, `message` the hint. That schema has no
    properties in a test case: they stand in the suite, named `row.N.evidence`, and again in the case's
    system-out.
    """
    root = Element("testsuites", {**_counts(report, suite=False), "name": "isolator-check"})
    suite = SubElement(root, "testsuite", {**_counts(report, suite=True), "name": "isolator-check"})
    recording = report.recording
    if recording.started_at:
        # The schema's readers take no zone: it is UTC.
        suite.set("timestamp", plain(recording.started_at.removesuffix("Z")))
    if recording.host:
        suite.set("hostname", plain(recording.host))
    _properties(suite, report)
    for row in report.rows:
        _case(suite, row)
    for change in report.changes or ():
        output = f"{change.pattern}:{change.port} {change.before or 'absent'} -> {change.after or 'gone'}"
        SubElement(suite, "system-out").text = plain(f"changed: {output}")
    partial = overview.partial(report)
    if partial:
        SubElement(suite, "system-err").text = partial.en
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _counts(report: Report, *, suite: bool) -> dict[str, str]:
    found = {
        "tests": str(len(report.rows)),
        "failures": str(report.count(Outcome.BLOCKED)),
        "errors": str(report.count(Outcome.UNEXPLAINED)),
        "time": _time(report.recording.took_s),
    }
    return {**found, "skipped": str(report.count(Outcome.NOT_PROBEABLE))} if suite else found


def _properties(suite: Element, report: Report) -> None:
    recording = report.recording
    properties = SubElement(suite, "properties")
    facts = [
        ("verdict", overview.headline(report).en),
        ("partial", "true" if overview.partial(report) else "false"),
        ("source_address", source_of(recording)),
        ("path", f"{recording.path.kind} {recording.path.proxy}".strip()),
        *(
            (f"list.{each.id}", f"{each.version} ({each.entries} entries)".strip())
            for each in recording.lists
        ),
        *(("finding", _sentence(each)) for each in report.findings),
        *((f"row.{row.target.n}.evidence", each) for row in report.rows for each in _reasons(row)),
    ]
    for name, value in facts:
        SubElement(properties, "property", {"name": plain(name), "value": plain(value)})


def _case(suite: Element, row: Row) -> None:
    target = row.target
    group = plain(target.list_id or "target")
    case = SubElement(
        suite,
        "testcase",
        {
            "name": plain(f"{target.n} {overview.endpoint(row)} ({target.pattern})"),
            "classname": f"{group}.{'required' if target.required else 'optional'}",
            "time": _time(row.took_s),
        },
    )
    mark = _MARKS.get(row.outcome)
    if mark:
        finding = row.finding
        attributes = {"type": finding.failure.value, "message": plain(finding.hint)} if finding else {}
        SubElement(case, mark, attributes).text = plain("; ".join(_reasons(row)))
    lines = [_sentence(each) for each in (row.finding, *row.others) if each]
    if row.partial:
        lines.append("not finished")
    if lines:
        SubElement(case, "system-out").text = "\n".join(lines)


def _reasons(row: Row) -> tuple[str, ...]:
    return row.finding.reasons if row.finding else ()


def _sentence(finding: Finding) -> str:
    """Give a finding in one line: code, title, who, evidence and hint."""
    who = overview.blocker(finding.blocked_by).en
    return plain(
        f"{finding.failure}: {cause(finding).en}; {who}; {'; '.join(finding.reasons)}; {finding.hint}"
    )


def _time(seconds: float) -> str:
    # Neither a sign nor an exponent is in the schema's pattern.
    return f"{min(max(seconds, 0.0), _LONGEST_TIME_S):.3f}"
