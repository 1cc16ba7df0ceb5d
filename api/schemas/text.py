"""Text that both databases can hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL, which is no character of a text")
    return text


StoredText = Annotated[str, AfterValidator(_storable)]
"""A text without NUL: PostgreSQL has no place for one."""
