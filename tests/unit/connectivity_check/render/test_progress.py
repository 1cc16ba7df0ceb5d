"""The bar: on terminals only, and gone afterwards."""

from __future__ import annotations

import io
import threading

import pytest

from connectivity_check.render.progress import LiveProgress
from connectivity_check.render.texts import Lang
from tests.golden.preflight_reports import company_rows


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_nothing_at_all_elsewhere() -> None:
    stream = io.StringIO()
    progress = LiveProgress(2, stream)
    assert not progress.shown
    progress.on_row(company_rows()[0])
    progress.done()
    assert stream.getvalue() == ""


def test_nothing_for_no_rows() -> None:
    stream = Terminal()
    LiveProgress(0, stream).done()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("lang", Lang)
def test_counts_on_a_terminal(lang: Lang, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    rows = company_rows()
    before = threading.active_count()
    progress = LiveProgress(len(rows), stream, lang)
    assert progress.shown
    for row in (*rows, *rows):  # more than promised
        progress.on_row(row)
    progress.done()
    progress.done()
    for thread in threading.enumerate()[before:]:
        thread.join(5)  # it has been told to end
    assert threading.active_count() == before
    text = stream.getvalue()
    assert ("blocked" if lang is Lang.EN else "遮断") in text
    # The cursor is shown again.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
