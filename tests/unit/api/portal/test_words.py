"""Every text in every language, and every text the templates ask for."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from api.core.action_state import ActionEvent, ActionStatus
from api.core.roles import Role
from api.portal.words import LANGUAGES, choose_language, words_in
from api.problems import CODES
from connectivity_check.model import BlockerKind, Outcome

TEMPLATES = Path(__file__).resolve().parents[4] / "api/portal/templates"
ENGLISH = words_in("en").texts


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_a_language_has_every_text_with_the_same_places(language: str) -> None:
    texts = words_in(language).texts
    assert set(texts) == set(ENGLISH)
    assert all(isinstance(each, str) and each.strip() for each in texts.values())
    assert {key: places(each) for key, each in texts.items()} == {
        key: places(each) for key, each in ENGLISH.items()
    }


def test_japanese_is_japanese() -> None:
    own = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
    same = {key for key, text in words_in("ja").texts.items() if not own.search(text)}
    assert same == {"product", "fact.os", "fact.id"}


def test_the_templates_ask_for_no_text_there_is_not() -> None:
    asked: set[str] = set()
    for file in TEMPLATES.rglob("*.html"):
        asked |= set(re.findall(r"""\bt\(["']([A-Za-z0-9_.]+)["'][,)]""", file.read_text("utf-8")))
    assert len(asked) > 200
    assert asked - set(ENGLISH) == set()


def test_every_text_is_asked_for() -> None:
    source = "".join(each.read_text("utf-8") for each in TEMPLATES.rglob("*.html"))
    source += "".join(each.read_text("utf-8") for each in TEMPLATES.parent.glob("*.py"))
    quoted = set(re.findall(r"""["']([A-Za-z0-9_.]+)["']""", source))
    # Families are asked for by a prefix and a value: t("state." ~ each), t.known("problem", code).
    families = {each.rstrip(".") for each in quoted if each.endswith((".", "_"))}
    families |= set(re.findall(r"""known\(["']([a-z_]+)["']""", source)) | {"age", "took"}
    unasked = {
        key
        for key in ENGLISH
        if key not in quoted and not any(key.startswith((f"{each}.", each)) for each in families)
    }
    assert unasked == set()


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("problem", list(CODES)),
        ("role", [each.value for each in Role]),
        ("status", [each.value for each in ActionStatus]),
        ("event", ["ordered", *(each.value for each in ActionEvent)]),
        ("outcome", [each.value for each in Outcome]),
        ("blocker", [each.value for each in BlockerKind]),
        ("state", ["connected", "isolating", "isolated", "releasing", "unknown"]),
        ("safeguard", ["cap", "tag", "own_host"]),
    ],
)
def test_every_value_of_a_family_has_a_word(family: str, values: list[str]) -> None:
    assert [each for each in values if f"{family}.{each}" not in ENGLISH] == []


@pytest.mark.parametrize(
    ("accepted", "chosen", "expected"),
    [
        ("", "", "en"),
        ("ja", "", "ja"),
        ("ja-JP,en;q=0.5", "", "ja"),
        ("en;q=0.4, ja;q=0.9", "", "ja"),
        ("de, fr;q=0.9", "", "en"),
        ("de, ja;q=0.1", "", "ja"),
        ("ja;q=0, en;q=0.1", "", "en"),
        ("ja;q=x, en;q=0.1", "", "en"),
        ("ja;q=nan", "", "en"),
        ("," * 5000, "", "en"),
        ("en", "ja", "ja"),
        ("ja", "xx", "ja"),
        ("JA", "../../en", "ja"),
    ],
)
def test_the_best_language_is_chosen(accepted: str, chosen: str, expected: str) -> None:
    assert choose_language(accepted, chosen=chosen) == expected


def test_a_word_for_a_code_nobody_knows_is_the_code() -> None:
    assert words_in("ja").known("state", "on fire") == "on fire"
    assert words_in("xx").language == "en"
