"""Windows that move, per client, address and account; a clock that the test moves."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import limits.storage.memory
import pytest

from api.problems import Problem
from api.services import limits as limits_of_ours
from api.services.limits import Limits
from api.settings import Settings

SETTINGS = Settings(calls_per_minute=5, calls_per_hour=12, logins_per_minute=3)


class Time:
    """The wall clock of the windows."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def time(self) -> float:
        return self.at


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    stand_in = SimpleNamespace(time=fake.time, monotonic=time.monotonic)
    for module in (limits.storage.memory, limits.strategies, limits_of_ours):
        monkeypatch.setattr(module, "time", stand_in)
    return fake


def wait_of(call: object, *args: object) -> int:
    """Retry-After, or 0 when the call passed."""
    try:
        call(*args)  # type: ignore[operator]
    except Problem as problem:
        return int(problem.headers["Retry-After"]) if problem.code == "TooManyRequests" else -1
    return 0


def test_a_minute_moves(now: Time) -> None:
    counter = Limits()
    for _ in range(4):
        assert wait_of(counter.call, SETTINGS, "a") == 0
    now.at += 40
    assert wait_of(counter.call, SETTINGS, "a") == 0
    assert wait_of(counter.call, SETTINGS, "a") == 20
    assert wait_of(counter.call, SETTINGS, "b") == 0
    now.at += 19.5
    assert wait_of(counter.call, SETTINGS, "a") == 1
    now.at += 1
    for _ in range(4):  # the fifth of the last minute was 20 s ago and still counts
        assert wait_of(counter.call, SETTINGS, "a") == 0
    assert wait_of(counter.call, SETTINGS, "a") == 40


def test_refused_calls_do_not_prolong_the_wait(now: Time) -> None:
    counter = Limits()
    for _ in range(5):
        counter.call(SETTINGS, "a")
    for _ in range(100):
        now.at += 0.5
        assert wait_of(counter.call, SETTINGS, "a") > 0
    now.at += 10.1
    assert wait_of(counter.call, SETTINGS, "a") == 0


def test_the_hour_is_longer(now: Time) -> None:
    counter = Limits()
    passed = 0
    for _ in range(12):
        passed += wait_of(counter.call, SETTINGS, "a") == 0
        now.at += 61
    assert passed == 12
    wait = wait_of(counter.call, SETTINGS, "a")
    assert 2800 < wait <= 3600
    now.at += wait
    now.at += 0.1
    assert wait_of(counter.call, SETTINGS, "a") == 0


def test_guesses_count_against_address_and_account(now: Time) -> None:
    counter = Limits()
    for number in range(3):
        assert wait_of(counter.refuse_guessing, SETTINGS, "192.0.2.1", f"n{number}") == 0
        counter.wrong_secret(SETTINGS, "192.0.2.1", f"n{number}")
    assert wait_of(counter.refuse_guessing, SETTINGS, "192.0.2.1", "n9") == 60
    assert wait_of(counter.refuse_guessing, SETTINGS, "192.0.2.2", "n0") == 0
    for number in range(15):
        counter.wrong_secret(SETTINGS, f"198.51.100.{number}", "Ann")
    assert wait_of(counter.refuse_guessing, SETTINGS, "203.0.113.1", "ANN") == 60
    now.at += 60.1
    assert wait_of(counter.refuse_guessing, SETTINGS, "192.0.2.1", "ann") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("testclient", "testclient", True),
        ("", "", True),
    ],
)
def test_who_is_one_address(now: Time, one: str, other: str, same: bool) -> None:
    counter = Limits()
    for _ in range(3):
        counter.wrong_secret(SETTINGS, one, "")
    assert (wait_of(counter.refuse_guessing, SETTINGS, other, "") > 0) is same


def test_names_made_up_by_a_caller_do_not_stay(now: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_of_ours, "SWEPT_ABOVE", 100)
    counter = Limits()
    for minute in range(20):
        for number in range(100):
            counter.wrong_secret(SETTINGS, f"10.{minute}.{number}.1", f"{minute} {number}")
        now.at += 61
        time.sleep(0.02)  # the storage empties windows in a thread of its own
    assert len(counter._storage.events) < 1500


def test_threads_share_one_limit(now: Time) -> None:
    counter = Limits()
    settings = Settings(calls_per_minute=50, calls_per_hour=10_000)
    passed: list[int] = []

    def hammer() -> None:
        passed.append(sum(wait_of(counter.call, settings, "a") == 0 for _ in range(40)))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(passed) == 50
