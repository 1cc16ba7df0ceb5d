"""Clock: the fake and the machine's."""

from __future__ import annotations

import re
import sys

import pytest

from isolator.adapters.clock import SystemClock
from isolator.ports import Clock
from tests.fakes.clock import FakeClock


@pytest.fixture(
    params=[
        "fake",
        pytest.param(
            "system", marks=pytest.mark.skipif(sys.platform != "linux", reason="no_boot_clock: Linux only")
        ),
    ]
)
def clock(request: pytest.FixtureRequest) -> Clock:
    return FakeClock() if request.param == "fake" else SystemClock()


def test_boot_time_does_not_go_back(clock: Clock) -> None:
    assert 0 < clock.boottime() <= clock.boottime()


def test_wall_time_is_rfc_3339_in_utc(clock: Clock) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", clock.utc_now())


def test_the_boot_has_one_id(clock: Clock) -> None:
    assert clock.boot_id() == clock.boot_id() != ""
