"""Text of `$filter` and `$orderby` to tokens, in one pass.

Every alternative of the pattern is deterministic, so the time is linear in the text's length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum

from api.core.odata_ast import ODataError, Value

MAX_LENGTH = 4096
"""Characters in one option."""
MAX_INTEGER = 2**63 - 1
"""What both databases can hold."""


class Kind(Enum):
    """What a token is."""

    NAME = "a name"
    LITERAL = "a value"
    OPEN = "("
    CLOSE = ")"
    COMMA = ","
    SLASH = "/"
    COLON = ":"
    END = "the end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text. `value` is that of a literal."""

    kind: Kind
    text: str
    position: int
    value: Value = None

    def __str__(self) -> str:
        return "the end" if self.kind is Kind.END else repr(self.text[:40])


# After a time, the offset may come as " 00:00": "+00:00" whose plus was read as a space, as URL queries are.
_INSTANT = (
    r"(?P<date>\d{4}-\d\d-\d\d)(?:[Tt](?P<time>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d{1,12}))?)?"
    r"(?P<offset>[Zz]|[+\-]\d\d:\d\d|(?(time)[ ]\d\d:\d\d|(?!)))?"
)
_QUOTED = r"'[^']*(?:''[^']*)*'"
# Before a quoted text: OData 2's dates and GUIDs, and the type of an enum, as in Api.Status'Pending'.
_TYPE = r"datetimeoffset|datetime|guid|(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*"
_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n]+)
    | (?P<typed>(?:{_TYPE})(?='))?(?P<quoted>{_QUOTED})
    | (?P<guid>[0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}})(?![\w\-])
    | (?P<instant>{_INSTANT})(?![\w\-+:.])
    | (?P<number>[+\-]?\d+(?:\.\d+)?(?:[eE][+\-]?\d+)?)(?![\w.])
    | (?P<name>[A-Za-z_]\w*)
    | (?P<mark>[(),/:])
    """,
    re.ASCII | re.VERBOSE,
)
_WHOLE_INSTANT = re.compile(_INSTANT, re.ASCII)
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}
_MARKS = {kind.value: kind for kind in (Kind.OPEN, Kind.CLOSE, Kind.COMMA, Kind.SLASH, Kind.COLON)}


def tokens(text: str, option: str = "$filter") -> list[Token]:
    """The text's tokens, the last one END. ODataError when it is too long or has what is no token."""
    if len(text) > MAX_LENGTH:
        raise ODataError(f"it is longer than {MAX_LENGTH} characters", MAX_LENGTH, option)
    found: list[Token] = []
    at = 0
    while at < len(text):
        piece = _TOKEN.match(text, at)
        if piece is None:
            raise ODataError(_why_not(text, at), at, option)
        if piece.lastgroup != "space":
            try:
                found.append(_token(piece))
            except ValueError as error:
                raise ODataError(str(error), at, option) from None
        at = piece.end()
    found.append(Token(Kind.END, "", len(text)))
    return found


def _why_not(text: str, at: int) -> str:
    if text[at] == "'":
        return "the text that begins here has no closing quote"
    return f"{text[at]!r} is not expected here"


def _token(piece: re.Match[str]) -> Token:
    text, at = piece.group(), piece.start()
    group = piece.lastgroup
    if group == "mark":
        return Token(_MARKS[text], text, at)
    if group == "name":
        if text.lower() in _WORDS:
            return Token(Kind.LITERAL, text, at, _WORDS[text.lower()])
        return Token(Kind.NAME, text, at)
    return Token(Kind.LITERAL, text, at, _READERS[str(group)](piece))


def _quoted(piece: re.Match[str]) -> Value:
    text = piece["quoted"][1:-1].replace("''", "'")
    # Neither database can hold these: PostgreSQL refuses NUL, and lone surrogates are no UTF-8.
    if any(each == "\0" or "\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("the text holds a character that no text can have")
    prefix = (piece["typed"] or "").lower()
    return parse_instant_literal(text) if prefix.startswith("datetime") else text


def _number(piece: re.Match[str]) -> Value:
    text = piece["number"]
    if len(text) > 40:
        raise ValueError("the number is too long")
    try:
        whole = int(text)
    except ValueError:
        fraction = float(text)
        if not math.isfinite(fraction) or abs(fraction) > MAX_INTEGER:
            raise ValueError("the number is too large") from None
        return fraction
    if abs(whole) > MAX_INTEGER:
        raise ValueError("the number is too large")
    return whole


def parse_instant_literal(text: str) -> datetime:
    """`2018-08-01`, `2018-08-01Z`, `2018-08-01T10:00:00.1234567+09:00` in UTC; without offset it is UTC.

    Digits beyond microseconds are dropped: nothing here is stored finer. ValueError when it is no instant.
    """
    parts = _WHOLE_INSTANT.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text[:40]!r} is no date such as 2024-05-31T12:00:00Z")
    try:
        at = datetime.fromisoformat(f"{parts['date']}T{parts['time'] or '00:00'}")
        at += timedelta(microseconds=int((parts["fraction"] or "")[:6].ljust(6, "0")))
        return at.replace(tzinfo=_zone(parts["offset"] or "Z")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:40]!r} is no date of the calendar") from None


def _zone(offset: str) -> timezone:
    if offset in "Zz":
        return UTC
    ahead = timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
    return timezone(-ahead if offset[0] == "-" else ahead)


_READERS: dict[str, Callable[[re.Match[str]], Value]] = {
    "quoted": _quoted,
    "guid": lambda piece: piece["guid"],
    "instant": lambda piece: parse_instant_literal(piece["instant"]),
    "number": _number,
}
