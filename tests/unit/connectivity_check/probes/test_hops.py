"""The order of the hop walk, against simulated routers."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Mapping

import pytest

from connectivity_check.failure import Seen
from connectivity_check.model import Observation
from connectivity_check.probes import hops
from connectivity_check.probes.error_queue import IcmpError
from connectivity_check.probes.syn import SynAnswer, SynOptions

TARGET = "192.0.2.9"
SILENCE = SynAnswer(0.0, errno.ETIMEDOUT)
RESET = SynAnswer(0.01, errno.ECONNREFUSED)


class _Clock:
    def now(self) -> float:
        return time.monotonic()

    def utc(self) -> float:
        return 0.0


def router(n: int, kind: int = 11, code: int = 0, address: str = "") -> SynAnswer:
    return SynAnswer(0.01, errno.EHOSTUNREACH, icmp=IcmpError(address or f"10.0.0.{n}", kind, code, 4))


def walk(
    monkeypatch: pytest.MonkeyPatch,
    path: Mapping[int, SynAnswer],
    beyond: SynAnswer = SILENCE,
    *,
    delay_s: float = 0.0,
    slow_ttl: int = 0,
    budget_s: float = 5.0,
) -> tuple[Observation, list[int]]:
    sent: list[int] = []

    async def send_syn(
        address: str, port: int, *, clock: object, budget_s: float, options: SynOptions
    ) -> SynAnswer:
        assert options.ttl is not None
        sent.append(options.ttl)
        answer = path.get(options.ttl, beyond)
        await asyncio.sleep(0.2 if options.ttl == slow_ttl else delay_s)
        return answer

    monkeypatch.setattr(hops, "send_syn", send_syn)
    walked = hops.walk(TARGET, 443, clock=_Clock(), budget_s=budget_s, max_hops=16, source=None)
    return asyncio.run(walked), sent


def test_nothing_behind_the_target_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    observation, sent = walk(monkeypatch, {1: router(1)}, RESET)
    assert max(sent) <= 4
    assert (observation.evidence["reached_ttl"], observation.evidence["max_ttl"]) == (2, 2)


def test_what_was_asked_already_behind_the_target_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    observation, sent = walk(monkeypatch, {1: router(1), 2: router(2)}, RESET, delay_s=0.01, slow_ttl=3)
    assert max(sent) > 4
    assert (observation.evidence["reached_ttl"], observation.evidence["max_ttl"]) == (3, 3)
    assert observation.evidence["last_hop"] == "10.0.0.2"


def test_silence_is_asked_twice_and_an_answer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, sent = walk(monkeypatch, {1: router(1), 3: router(3)})
    assert {ttl: sent.count(ttl) for ttl in (1, 2, 3, 4, 16)} == {1: 1, 2: 2, 3: 1, 4: 2, 16: 2}


def test_a_silent_hop_in_the_middle_leaves_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    observation, _ = walk(monkeypatch, {1: router(1), 3: router(3)})
    found = observation.evidence["hops"]
    assert isinstance(found, list)
    assert [hop["ttl"] for hop in found] == [1, 3]
    assert (observation.evidence["last_hop"], observation.evidence["last_ttl"]) == ("10.0.0.3", 3)
    assert observation.evidence["reached"] is False
    assert observation.evidence["max_ttl"] == 16


def test_a_router_that_rejects_ends_the_walk_unreached(monkeypatch: pytest.MonkeyPatch) -> None:
    observation, _ = walk(monkeypatch, {1: router(1)}, router(2, kind=3, code=13))
    found = observation.evidence["hops"]
    assert isinstance(found, list)
    assert [(hop["ttl"], hop["type"], hop["code"]) for hop in found] == [(1, 11, 0), (2, 3, 13)]
    assert observation.evidence["reached"] is False


def test_a_target_that_rejects_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    observation, _ = walk(monkeypatch, {1: router(1)}, router(0, kind=3, code=3, address=TARGET))
    assert (observation.evidence["reached"], observation.evidence["answer"]) == (True, "icmp")
    assert observation.evidence["last_hop"] == "10.0.0.1"


def test_no_route_is_not_a_silent_way(monkeypatch: pytest.MonkeyPatch) -> None:
    observation, sent = walk(monkeypatch, {}, SynAnswer(0.0, errno.ENETUNREACH, instant=True))
    assert observation.seen is Seen.NETWORK_UNREACHABLE
    assert max(sent) <= 3


def test_the_budget_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    observation, _ = walk(monkeypatch, {}, delay_s=0.05, budget_s=0.1)
    assert observation.seen is Seen.TIMEOUT
    assert observation.took_s < 0.5
