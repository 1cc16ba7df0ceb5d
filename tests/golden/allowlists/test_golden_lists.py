"""What people read, kept as files and reviewed like code; ISOLATOR_UPDATE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from allowlists import cli, files, render
from allowlists.lint import lint

HERE = Path(__file__).parent


def isolation_reasons(name: str) -> str:
    """Give every row with its flag and reason: the decision a reviewer has to agree with."""
    each = files.load(name)
    rows = [*each.entries, *(change.entry for change in each.changes if change.entry not in each.entries)]
    return "".join(
        f"{render.isolation_text(row.isolation)} {row.n:>3} {row.pattern} {render.ports_text(row)}\n"
        f"         {row.isolation_reason}\n"
        for row in rows
    )


def lint_text(name: str) -> str:
    each = files.load(name)
    return "".join(render.finding_text(each, x) for x in lint(each, today=date(2026, 9, 30)))


WRITERS: dict[str, Callable[[], str]] = {
    **{f"reasons_{name}.txt": lambda name=name: isolation_reasons(name) for name in files.SHIPPED},  # type: ignore[misc]
    **{f"lint_{name}.txt": lambda name=name: lint_text(name) for name in files.SHIPPED},  # type: ignore[misc]
}

COMMANDS = {
    "show_isolation_us_linux.txt": "show --list standard --geo US --os linux --profile isolation",
    "show_streamlined.txt": "show --list streamlined",
    "show_collaboration.csv": "show --list collaboration --format csv",
    "show_streamlined_isolation.yaml": "show --list streamlined --profile isolation --geo US --format yaml",
    "match.txt": "match wdcp.microsoft.com:443 crl.microsoft.com:443 x.blob.core.windows.net 4.208.13.7 a.b",
    "match.json": "match fe3cr.delivery.mp.microsoft.com:443 20.26.63.225:443 --json",
    "diff_streamlined.txt": "diff streamlined@2024-12 streamlined@2026-09",
    "diff_standard.json": "diff standard@2024-12 standard@2026-09 --json",
}


def check(name: str, text: str) -> None:
    path = HERE / name
    if os.environ.get("ISOLATOR_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", WRITERS)
def test_texts(name: str) -> None:
    check(name, WRITERS[name]())


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(COMMANDS[name].split())
    captured = capsys.readouterr()
    assert captured.err == ""
    check(name, captured.out)


def test_no_golden_file_is_left_over() -> None:
    kept = {path.name for path in HERE.iterdir() if path.suffix not in (".py", "") and path.is_file()}
    assert kept == {*WRITERS, *COMMANDS}
