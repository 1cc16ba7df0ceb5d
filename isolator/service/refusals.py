"""Which names were refused lately, for whoever asks why something does not work."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from isolator.model.event import Refusal
from isolator.model.flow import Destination
from isolator.model.verdict import Reason
from isolator.ports import Clock
from isolator.service.destination import Asked

LOG = logging.getLogger(__name__)

MAX_REFUSALS = 50
"""Distinct ones that are remembered."""

MAX_NAME = 100
"""Characters of a name that are kept. Its end is: there is whose name it is, in front may be whose data."""

_CUT = "..."

_NO_REFUSAL = frozenset({Reason.DNS_TYPE_WITHHELD, Reason.FLOW_CLOSED})
"""Answers that take nothing from anybody: clients ask for the addresses too; a client gave up by itself."""


class Refused(Protocol):
    """What is read of a judgement (`Decision` and `FlowRuling` have it)."""

    @property
    def reason(self) -> Reason:
        """Why."""
        ...

    @property
    def entry(self) -> str | None:
        """The entry that the name fits."""
        ...

    @property
    def said(self) -> str | None:
        """What was named, as it was read."""
        ...


class Refusals:
    """The latest refusals of one isolation, the same ones counted together. Bounded whatever is asked for.

    When there are too many, the oldest of the reason that has most of them goes: names made up for a resolver
    cannot push out what a TLS client was refused. Not thread-safe: its owner holds the lock of the gate.
    """

    def __init__(self, clock: Clock, most: int = MAX_REFUSALS) -> None:
        self._clock = clock
        self._most = most
        self._found: OrderedDict[tuple[Reason, str | None, Destination], Refusal] = OrderedDict()
        self._kinds: Counter[Reason] = Counter()
        self._total: Counter[Reason] = Counter()
        self._distinct: Counter[Reason] = Counter()
        self.forgotten = 0
        """How many had to make room for others in this isolation."""

    def clear(self) -> None:
        """Another isolation begins, or this one has ended."""
        for held in (self._found, self._kinds, self._total, self._distinct):
            held.clear()
        self.forgotten = 0

    def note(self, refused: Refused, destination: Destination) -> None:
        """Take notice of a refusal. Logged ever more rarely for each reason: the log must not fill up."""
        reason = refused.reason
        if reason in _NO_REFUSAL:
            return
        now = self._clock.utc_now()
        name = shown_name(refused.said)
        key = (reason, name, destination)
        known = self._found.get(key)
        if known is None:
            known = Refusal(reason, name, destination, refused.entry, 0, now, now)
            self._kinds[reason] += 1
            self._distinct[reason] += 1
        found = self._found[key] = replace(known, entry=refused.entry, count=known.count + 1, last_at=now)
        self._found.move_to_end(key)
        if len(self._found) > self._most:
            self._make_room()
        self._total[reason] += 1
        if _is_rare(self._total[reason]) or (found.count == 1 and _is_rare(self._distinct[reason])):
            self._tell(found)

    def latest(self) -> tuple[Refusal, ...]:
        """Give what is remembered, the one that was met last at the beginning."""
        return tuple(reversed(self._found.values()))

    def _make_room(self) -> None:
        crowd = max(self._kinds, key=self._kinds.__getitem__)
        del self._found[next(key for key in self._found if key[0] is crowd)]
        self._kinds[crowd] -= 1
        self.forgotten += 1

    def _tell(self, found: Refusal) -> None:
        LOG.info(
            "refused %s: %s to %s, %d so far; for this reason %d, %d of them distinct",
            found.reason.value, found.name or "-", found.destination, found.count,
            self._total[found.reason], self._distinct[found.reason],
        )  # fmt: skip


def shown_name(said: str | None) -> str | None:
    """Give a name that can be printed anywhere: ASCII without spaces and control characters, else escaped.

    Of a long one the end is left, behind three dots. The root of the DNS is a dot.
    """
    if said is None:
        return None
    tail = said[-MAX_NAME:]
    text = "".join(each if "!" <= each <= "~" else f"\\u{{{ord(each):x}}}" for each in tail) or "."
    if len(said) > MAX_NAME or len(text) > MAX_NAME:
        text = _CUT + text[len(_CUT) - MAX_NAME :]
    return text


def about(refusals: Iterable[Refusal], asked: Asked) -> tuple[Refusal, ...]:
    """Give the refusals of what a person asks about: the name wherever it was said, or the destination."""
    named = shown_name(asked.host)
    return tuple(each for each in refusals if _host(each.name) == named or _goes_to(each.destination, asked))


def _host(name: str | None) -> str | None:
    """The name alone, without the port that a proxy is asked for."""
    if name is None or (name.count(":") > 1 and "]" not in name):
        return name  # an IPv6 address alone
    host, mark, _ = name.rpartition(":")
    return (host if mark else name).strip("[]")


def _goes_to(destination: Destination, asked: Asked) -> bool:
    return (
        destination.address == asked.address
        and destination.transport is asked.transport
        and asked.port in (None, destination.port)
    )


def _is_rare(count: int) -> bool:
    """Whether it is a power of two."""
    return count & (count - 1) == 0
