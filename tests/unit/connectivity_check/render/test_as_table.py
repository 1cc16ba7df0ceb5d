"""The table on all kinds of terminals."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len

from connectivity_check.failure import Failure
from connectivity_check.model import Finding, Outcome, Row, Step
from connectivity_check.render.as_table import render_table
from connectivity_check.render.screen import Screen, screen_of
from connectivity_check.render.texts import Lang
from tests.golden.preflight_reports import company, compared, empty, report_of, stopped, target

COLOURS = re.compile("\x1b\\[[0-9;]*m")


@pytest.mark.parametrize("lang", Lang)
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("width", [20, 40, 71, 72, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int, ascii_only: bool, lang: Lang) -> None:
    for report in (company(), stopped(), compared(), empty()):
        text = render_table(report, Screen(width, ascii_only=ascii_only), lang)
        assert max(cell_len(line) for line in text.splitlines()) <= width
        assert not any(line.endswith(" ") for line in text.splitlines())


@pytest.mark.parametrize("lang", Lang)
@pytest.mark.parametrize("width", range(72, 130, 3))
def test_no_column_is_cut(width: int, lang: Lang) -> None:
    long_code = Finding(Failure.PROXY_UPSTREAM_UNREACHABLE, Step.PROXY_CONNECT, ())
    last = Row(
        target(99999, "unitedstates.cp.wd.example.com"), Outcome.BLOCKED, (), long_code, took_s=123.456
    )
    report = report_of(*company().rows, last, stopped().rows[1])
    table = render_table(report, Screen(width), lang).partition("\n\n")[0]
    assert table.count("5020") == 6
    assert "123456" in table
    assert "99999" in table
    joined = "".join(table.split())
    for row in company().rows:
        assert row.target.host is None or row.target.host[:12] in joined


def test_the_verdict_comes_last() -> None:
    assert render_table(company()).rstrip().endswith("6 of 8 required endpoints are blocked.")


def test_colours_are_ours_only() -> None:
    text = render_table(company(), Screen(colour=True))
    assert COLOURS.search(text)
    assert "\x1b" not in COLOURS.sub("", text)
    assert "\x1b" not in render_table(company(), Screen())


def test_ascii_terminals_get_ascii() -> None:
    text = render_table(company(), Screen(ascii_only=True), Lang.JA)
    assert text.isascii()
    assert "blocked" in text


def test_wide_and_right_to_left_names() -> None:
    rows = [
        Row(target(n, name), Outcome.REACHABLE)
        for n, name in enumerate(("例え.テスト", "مثال.إختبار", "e\u0301.example"))
    ]
    text = render_table(report_of(*rows), Screen(80))
    for row in rows:
        assert str(row.target.host) in text


def test_markup_of_the_table_library_is_text() -> None:
    text = render_table(report_of(Row(target(1, "[bold]a[/bold].example"), Outcome.REACHABLE)))
    assert "[bold]a[/bold].example" in text


def test_a_long_name_is_folded_not_cut() -> None:
    name = ".".join(["x" * 60] * 4)
    text = render_table(report_of(Row(target(1, name), Outcome.REACHABLE)), Screen(40))
    assert text.count("x") == 240


class _Stream(io.StringIO):
    def __init__(self, encoding: str | None, terminal: bool) -> None:
        super().__init__()
        self._encoding, self._terminal = encoding, terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding  # type: ignore[return-value]

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("encoding", "terminal", "no_colour", "dumb", "expected"),
    [
        ("utf-8", True, False, False, Screen(80, True, False)),
        ("UTF8", False, False, False, Screen(80, False, False)),
        ("utf-8", True, True, False, Screen(80, False, False)),
        ("utf-8", True, False, True, Screen(80, False, False)),
        ("cp932", True, False, False, Screen(80, True, True)),
        ("gb18030", True, False, False, Screen(80, True, True)),
        ("ascii", False, False, False, Screen(80, False, True)),
        ("no-such", False, False, False, Screen(80, False, True)),
        (None, False, False, False, Screen(80, False, True)),
    ],
)
def test_what_a_terminal_can(
    encoding: str | None, terminal: bool, no_colour: bool, dumb: bool, expected: Screen
) -> None:
    assert screen_of(_Stream(encoding, terminal), 80, no_colour=no_colour, dumb=dumb) == expected


def test_a_width_of_nothing_is_a_width() -> None:
    assert screen_of(_Stream("utf-8", True), 0).width == 20
