"""The portal's texts in English and Japanese, and which of them a person reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

LANGUAGES: Mapping[str, str] = {"en": "English", "ja": "日本語"}
"""Every language there is, by its tag, in its own name."""

DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Words:
    """All texts of one language."""

    language: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key with its {places} filled. KeyError when there is no such text: a defect.

        The result is plain text; templates escape it like any other value.
        """
        return self.texts[key].format(**values)

    def known(self, prefix: str, name: object, **values: Any) -> str:
        """The text of `prefix.name`; the bare name when this version has no word for it.

        For codes that come from outside (agents, newer services) and may be anything.
        """
        text = self.texts.get(f"{prefix}.{name}")
        return str(name) if text is None else text.format(**values)


@cache
def words_in(language: str) -> Words:
    """The texts of a language; those of the default for a language there is not."""
    chosen = language if language in LANGUAGES else DEFAULT_LANGUAGE
    source = resources.files("api.portal") / "words" / f"{chosen}.yaml"
    document: dict[str, str] = yaml.safe_load(source.read_text("utf-8"))
    return Words(chosen, document)


def choose_language(accepted: str, *, chosen: str = "") -> str:
    """The language of a person: what they chose, else the best of an Accept-Language header.

    RFC 9110, 12.5.4: `ja-JP;q=0.8, en`. Bad weights count as 0; nothing fits: the default.
    """
    if chosen in LANGUAGES:
        return chosen
    best, weight = DEFAULT_LANGUAGE, 0.0
    for part in accepted[:400].split(","):
        tag, _, parameters = part.strip().partition(";")
        base = tag.strip().lower().partition("-")[0]
        if base in LANGUAGES and (quality := _quality(parameters)) > weight:
            best, weight = base, quality
    return best


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if not name:
        return 1.0
    try:
        weight = float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
