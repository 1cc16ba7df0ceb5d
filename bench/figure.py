"""One figure: what was measured, what it must reach, whether it does."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and extremes of some samples, in the unit of the samples."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """The spread of the samples; ValueError when there are none."""
        if not samples:
            raise ValueError("a spread needs at least one sample")
        return cls(statistics.median(samples), min(samples), max(samples), len(samples))

    @classmethod
    def exactly(cls, value: float) -> Spread:
        """A figure that is a count, not a sample."""
        return cls(value, value, value, 1)


@dataclass(frozen=True, slots=True)
class Bound:
    """What the median has to keep: at most, or at least, the limit."""

    limit: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Is the value within the bound; the limit itself is."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


def at_most(limit: float) -> Bound:
    """An upper bound."""
    return Bound(limit)


def at_least(limit: float) -> Bound:
    """A lower bound."""
    return Bound(limit, at_least=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. Without a bound it is there to compare with, or to explain another line."""

    name: str
    measured: Spread
    unit: str
    bound: Bound | None = None
    detail: str = ""

    @property
    def ok(self) -> bool | None:
        """Does the median keep the bound; None when there is none."""
        return None if self.bound is None else self.bound.holds(self.measured.median)

    def document(self) -> dict[str, Any]:
        """The figure as JSON values."""
        spread = self.measured
        return {
            "name": self.name,
            "unit": self.unit,
            "median": spread.median,
            "min": spread.low,
            "max": spread.high,
            "samples": spread.count,
            "bound": None if self.bound is None else str(self.bound),
            "ok": self.ok,
            "detail": self.detail,
        }
