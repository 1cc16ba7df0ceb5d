"""What is not as it was: a report held against an earlier one."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TypeAlias

from connectivity_check.model import Report, Row, RowChange

_Key: TypeAlias = tuple[str, str, int]


def changes(before: Report, after: Report) -> tuple[RowChange, ...]:
    """Give the rows whose outcome or cause differs, in the order of `after`, then those that are gone.

    Rows belong together by pattern, target host and port; letter case does not count. Where a key stands more
    than once, the first belongs to the first, and so on. The same cause on another step is no change.
    """
    known: dict[_Key, deque[Row]] = defaultdict(deque)
    for row in before.rows:
        known[_key(row)].append(row)
    found: list[RowChange] = []
    for row in after.rows:
        earlier = known[_key(row)]
        was = earlier.popleft() if earlier else None
        if was is None or _verdict(was) != _verdict(row):
            found.append(_change(row, was, row))
    gone = {id(row) for rows in known.values() for row in rows}
    found += [_change(row, row, None) for row in before.rows if id(row) in gone]
    return tuple(found)


def _key(row: Row) -> _Key:
    target = row.target
    return target.pattern.lower(), (target.host or "").lower(), target.port


def _verdict(row: Row | None) -> tuple[str, str]:
    """Outcome and code as texts; both "" for a row that is not there."""
    if row is None:
        return "", ""
    return row.outcome.value, row.failure.value if row.failure else ""


def _change(shown: Row, was: Row | None, now: Row | None) -> RowChange:
    (before, before_failure), (after, after_failure) = _verdict(was), _verdict(now)
    target = shown.target
    return RowChange(
        target.n,
        target.pattern,
        target.host or "",
        target.port,
        before,
        after,
        before_failure,
        after_failure,
    )
