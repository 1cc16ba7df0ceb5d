"""Names that a person takes for the same one."""

from __future__ import annotations

import pytest

from api.core.machine_name import name_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pc-1", "PC-1"),
        ("b\u00fcro", "B\u00dcRO"),
        ("b\u00fcro", "bu\u0308ro"),
        ("STRASSE", "stra\u00dfe"),
        ("\u0394\u03a3", "\u03b4\u03c2"),
    ],
)
def test_the_same_name(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("pc-1", "pc-2"), ("buro", "b\u00fcro"), ("pc-1", "pc-1 ")])
def test_another_name(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)
