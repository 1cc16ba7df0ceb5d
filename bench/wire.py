"""What connections that are judged by their first bytes keep of their speed, once approved and until then.

A real agent isolates the device and is released again in turn with nothing in between, and with a model that
queues every packet to Python. A connection is a SYN, a hello that names a listed host, an answer and the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bench.figure import Figure, at_least, at_most
from bench.pairs import Rounds, in_turn, median
from bench.wire_ground import WORKERS, Ground, ground, large_hello, openssl_hello

PER_SECOND = at_least(3_000)
ADDED_MS = at_most(1.0)
BULK = at_least(0.97)

_WAYS = ("none", "isolated", "queued", "control")
"""`control` is once more nothing in between: how far two equal things are apart."""
_SHOWN: tuple[tuple[str, str, bool], ...] = (
    ("isolated", "ours", True),
    ("queued", "queue to Python (model)", False),
)
"""Way, its name in the report, and whether the bounds are about it."""


def run(*, quick: bool) -> list[Figure]:
    """Bulk first, then for each hello what it adds and how many a second there may be."""
    figures: list[Figure] = []
    with ground() as held:
        for name, upload in (("sent", True), ("received", False)):
            figures += _bulk(held, name, upload=upload, rounds=4 if quick else 60)
        for hello in (openssl_hello(), large_hello()):
            figures += _latency(held, hello, rounds=4 if quick else 10, count=200 if quick else 500)
            figures += _rate(held, hello, rounds=2 if quick else 8, seconds=1.0 if quick else 2.0)
    return figures


def _in_turn(held: Ground, sample: Callable[[str], float], rounds: int) -> Rounds:
    """The ways in turn, each from its switch on to its switch off; the sample gets the way's name."""

    def measured(way: str) -> float:
        with held.way(way):
            held.latency(openssl_hello(), 20)  # what only the first connections cost is not asked here
            return sample(way)

    return in_turn({way: partial(measured, way) for way in _WAYS}, rounds)


def _bulk(held: Ground, name: str, *, upload: bool, rounds: int) -> list[Figure]:
    hello = openssl_hello()

    def sample(_: str) -> float:
        return held.bulk(hello, upload=upload, settle_s=0.1, seconds=0.3)

    measured = _in_turn(held, sample, rounds)
    plain = measured.spread("none").median * 8e-9
    itself = measured.ratios("control", "none").median
    return [
        Figure(
            f"gated TCP bulk, {name}, {label} to unfiltered",
            measured.ratios(way, "none"),
            "x",
            BULK if ours else None,
            f"one approved connection; unfiltered {plain:.3g} Gbit/s at the receiver, "
            f"to itself {itself:.3f} x",
        )
        for way, label, ours in _SHOWN
    ]


def _latency(held: Ground, hello: bytes, *, rounds: int, count: int) -> list[Figure]:
    measured = _in_turn(held, lambda _: median(held.latency(hello, count)), rounds)
    direct = measured.spread("none").median
    itself = measured.differences("control", "none").median
    return [
        Figure(
            f"handshake, hello of {len(hello):,} bytes, added by {label}, p50",
            measured.differences(way, "none"),
            "ms",
            ADDED_MS if ours else None,
            f"connect to first byte of the answer: {measured.spread(way).median:.3f} ms, "
            f"unfiltered {direct:.3f} ms, twice unfiltered {itself:+.3f} ms apart",
        )
        for way, label, ours in _SHOWN
    ]


def _rate(held: Ground, hello: bytes, *, rounds: int, seconds: float) -> list[Figure]:
    spent: dict[str, list[float]] = {way: [] for way in _WAYS}

    def sample(way: str) -> float:
        carried = held.rate(hello, seconds)
        spent[way].append(carried.agent_us)
        return carried.per_second

    measured = _in_turn(held, sample, rounds)
    ceiling = f"client and server alone carry {measured.spread('none').median:,.0f}/s"
    agent = f"; the agent computes {median(spent['isolated']):.0f} us for one"
    return [
        Figure(
            f"new connections/s, hello of {len(hello):,} bytes, {label}",
            measured.spread(way),
            "/s",
            PER_SECOND if ours else None,
            f"{WORKERS} clients without a pause on the same cores; {ceiling}" + (agent if ours else ""),
        )
        for way, label, ours in _SHOWN
    ]
