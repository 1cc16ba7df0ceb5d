"""Every code has its words, in both languages."""

from __future__ import annotations

import re

import pytest

from connectivity_check.failure import Failure
from connectivity_check.render.code_names import CODE_TEXTS
from connectivity_check.render.rules import NO_REQUEST, REQUESTS

JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


def test_complete() -> None:
    assert set(CODE_TEXTS) == set(Failure)


@pytest.mark.parametrize("failure", Failure)
def test_words(failure: Failure) -> None:
    text = CODE_TEXTS[failure]
    assert text.title.en.isascii()
    assert len(text.title.en) <= 40
    assert text.meaning.en.isascii()
    assert text.meaning.en.endswith(".")
    for japanese in (text.meaning.ja, text.todo_ja):
        assert JAPANESE.search(japanese)
        assert japanese.endswith("。")
    assert JAPANESE.search(text.title.ja)


def test_no_two_codes_have_one_title() -> None:
    for language in ("en", "ja"):
        titles = [getattr(text.title, language) for text in CODE_TEXTS.values()]
        assert len(set(titles)) == len(titles)


def test_every_code_asks_for_something_or_is_known_to_ask_for_nothing() -> None:
    assert set(REQUESTS) | NO_REQUEST == set(Failure)
    assert not set(REQUESTS) & NO_REQUEST
