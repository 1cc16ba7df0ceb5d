from __future__ import annotations

from collections.abc import Callable

import pytest

from allowlists import document
from allowlists.fields import Fields
from allowlists.model import ListError

KNOWN = ("a", "b")


def fields(text: str) -> Fields:
    return Fields(document.read(text, "f.yaml"), "f.yaml", "the thing", KNOWN)


def test_text_and_lists() -> None:
    assert fields("a: x").text("a") == "x"
    assert fields("a: NO").text("a") == "NO"  # YAML 1.1 reads false
    assert fields("a: 2024-12").text("a") == "2024-12"
    assert fields("a: |\n  x\n   y\n").text("a") == "x y"
    assert fields("a:").text("a", "none") == "none"
    assert fields("b: x").text("a", "none") == "none"
    assert fields("a: [x, y]").texts("a") == ("x", "y")
    assert fields("a: x").texts("a") == ("x",)
    assert fields("a:").texts("a") == ()
    assert fields("a: [1, 2]").wholes("a") == (1, 2)
    assert fields("a:").has("a")
    assert not fields("a:").has("b")


def test_flags_and_numbers() -> None:
    assert fields("a: true").flag("a", False) is True
    assert fields("b: true").flag("a", False) is False
    assert fields("a:").optional_flag("a", True) is None
    assert fields("b: x").optional_flag("a", True) is True
    assert fields("a: false").optional_flag("a", True) is False
    assert fields("a: 443").whole("a", 1) == 443
    assert fields("a:").whole("a", 1) == 1
    assert fields("a: x").one_of("a", ("x", "y"), "y") == "x"
    assert fields("b: x").one_of("a", ("x", "y"), "y") == "y"


def test_dates() -> None:
    assert fields("a: 2024-12-31").day("a") == "2024-12-31"
    assert fields("a: 2024-12").day("a", month_is_enough=True) == "2024-12"
    assert fields("b: x").day("a") == ""


@pytest.mark.parametrize(
    ("text", "read", "reason"),
    [
        ("- x", lambda f: f, "must be a mapping"),
        ("x", lambda f: f, "must be a mapping"),
        ("a: 1\nc: 2", lambda f: f, "the unknown key 'c'"),
        ("a: [x]", lambda f: f.text("a"), "must be text"),
        ("a: [[x]]", lambda f: f.texts("a"), "must be text"),
        ("a: [~]", lambda f: f.texts("a"), "must be text"),
        ("a: {b: x}", lambda f: f.texts("a"), "must be a list"),
        ('a: "\\e[31m"', lambda f: f.text("a"), "cannot be shown"),
        ('a: "x\\u202ey"', lambda f: f.text("a"), "cannot be shown"),
        ('a: "x\\ty"', lambda f: f.text("a"), "cannot be shown"),
        ("a: 'true'", lambda f: f.flag("a", True), "true or false"),
        ("a: yes", lambda f: f.flag("a", True), "true or false"),
        ("a: [true]", lambda f: f.flag("a", True), "true or false"),
        ("a:", lambda f: f.flag("a", True), "true or false"),
        ("a: '443'", lambda f: f.whole("a", 1), "whole number"),
        ("a: 010", lambda f: f.whole("a", 1), "whole number"),
        ("a: 0x50", lambda f: f.whole("a", 1), "whole number"),
        ("a: 1_000", lambda f: f.whole("a", 1), "whole number"),
        ("a: -1", lambda f: f.whole("a", 1), "whole number"),
        ("a: 4.0", lambda f: f.whole("a", 1), "whole number"),
        ("a: 7:23", lambda f: f.whole("a", 1), "whole number"),
        ("a: ٤٤٣", lambda f: f.whole("a", 1), "whole number"),
        ("a: " + "9" * 5000, lambda f: f.whole("a", 1), "whole number"),
        ("a: [x]", lambda f: f.wholes("a"), "whole number"),
        ("a: [[1]]", lambda f: f.wholes("a"), "whole number"),
        ("a: 2024-13", lambda f: f.day("a", month_is_enough=True), "YYYY-MM or YYYY-MM-DD"),
        ("a: 2024-12", lambda f: f.day("a"), "date like YYYY-MM-DD"),
        ("a: 2024-02-30", lambda f: f.day("a"), "date like YYYY-MM-DD"),
        ("a: z", lambda f: f.one_of("a", ("x", "y"), "y"), "is 'z'; known are x, y"),
    ],
)
def test_what_is_refused(text: str, read: Callable[[Fields], object], reason: str) -> None:
    with pytest.raises(ListError, match=reason) as caught:
        read(fields(text))
    assert caught.value.file == "f.yaml"
    assert caught.value.line is not None


def test_errors_point_at_the_value() -> None:
    with pytest.raises(ListError) as caught:
        fields("a: 1\nb:\n- x\n- [y]\n").texts("b")
    assert caught.value.line == 4
