"""What every format keeps to: no row is lost, a part is called PARTIAL, hostile texts do nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings

from connectivity_check.model import Report
from connectivity_check.render.formats import Format, format_of, render_report
from connectivity_check.render.screen import Screen
from connectivity_check.render.texts import Lang
from tests.golden.preflight_reports import REPORTS, company, compared, empty, many, stopped
from tests.unit.connectivity_check.core.generated_reports import reports


class Tags(HTMLParser):
    """Counts start tags, collects attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "input", "rect", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def sheets(data: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(data))


def count_rows(kind: Format, data: bytes) -> int:
    """Count the rows of a report that has no baseline."""
    if kind is Format.JSON:
        return len(json.loads(data)["rows"])
    if kind is Format.CSV:
        return len(cells(data)) - 1
    if kind is Format.XLSX:
        return int(sheets(data)["All rows"].max_row) - 1
    if kind is Format.JUNIT:
        return len(list(ElementTree.fromstring(data).iter("testcase")))
    text = data.decode()
    if kind is Format.HTML:
        section = text.partition('<caption id="all-rows">')[2]
        return section.partition("<tbody>")[2].count("<tr>")
    if kind is Format.MARKDOWN:
        return len(re.findall(r"^\| \d", text.rpartition("\n## ")[2], re.M))
    return len(re.findall(r"^ *\d+ ", text.partition("\n\n")[0], re.M))


ROWED = [kind for kind in Format if kind is not Format.NAGIOS]


@pytest.mark.parametrize("kind", ROWED)
@pytest.mark.parametrize(
    "report", [company(), stopped(), empty(), many(500)], ids=["company", "stopped", "empty", "500"]
)
def test_no_row_is_missing(kind: Format, report: Report) -> None:
    wide = Screen(width=300)
    assert count_rows(kind, render_report(report, kind, screen=wide)) == len(report.rows)


@pytest.mark.parametrize("lang", Lang)
@pytest.mark.parametrize("kind", [kind for kind in Format if kind is not Format.XLSX])
def test_a_part_is_called_partial(kind: Format, lang: Lang) -> None:
    text = render_report(stopped(), kind, lang).decode()
    if kind is Format.JSON:
        assert json.loads(text)["interrupted"] is True
        assert json.loads(text)["summary"]["unfinished"] == 1
    elif kind is Format.CSV:
        assert "not finished" in text or "未完了" in text
    else:
        assert "PARTIAL" in text


@pytest.mark.parametrize(
    "kind", [Format.CSV, Format.MARKDOWN, Format.HTML, Format.TABLE, Format.JUNIT, Format.NAGIOS]
)
def test_a_stopped_run_whose_rows_are_all_done_is_partial_too(kind: Format) -> None:
    text = render_report(replace(company(), interrupted=True), kind).decode()
    assert "PARTIAL" in text


def test_a_workbook_says_partial_in_both_sheets() -> None:
    book = sheets(render_report(stopped(), Format.XLSX))
    assert "PARTIAL" in [cell.value for cell in book["Read me"]["A"]]
    assert "not finished" in [cell.value for cell in list(book["All rows"].rows)[2]]


@pytest.mark.parametrize("kind", Format)
def test_changes_are_in_every_format(kind: Format) -> None:
    data = render_report(compared(), kind)
    if kind is Format.XLSX:
        values = [[cell.value for cell in row] for row in sheets(data)["Changes"].rows]
        assert values[1][1:] == ["login.example.com:443", "blocked tcp.dropped", "reachable"]
        assert len(values) == 4
    elif kind is Format.NAGIOS:
        assert b"3 changes" in data
    else:
        assert b"old.example.com" in data
    same = render_report(replace(compared(), changes=()), kind)
    assert b"old.example.com" not in same


def test_gone_rows_of_csv_are_marked() -> None:
    lines = cells(render_report(compared(), Format.CSV))
    keys = lines[0]
    gone = dict(zip(keys, lines[-1], strict=True))
    assert (gone["target"], gone["outcome"], gone["before"]) == ("old.example.com", "gone", "reachable")
    mended = dict(zip(keys, lines[1], strict=True))
    assert (mended["before"], mended["before_failure"]) == ("blocked", "tcp.dropped")
    assert dict(zip(keys, lines[2], strict=True))["before"] == "absent"


