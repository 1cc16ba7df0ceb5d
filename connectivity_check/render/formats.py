"""The one way from a report to bytes: secrets out first, then one of the formats."""

from __future__ import annotations

from enum import StrEnum

from connectivity_check.core.redact import redact
from connectivity_check.model import Report
from connectivity_check.render.screen import PLAIN, Screen
from connectivity_check.render.texts import Lang


class Format(StrEnum):
    """What a report can be written as."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    XLSX = "xlsx"
    JUNIT = "junit"
    HTML = "html"
    MARKDOWN = "markdown"
    NAGIOS = "nagios"


_SUFFIXES = {
    "txt": Format.TABLE,
    "json": Format.JSON,
    "csv": Format.CSV,
    "xlsx": Format.XLSX,
    "xml": Format.JUNIT,
    "html": Format.HTML,
    "htm": Format.HTML,
    "md": Format.MARKDOWN,
}


def format_of(path: str) -> Format | None:
    """Give the format that a file's name tells; None when it tells none."""
    return _SUFFIXES.get(path.rpartition(".")[2].lower()) if "." in path else None


def render_report(report: Report, kind: Format, lang: Lang = Lang.EN, screen: Screen = PLAIN) -> bytes:
    """Give the report in a format, in UTF-8 where it is text (XLSX is not; a table for a screen that knows
    ASCII only is ASCII). Secrets are removed before anything is written (`core.redact`).

    JSON, JUnit and Nagios are for programs: they are in English whatever `lang` says.
    """
    report = redact(report)
    if kind is Format.XLSX:
        from connectivity_check.render.as_xlsx import render_xlsx

        return render_xlsx(report, lang)
    return _text(report, kind, lang, screen).encode()


def _text(report: Report, kind: Format, lang: Lang, screen: Screen) -> str:
    # Imported when wanted: the command starts for one format only.
    if kind is Format.TABLE:
        from connectivity_check.render.as_table import render_table

        return render_table(report, screen, lang)
    if kind is Format.JSON:
        from connectivity_check.render.as_json import render_json

        return render_json(report)
    if kind is Format.CSV:
        from connectivity_check.render.as_csv import render_csv

        return render_csv(report, lang)
    if kind is Format.JUNIT:
        from connectivity_check.render.as_junit import render_junit

        return render_junit(report)
    if kind is Format.HTML:
        from connectivity_check.render.as_html import render_html

        return render_html(report, lang)
    if kind is Format.MARKDOWN:
        from connectivity_check.render.as_markdown import render_markdown

        return render_markdown(report, lang)
    from connectivity_check.render.as_nagios import render_nagios

    return render_nagios(report)
