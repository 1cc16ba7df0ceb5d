"""When two computer names are the same name to a person."""

from __future__ import annotations

import unicodedata


def name_key(name: str) -> str:
    """What names that differ only in case, or in how an accent is written, have in common.

    Databases differ in what they take for case beyond ASCII, so this is judged here and stored.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
