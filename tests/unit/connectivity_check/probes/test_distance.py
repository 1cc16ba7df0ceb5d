"""The search for the TTL of an answer, against simulated hosts."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectivity_check.model import Observation
from connectivity_check.probes import distance
from connectivity_check.probes.distance import thresholds
from connectivity_check.probes.syn import SynAnswer, SynOptions


class _Clock:
    def now(self) -> float:
        return 0.0

    def utc(self) -> float:
        return 0.0


def measured(monkeypatch: pytest.MonkeyPatch, ttl: int, lost: Callable[[], bool]) -> Observation:
    async def send_syn(
        address: str, port: int, *, clock: object, budget_s: float, options: SynOptions
    ) -> SynAnswer:
        if lost() or ttl < (options.min_ttl or 0):
            return SynAnswer(budget_s, errno.ETIMEDOUT)
        return SynAnswer(0.01, errno.ECONNREFUSED, syns=1)

    with monkeypatch.context() as patched:
        patched.setattr(distance, "send_syn", send_syn)
        return asyncio.run(distance.measure("192.0.2.1", 443, clock=_Clock(), budget_s=5, source=None))


def test_every_ttl_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for ttl in range(1, 256):
        observation = measured(monkeypatch, ttl, lambda: False)
        assert observation.evidence["ttl"] == ttl
        tries = observation.evidence["tries"]
        assert isinstance(tries, int)
        assert tries <= 22


def test_likely_ttls_take_few_syns(monkeypatch: pytest.MonkeyPatch) -> None:
    for ttl in (*range(33, 65), *range(97, 129), *range(224, 256)):
        tries = measured(monkeypatch, ttl, lambda: False).evidence["tries"]
        assert isinstance(tries, int)
        assert tries <= 18


def test_losses_seldom_give_a_wrong_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong one takes the loss of the same SYN three times: rare even at a loss of 10%."""
    dice = random.Random(7)
    found = [measured(monkeypatch, 57, lambda: dice.random() < 0.1).evidence.get("ttl") for _ in range(300)]
    wrong = [ttl for ttl in found if ttl not in (57, None)]
    assert len(wrong) <= 2
    assert all(isinstance(ttl, int) and ttl < 57 for ttl in wrong)  # an answer is proof: never too near
    assert found.count(57) > 150


@given(st.integers(1, 255), st.integers(1, 255), st.integers(1, 8))
def test_thresholds_split_what_is_left(low: int, high: int, most: int) -> None:
    split = thresholds(low, high, most)
    assert len(split) <= most
    assert list(split) == sorted(set(split))
    assert all(low < minimum <= high for minimum in split)
    assert bool(split) == (low < high)
