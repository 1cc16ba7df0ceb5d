"""What a run has seen so far: a row that fails is held against what has passed until that very moment."""

from __future__ import annotations

import random

import pytest

from connectivity_check.core.known import known
from connectivity_check.failure import Seen
from connectivity_check.model import Observation, Target
from connectivity_check.runner.ledger import FRESH_S, Ledger
from tests.unit.connectivity_check.core.cases import PROXIED, VIA, WELL, WELL_PROXIED, answered, target

ROWS = tuple(target(f"host-{n}.zone{n % 3}.example") for n in range(6))
WAYS = ("", VIA)
ENDS = (answered(Seen.TIMEOUT), answered(Seen.CONNECTION_RESET, via=VIA))


class Clock:
    """Stands still unless told otherwise."""

    at = 0.0

    def now(self) -> float:
        """Give the time of the run."""
        return self.at

    def utc(self) -> float:
        """Give the time of the world."""
        return self.at


def asked_afresh(ledger: Ledger, row: Target, via: str) -> object:
    """Give the control of all that stands in the ledger, without a memory."""
    return known(ledger.targets, ledger.rows).control_for(row, via)


@pytest.mark.parametrize("seed", range(20))
def test_after_every_observation_the_control_is_that_of_all_observations(seed: int) -> None:
    luck = random.Random(seed)
    ledger = Ledger(ROWS, Clock())
    for _ in range(60):
        index = luck.randrange(len(ROWS))
        row = ledger.rows[index]
        chain: tuple[Observation, ...] = luck.choice((WELL, WELL_PROXIED))
        ledger.note(row, chain[len(row)] if len(row) < len(chain) else luck.choice(ENDS))
        for asking in ROWS:
            for via in WAYS:
                assert ledger.control_for(asking, via) == asked_afresh(ledger, asking, via)


def test_a_row_that_fails_after_all_is_no_control_any_more() -> None:
    ledger = Ledger(ROWS, Clock())
    for each in WELL[:3]:
        ledger.note(ledger.rows[0], each)
    control = ledger.control_for(ROWS[1])
    assert control is not None
    assert control.host == ROWS[0].host
    ledger.note(ledger.rows[0], answered(Seen.TIMEOUT))
    assert ledger.control_for(ROWS[1]) is None


def test_another_way_of_a_row_leaves_its_pass_as_it_is() -> None:
    ledger = Ledger((PROXIED, ROWS[1]), Clock())
    for each in WELL_PROXIED:
        ledger.note(ledger.rows[0], each)
    before = ledger.control_for(ROWS[1], VIA)
    assert before is not None
    ledger.set_route(0, ROWS[1].route)
    assert ledger.control_for(ROWS[1], VIA) == before == asked_afresh(ledger, ROWS[1], VIA)


def test_what_is_known_of_all_rows_may_be_a_moment_old() -> None:
    clock = Clock()
    ledger = Ledger(ROWS, clock)
    assert not ledger.known().passes
    for each in WELL:
        ledger.note(ledger.rows[0], each)
    assert not ledger.known().passes
    clock.at += 2 * FRESH_S
    assert ledger.known().passes
