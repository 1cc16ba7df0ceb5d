"""A report as a workbook: the change request, all rows, and how to read them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from connectivity_check.model import Report
from connectivity_check.render import overview
from connectivity_check.render import texts as words
from connectivity_check.render.columns import Column, request_columns, row_columns
from connectivity_check.render.readme_sheet import readme_lines
from connectivity_check.render.rules import rules_of
from connectivity_check.render.safe_text import cell_text
from connectivity_check.render.texts import Lang, Text

# openpyxl has no types of its own.
_Workbook: TypeAlias = Any
_Cell: TypeAlias = Any

_Subject = TypeVar("_Subject")
REQUEST_SHEET = Text("Change request", "変更依頼")
ROWS_SHEET = Text("All rows", "全件")
README_SHEET = Text("Read me", "説明")
CHANGES_SHEET = Text("Changes", "差分")
_HEADING_FILL = "1F3864"


def render_xlsx(report: Report, lang: Lang = Lang.EN) -> bytes:
    """Give the workbook. Texts are stored as texts, whatever they begin with; there are no formulas, links or
    macros in it. A baseline adds a sheet at the end."""
    from openpyxl import Workbook  # type: ignore[import-untyped]

    book = Workbook()
    book.remove(book.active)
    _sheet(book, REQUEST_SHEET.said(lang), request_columns(), rules_of(report), report, lang)
    _sheet(book, ROWS_SHEET.said(lang), row_columns(), report.rows, report, lang)
    _readme(book, report, lang)
    if report.changes is not None:
        _changes(book, report, lang)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _sheet(
    book: _Workbook,
    title: str,
    columns: Sequence[Column[_Subject]],
    subjects: Iterable[_Subject],
    report: Report,
    lang: Lang,
) -> None:
    lines: list[list[str | int | float]] = [
        [column.value(subject, report, lang) for column in columns] for subject in subjects
    ]
    headings = [column.heading.said(lang) for column in columns]
    _write(book, title, headings, [column.width for column in columns], lines)


def _changes(book: _Workbook, report: Report, lang: Lang) -> None:
    headings = [each.said(lang) for each in (words.NUMBER, words.ENDPOINT, words.BEFORE, words.AFTER)]
    lines: list[list[str | int | float]] = [
        [each.n, overview.changed_endpoint(each), *(side.said(lang) for side in overview.sides(each))]
        for each in report.changes or ()
    ]
    _write(book, CHANGES_SHEET.said(lang), headings, [6, 48, 36, 36], lines)


def _write(
    book: _Workbook,
    title: str,
    headings: Sequence[str],
    widths: Sequence[int],
    lines: Iterable[Sequence[str | int | float]],
) -> None:
    from openpyxl.styles import Alignment, Font, PatternFill  # type: ignore[import-untyped]
    from openpyxl.utils import get_column_letter  # type: ignore[import-untyped]

    sheet = book.create_sheet(title)
    for index, (heading, width) in enumerate(zip(headings, widths, strict=True), 1):
        cell = sheet.cell(1, index)
        _fill(cell, heading)
        cell.font = Font(bold=True, color="FFFFFF")
        cell.fill = PatternFill("solid", fgColor=_HEADING_FILL)
        cell.alignment = Alignment(vertical="top", wrap_text=True)
        sheet.column_dimensions[get_column_letter(index)].width = width
    wrapped = Alignment(vertical="top", wrap_text=True)
    last = 1
    for last, line in enumerate(lines, 2):
        for index, value in enumerate(line, 1):
            cell = sheet.cell(last, index)
            _fill(cell, value)
            cell.alignment = wrapped
    sheet.freeze_panes = "A2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(headings))}{last}"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.print_title_rows = "1:1"


def _readme(book: _Workbook, report: Report, lang: Lang) -> None:
    from openpyxl.styles import Alignment, Font

    sheet = book.create_sheet(README_SHEET.said(lang))
    sheet.column_dimensions["A"].width = 28
    sheet.column_dimensions["B"].width = 100
    for number, (label, text) in enumerate(readme_lines(report, lang), 1):
        for column, value in ((1, label), (2, text)):
            cell = sheet.cell(number, column)
            _fill(cell, value)
            cell.alignment = Alignment(vertical="top", wrap_text=True)
        sheet.cell(number, 1).font = Font(bold=True)


def _fill(cell: _Cell, value: str | float) -> None:
    """Write a value; a text is stored as one, so that nothing in it is read as a formula or a number."""
    if value == "":
        return
    if isinstance(value, str):
        cell.value = cell_text(value)
        cell.data_type = "s"  # after the value, from which a type is guessed ("#N/A" would be an error)
    else:
        cell.value = value
