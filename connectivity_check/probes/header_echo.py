"""What became of our headers on the way, told by a helper of one's own that echoes them.

The helper answers JSON: {"headers": [["Name", "value"], ...]}, as it received them (the idea of OONI's tests
ts-006 and ts-007).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from connectivity_check.model import Json

MAX_REPORTED = 50
_MAX_TEXT = 300


def echoed(body: bytes) -> list[tuple[str, str]] | None:
    """Give the headers that a helper says it got; None when the body is not of that form."""
    try:
        data = json.loads(body)
        return [(_text(name), _text(value)) for name, value in data["headers"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def tampered(sent: Sequence[tuple[str, str]], got: Sequence[tuple[str, str]]) -> list[Json]:
    """Give every header that did not arrive as sent: changed in name case or value, missing, or added.

    "" stands for "not there". The order of different names does not count.
    """
    left = list(got)
    found: list[Json] = []
    for name, value in sent:
        arrived = next((item for item in left if item == (name, value)), None) or next(
            (item for item in left if item[0].lower() == name.lower()), None
        )
        if arrived is not None:
            left.remove(arrived)
        if arrived != (name, value):
            found.append(_entry(name, (name, value), arrived))
    found.extend(_entry(item[0], None, item) for item in left)
    return found[:MAX_REPORTED]


def _entry(header: str, sent: tuple[str, str] | None, got: tuple[str, str] | None) -> Json:
    return {"header": header[:_MAX_TEXT], "sent": _line(sent), "got": _line(got)}


def _line(item: tuple[str, str] | None) -> str:
    return f"{item[0]}: {item[1]}"[:_MAX_TEXT] if item else ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a header is text")
    return value
