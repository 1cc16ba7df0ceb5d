"""A name with many addresses: what is said of some is not said of all."""

from __future__ import annotations

import pytest

from connectivity_check.failure import Failure, Seen
from tests.unit.connectivity_check.core.cases import ADDRESS, WELL, Example, check, connected

NEXT = "20.0.0.2"


@pytest.mark.parametrize(
    ("count", "said"), [(56, "56 more addresses of the name were not tried"), (None, ""), ("56", ""), (0, "")]
)
def test_how_many_were_not_tried(count: object, said: str) -> None:
    """A recorded file may hold anything in its place."""
    tries = (connected(ADDRESS, left_out=count), connected(NEXT, seen=Seen.TIMEOUT, left_out=count))
    row = check(Example("", (WELL[0], *tries, *WELL[2:]), Failure.META_FLAKY))
    assert row.finding is not None
    assert row.finding.reasons[1:] == ((said,) if said else ())
