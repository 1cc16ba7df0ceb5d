"""Instants as the API writes and reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.instant import parse_instant, render_instant


def test_render() -> None:
    assert render_instant(None) is None
    assert render_instant(datetime(2026, 3, 1, 12, 0, 0, 5, UTC)) == "2026-03-01T12:00:00.000005Z"
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    assert render_instant(datetime(2026, 3, 1, 2, 0, tzinfo=kathmandu)) == "2026-02-28T20:15:00.000000Z"


@pytest.mark.parametrize(
    "text", ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01 12:00:00.000+00:00"]
)
def test_parse(text: str) -> None:
    assert parse_instant(text) == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-03-01T12:00:00",
        "2026-03-01",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_instant(text)


OFFSETS = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=OFFSETS))
def test_there_and_back(at: datetime) -> None:
    text = render_instant(at)
    assert text is not None
    assert parse_instant(text) == at
