"""What a code says to people; the tables are `codes_of_the_way` and `codes_of_the_service`."""

from __future__ import annotations

from dataclasses import dataclass

from connectivity_check.render.texts import Text


@dataclass(frozen=True, slots=True)
class CodeText:
    """A code in words: a short title, a sentence for a manager, and what to change in general.

    The English hint with names filled in comes with the finding; `todo_ja` is its general form, so that the
    Japanese view is complete.
    """

    title: Text
    meaning: Text
    todo_ja: str


def code_text(title: str, title_ja: str, meaning: str, meaning_ja: str, todo_ja: str) -> CodeText:
    """Give the words of one code, in the order of a table's lines."""
    return CodeText(Text(title, title_ja), Text(meaning, meaning_ja), todo_ja)
