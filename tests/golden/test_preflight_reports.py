"""Reports as people and programs get them, reviewed like code. `make golden` writes the files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connectivity_check.render.formats import Format, render_report
from connectivity_check.render.screen import Screen
from connectivity_check.render.texts import Lang
from tests.golden.preflight_reports import REPORTS

DIRECTORY = Path(__file__).with_name("preflight")
FILES = {
    "company.json": ("company", Format.JSON, Lang.EN, Screen()),
    "company.csv": ("company", Format.CSV, Lang.EN, Screen()),
    "company.xml": ("company", Format.JUNIT, Lang.EN, Screen()),
    "company.html": ("company", Format.HTML, Lang.EN, Screen()),
    "company.md": ("company", Format.MARKDOWN, Lang.EN, Screen()),
    "company.ja.md": ("company", Format.MARKDOWN, Lang.JA, Screen()),
    "company.txt": ("company", Format.TABLE, Lang.EN, Screen(80)),
    "company.ja.txt": ("company", Format.TABLE, Lang.JA, Screen(80)),
    "company.narrow.txt": ("company", Format.TABLE, Lang.EN, Screen(44, ascii_only=True)),
    "company.nagios": ("company", Format.NAGIOS, Lang.EN, Screen()),
    "stopped.txt": ("stopped", Format.TABLE, Lang.EN, Screen(80)),
    "stopped.md": ("stopped", Format.MARKDOWN, Lang.EN, Screen()),
    "stopped.nagios": ("stopped", Format.NAGIOS, Lang.EN, Screen()),
    "compared.txt": ("compared", Format.TABLE, Lang.EN, Screen(80)),
    "compared.csv": ("compared", Format.CSV, Lang.EN, Screen()),
    "empty.txt": ("empty", Format.TABLE, Lang.EN, Screen(80)),
    "empty.json": ("empty", Format.JSON, Lang.EN, Screen()),
}


@pytest.mark.parametrize("name", FILES)
def test_text(name: str) -> None:
    report, kind, lang, screen = FILES[name]
    data = render_report(REPORTS[report], kind, lang, screen)
    path = DIRECTORY / name
    if os.environ.get("GOLDEN") == "write":
        DIRECTORY.mkdir(exist_ok=True)
        path.write_bytes(data)
    assert path.read_bytes() == data


def test_no_file_is_left_over() -> None:
    assert {path.name for path in DIRECTORY.iterdir()} == set(FILES)
