"""Instants as the API writes them: UTC with Z."""

from __future__ import annotations

from datetime import UTC, datetime


def render_instant(at: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds and Z, as existing clients parse it; None stays None."""
    if at is None:
        return None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_instant(text: str) -> datetime:
    """The instant a text names. ValueError when it names none, or has no offset."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is outside the calendar in UTC") from None
