"""NAME=value lines, in files and in units."""

from __future__ import annotations

import pytest

from connectivity_check.model import InputError
from connectivity_check.settings.unit_file import parse_environment_file, parse_unit


def test_environment_files() -> None:
    text = "# c\n\nexport A=1\nB='two words'\nC=\"x\" # c\nD=http://u:p#w@h:1\n; c\n"
    assert parse_environment_file(text, "x") == {
        "A": "1",
        "B": "two words",
        "C": "x",
        "D": "http://u:p#w@h:1",
    }
    with pytest.raises(InputError, match=r"^x:2: not of the form"):
        parse_environment_file("A=1\nnonsense", "x")
    with pytest.raises(InputError, match=r"^x:1: the quote"):
        parse_environment_file("A='1", "x")


def test_unit_lines() -> None:
    text = "[Service]\nEnvironment=A=1 \\\n  # c\n  B=2\nEnvironment=\nEnvironment=C=3\nEnvironmentFile=-/x\n"
    assert parse_unit(text, "x", "Environment") == ({"C": "3"}, ["/x"])
    with pytest.raises(InputError, match=r"^x:2: a quote"):
        parse_unit("\nEnvironment='A=1", "x", "Environment")
