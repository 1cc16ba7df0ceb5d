"""Two or more ways measured in turn, so that what the machine does meanwhile falls on all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.figure import Spread

Sample = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rounds:
    """Samples by way, the n-th of each taken close to one another."""

    samples: Mapping[str, tuple[float, ...]]

    def spread(self, way: str) -> Spread:
        """What this way gave."""
        return Spread.of(self.samples[way])

    def ratios(self, way: str, to: str) -> Spread:
        """This way divided by the other one, round by round."""
        return Spread.of([a / b for a, b in zip(self.samples[way], self.samples[to], strict=True)])

    def differences(self, way: str, to: str) -> Spread:
        """This way less the other one, round by round."""
        return Spread.of([a - b for a, b in zip(self.samples[way], self.samples[to], strict=True)])


def in_turn(ways: Mapping[str, Sample], rounds: int) -> Rounds:
    """Each way once a round; the order is turned around every time, so that none is always first."""
    samples: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        names = list(ways)[:: 1 if number % 2 == 0 else -1]
        for way in names:
            samples[way].append(ways[way]())
    return Rounds({way: tuple(found) for way, found in samples.items()})


def percentile(samples: list[float], percent: int) -> float:
    """The smallest sample that at least that many percent do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def median(samples: list[float]) -> float:
    """The median; ValueError when there are no samples."""
    if not samples:
        raise ValueError("no samples")
    return statistics.median(samples)
