"""Texts of strangers: what each format may never let through."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.render.safe_text import (
    LONGEST_CELL,
    ascii_text,
    cell_text,
    csv_text,
    html_text,
    markdown_code,
    markdown_text,
    plain,
)

ANY = st.text(
    st.characters(codec=None) | st.sampled_from("\x1b\x9b\x00\x07\r\n\t=+-@|`<>&'\"\u202e\ud800\uffff")
)
SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Corp ブロック", "Corp ブロック"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1;2|payload\x1b\\x", "x"),
        ("\x9b2Jx", "x"),
        ("\x1b(0lq\x1b(B", "lq"),
        ("\x1bc reset", " reset"),
        ("half \x1b", "half "),
        ("half \x1b[", "half "),
        ("a\r\nb\tc\u2028d", "a b c d"),
        ("\u202egnp.exe", "gnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("nul\x00del\x7f", "nuldel"),
        ("\ud800 \ufffe", "\ufffd \ufffd"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("مرحبا", "مرحبا"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(ANY)
def test_plain_leaves_no_control(text: str) -> None:
    shown = plain(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\uffff]", shown)
    shown.encode()


@given(ANY)
def test_ascii_is_ascii_and_printable(text: str) -> None:
    assert ascii_text(text).isascii()
    assert ascii_text(text).isprintable()


@given(ANY)
def test_html_has_no_markup_and_reads_back(text: str) -> None:
    shown = html_text(text)
    assert not set(shown) & set("<>\"'")
    assert html.unescape(shown) == plain(text) or "&" in plain(text)


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("before", ["", " ", "\t", "\r", "\n", '"', " \u3000", "\ufeff"])
def test_no_cell_begins_a_formula(sign: str, before: str) -> None:
    shown = cell_text(f"{before}{sign}cmd|' /C calc'!A0")
    assert shown.startswith("'")
    assert cell_text(shown) == shown


@pytest.mark.parametrize("text", ["*.wd.example.com", "a=b", "192.0.2.1", "", "'quoted'", "-"[:0]])
def test_innocent_cells_stay(text: str) -> None:
    assert cell_text(text) == text


@given(ANY)
def test_cells_hold_no_formula_whatever_comes(text: str) -> None:
    shown = cell_text(text)
    assert not shown.strip().startswith(tuple(SIGNS))
    assert len(shown) <= LONGEST_CELL


@given(ANY, st.sampled_from(";,|\t"))
def test_csv_split_at_another_sign_holds_no_formula_either(text: str, separator: str) -> None:
    for part in csv_text(f"x{separator}{text}").split(separator):
        assert not part.strip().strip('"').strip().startswith(tuple(SIGNS))


def test_a_cell_is_cut_at_what_a_spreadsheet_holds() -> None:
    assert len(cell_text("x" * 40_000)) == LONGEST_CELL


@given(ANY)
def test_markdown_has_no_markup(text: str) -> None:
    shown = markdown_text(text)
    assert not set(shown) & set("<>@\n\r")
    # What is left when escaped signs and entities are gone is words.
    bare = re.sub(r"\\[^a-zA-Z0-9\s]|&(?:amp|lt|gt|#64|#58|#46);", "", shown)
    assert not set(bare) & set("\\`*_{}[]#|~!&")


@pytest.mark.parametrize(
    "text",
    [
        "http://evil",
        "HTTPS://evil",
        "x ftp://evil",
        "mailto:a@evil",
        "www.evil",
        "(www.evil",
        "<https://evil>",
    ],
)
def test_markdown_links_nowhere(text: str) -> None:
    assert not re.search(r"(?:https?|ftp|mailto):|www\.", markdown_text(text), re.I)


@pytest.mark.parametrize("text", ["a`b", "a|b", "a\\|b", "``", "`", "a\\", " ", ""])
def test_markdown_code_stays_in_its_cell(text: str) -> None:
    shown = markdown_code(text)
    assert shown.count("`") in (0, 2)
    assert not re.search(r"(?<!\\)\|", shown)


def test_long_hostile_texts_take_no_time() -> None:
    for text in (
        "\x1b" * 100_000,
        "\x1b]" * 50_000,
        "\x9b0" * 50_000,
        ";" * 100_000,
        "; " * 50_000,
        "'" * 100_000,
    ):
        csv_text(text)
        markdown_text(text)