def test_no_cell_of_a_csv_is_a_formula() -> None:
    for line in cells(render_report(company(), Format.CSV)):
        for cell in line:
            assert not cell.strip().startswith(("=", "+", "-", "@")), cell


def test_no_cell_of_a_workbook_is_a_formula() -> None:
    for sheet in sheets(render_report(company(), Format.XLSX)):
        for row in sheet.rows:
            for cell in row:
                assert cell.data_type in ("s", "n"), cell.value
                assert not str(cell.value or "").strip().startswith(("=", "+", "-", "@")), cell.value


def test_a_workbook_is_ready_to_use() -> None:
    book = sheets(render_report(company(), Format.XLSX))
    assert book.sheetnames == ["Change request", "All rows", "Read me"]
    for name in ("Change request", "All rows"):
        sheet = book[name]
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref.startswith("A1:")
        assert sheet.column_dimensions["A"].width > 4
    japanese = sheets(render_report(company(), Format.XLSX, Lang.JA))
    assert japanese.sheetnames == ["変更依頼", "全件", "説明"]


def test_a_workbook_never_asks_for_any_source() -> None:
    sheet = sheets(render_report(company(), Format.XLSX))["Change request"]
    headings = [cell.value for cell in sheet[1]]
    column = headings.index("Source address")
    sources = {row[column].value for row in list(sheet.rows)[1:]}
    assert sources == {"198.51.100.20"}


@pytest.mark.parametrize("lang", Lang)
@pytest.mark.parametrize("name", REPORTS)
def test_html_is_one_file_without_script_or_outside(name: str, lang: Lang) -> None:
    text = render_report(REPORTS[name], Format.HTML, lang).decode()
    page = Tags(text)
    assert not page.open
    assert "script" not in page.tags
    assert not {"img", "link", "iframe", "object", "form", "a", "base"} & set(page.tags)
    names = {attribute for attribute, _ in page.attributes}
    assert not {attribute for attribute in names if attribute.startswith("on")}
    assert not {"href", "src", "style", "action"} & names
    assert "url(" not in text
    assert "@import" not in text
    assert f'<html lang="{lang}">' in text
    identifiers = [value for attribute, value in page.attributes if attribute == "id"]
    assert len(set(identifiers)) == len(identifiers)
    for attribute, value in page.attributes:
        if attribute in ("for", "aria-labelledby"):
            assert value in identifiers


def test_html_policy_covers_the_style_sheet() -> None:
    import base64
    import hashlib

    text = render_report(empty(), Format.HTML).decode()
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text


def test_html_is_accessible() -> None:
    page = Tags(render_report(company(), Format.HTML).decode())
    assert page.tags.count("h1") == 1
    assert page.tags.count("table") == page.tags.count("caption")
    assert ("scope", "col") in page.attributes
    assert ("scope", "row") in page.attributes
    assert page.tags.count("input") == 2


def test_html_holds_both_languages() -> None:
    text = render_report(company(), Format.HTML).decode()
    assert "6 of 8 required endpoints are blocked." in text
    assert "必須の接続先 8 件のうち 6 件が遮断されています。" in text


@pytest.mark.parametrize("kind", [kind for kind in Format if kind is not Format.XLSX])
def test_no_escape_sequence_gets_out(kind: Format) -> None:
    data = render_report(company(), kind)
    assert b"\x1b" not in data
    assert b"\x07" not in data
    if kind is not Format.JSON:
        assert "\u202e" not in data.decode()
    else:
        # In JSON escape sequences are data, written as \u001b.
        assert b"\\u001b" in data


@pytest.mark.parametrize("kind", Format)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(report=reports())
def test_every_report_can_be_written(kind: Format, report: Report) -> None:
    for lang in Lang:
        data = render_report(report, kind, lang)
        if kind is Format.XLSX:
            sheets(data).close()
        else:
            data.decode()
            if kind is Format.JUNIT:
                ElementTree.fromstring(data)
            if kind is Format.HTML:
                assert not Tags(data.decode()).open


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.json", Format.JSON),
        ("/x.d/A.HTML", Format.HTML),
        ("r.xml", Format.JUNIT),
        ("r.md", Format.MARKDOWN),
        ("r.xlsx", Format.XLSX),
        ("r", None),
        ("-", None),
        ("r.pdf", None),
        ("dir.json/report", None),
    ],
)
def test_the_format_by_its_name(path: str, kind: Format | None) -> None:
    assert format_of(path) is kind
