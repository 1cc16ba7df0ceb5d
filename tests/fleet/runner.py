"""Runs simulated agents against a controller: poll, obey, acknowledge, report, come back."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature

from isolator.model.signed import Refused
from tests.fleet.agent import Agent, Disbelief
from tests.fleet.wire import Answer, Gone, Wire

BACKOFF_S = (0.5, 30.0)
"""The first and the longest wait after a refusal or silence; each wait is drawn at random below it."""
ANSWER_S = 20.0
"""What an answer may take beyond the wait that was asked for."""


@dataclass
class Tally:
    """What happened to the whole fleet."""

    counts: Counter[str] = field(default_factory=Counter)
    disbelieved: list[str] = field(default_factory=list)
    """Answers that a real agent would not have believed: there must be none."""


class Runner:
    """One agent's life, until it is cancelled."""

    __slots__ = ("_context", "_longest_pause_s", "_tally", "_url", "_wait_s", "agent", "rounds")

    def __init__(
        self,
        agent: Agent,
        url: str,
        tally: Tally,
        *,
        wait_s: float = 50.0,
        context: ssl.SSLContext | None = None,
        longest_pause_s: float = BACKOFF_S[1],
    ) -> None:
        self.agent = agent
        self.rounds = 0
        """Answers that were believed."""
        self._url = url
        self._tally = tally
        self._wait_s = wait_s
        self._context = context
        self._longest_pause_s = longest_pause_s

    async def live(self, *, start_within_s: float = 0.0) -> None:
        """Poll, obey and report for ever; after trouble, wait and try again."""
        await asyncio.sleep(random.uniform(0, start_within_s))
        wire = Wire(self._url, self._context)
        backoff_s = BACKOFF_S[0]
        try:
            while True:
                try:
                    pause_s = await self._round(wire)
                    backoff_s = BACKOFF_S[0]
                except (Gone, Refused, Disbelief, InvalidSignature, KeyError, ValueError) as error:
                    self._note(error)
                    pause_s = random.uniform(0, min(backoff_s, self._longest_pause_s))
                    backoff_s = min(2 * backoff_s, self._longest_pause_s)
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
        finally:
            wire.close()

    async def _round(self, wire: Wire) -> float:
        """One poll and, when it brings an order, acknowledge, obey and report. Gives the pause after it."""
        answer = await self._ask(wire, wait_s=self._wait_s * random.uniform(0.8, 1.0))
        order = self.agent.order_of(answer)
        if order is None:
            return min(float(answer["poll_after_s"]), self._longest_pause_s)
        try:
            await self._ask(wire, delivered=order["generation"])
        except Gone:  # obeyed all the same: the report will say that it was delivered
            self._tally.counts["gone"] += 1
        self.agent.obey(order)
        self._tally.counts["obeyed"] += 1
        return 0.0  # the next poll carries the report

    async def _ask(self, wire: Wire, *, wait_s: float = 0.0, delivered: int | None = None) -> dict[str, Any]:
        body = self.agent.check_in(wait_s=wait_s, delivered=delivered)
        answer = await wire.post("/agent/v1/checkin", body, wait_s + ANSWER_S)
        if answer.status != 200:
            self._refused(answer)
        document = self.agent.believe(answer.body)
        self.rounds += 1
        return document

    def _refused(self, answer: Answer) -> None:
        error = json.loads(answer.body)["error"]
        self._tally.counts[f"{answer.status} {error['code']}"] += 1
        if error["code"] == "Replay":
            self.agent.sequence = max(self.agent.sequence, int(error["sequence"]))
        raise Gone(error["code"])

    def _note(self, error: Exception) -> None:
        if isinstance(error, Gone):
            self._tally.counts["gone"] += 1
        else:
            self._tally.disbelieved.append(f"{self.agent.name}: {type(error).__name__} {error}")
