"""A report as CSV (RFC 4180): a line per row, with the columns of a change request."""

from __future__ import annotations

import csv
import io

from connectivity_check.model import Report
from connectivity_check.render import overview
from connectivity_check.render.columns import row_columns
from connectivity_check.render.safe_text import csv_text
from connectivity_check.render.texts import Lang


def render_csv(report: Report, lang: Lang = Lang.EN) -> str:
    """Give a line of stable keys and a line per row. No text begins a formula, and each is quoted.

    `partial` says in every unfinished row that it is. With a baseline, `before` and `before_failure` stand
    at the end, and rows that are gone follow with the outcome "gone". The byte order mark, by which
    spreadsheets know UTF-8, is part of the text.
    """
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    columns = row_columns()
    keys = [column.key for column in columns]
    compared = report.changes is not None
    writer.writerow(keys + (["before", "before_failure"] if compared else []))
    changed = {(each.n, each.pattern, each.target, each.port): each for each in report.changes or ()}
    for row in report.rows:
        values = [_cell(column.value(row, report, lang)) for column in columns]
        change = changed.get((row.target.n, row.target.pattern, row.target.host or "", row.target.port))
        if compared:
            values += [change.before or "absent", change.before_failure] if change else ["", ""]
        writer.writerow(values)
    for change in report.changes or ():
        if not change.after:
            gone = dict.fromkeys(keys, "") | {
                "n": change.n,
                "pattern": csv_text(change.pattern),
                "target": csv_text(change.target),
                "port": change.port,
                "outcome": "gone",
            }
            writer.writerow([*gone.values(), change.before, change.before_failure])
    if overview.partial(report) and not any(row.partial for row in report.rows):
        # Nothing in the rows would show it.
        writer.writerow([csv_text(overview.partial_sentence(report, lang)), *[""] * (len(keys) - 1)])
    return "\N{ZERO WIDTH NO-BREAK SPACE}" + out.getvalue()


def _cell(value: str | int | float) -> str | int | float:
    return csv_text(value) if isinstance(value, str) else value
