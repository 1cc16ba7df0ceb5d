"""Fields of a signed document, judged one by one: a wrong type is a refusal and never another error.

A signature says who wrote a document, not that it makes sense.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from isolator.model.remote_order import MAX_GENERATION
from isolator.model.signed import Refusal, Refused

KEY_LENGTH = 32
"""Bytes of a raw Ed25519 public key (RFC 8032 section 5.1.5)."""

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_YEARS = range(2000, 2200)
"""Outside of these a sum with a duration could leave what `datetime` holds."""


def malformed(sentence: str) -> Refused:
    """The refusal of a document that makes no sense."""
    return Refused(Refusal.MALFORMED, sentence)


def text(document: Mapping[str, Any], name: str, longest: int = 200) -> str:
    """A text of at most `longest` characters that can be written anywhere (no half characters)."""
    value = document.get(name)
    if not isinstance(value, str):
        raise malformed(f"{name} is no text")
    if len(value) > longest:
        raise malformed(f"{name} has more than {longest} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise malformed(f"{name} holds half of a character") from None
    return value


def optional_text(document: Mapping[str, Any], name: str, longest: int = 200) -> str | None:
    """A text, None when it is absent or null."""
    return None if document.get(name) is None else text(document, name, longest)


def whole(document: Mapping[str, Any], name: str, least: int = 0, most: int = MAX_GENERATION) -> int:
    """A whole number within bounds; true and 1.0 are none."""
    value = document.get(name)
    if type(value) is not int or not least <= value <= most:
        raise malformed(f"{name} is no whole number from {least} to {most}")
    return value


def seconds(document: Mapping[str, Any], name: str, longest: float) -> float:
    """A number of seconds, 0 to `longest`; NaN is none."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= longest:
        raise malformed(f"{name} is no number of seconds from 0 to {longest:g}")
    return float(value)


def instant(document: Mapping[str, Any], name: str) -> datetime:
    """An RFC 3339 instant of this age, in UTC."""
    value = document.get(name)
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise malformed(f"{name} is no instant such as 2024-05-01T12:00:00Z")
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise malformed(f"{name} is no instant: there is no such day or time") from None
    if at.year not in _YEARS:
        raise malformed(f"{name} is in the year {at.year}")
    return at.astimezone(UTC)


def objects(document: Mapping[str, Any], name: str, most: int) -> Sequence[Mapping[str, Any]]:
    """A list of at most `most` objects."""
    value = document.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise malformed(f"{name} is no list of at most {most}")
    if not all(isinstance(each, dict) for each in value):
        raise malformed(f"{name} holds something that is no object")
    return value


def matching(document: Mapping[str, Any], name: str, form: re.Pattern[str], most: int) -> tuple[str, ...]:
    """A list of at most `most` texts that have the form."""
    value = document.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise malformed(f"{name} is no list of at most {most}")
    if not all(isinstance(each, str) and form.fullmatch(each) for each in value):
        raise malformed(f"{name} holds something of another form than {form.pattern}")
    return tuple(value)


def public_key(document: Mapping[str, Any], name: str) -> bytes:
    """A raw Ed25519 public key in base64url, with or without padding."""
    value = text(document, name, 64).rstrip("=")
    try:
        key = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise malformed(f"{name} is no base64url") from None
    if len(key) != KEY_LENGTH:
        raise malformed(f"{name} has {len(key)} bytes, a key has {KEY_LENGTH}")
    return key
