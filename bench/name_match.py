"""How long one look-up of a host name takes, and whether it grows with the list."""

from __future__ import annotations

import gc
import itertools
import random
import time
from collections.abc import Sequence
from functools import partial

from allowlists.index import Index
from allowlists.model import Entry, Match
from bench.figure import Figure, at_most
from bench.pairs import in_turn

_ZONES = ("endpoint.security.microsoft.com", "blob.core.windows.net", "data.microsoft.com", "example.co.uk")
_REGIONS = ("weu", "neu", "cus", "eus", "uks", "aus")
_SIZES = (100, 100_000)
_LOOKUPS = 8_000
_FREQUENT = 400
"""What a host asks for in a while; with 8,000 the processor's caches are what differs."""


def entries(count: int) -> list[Entry]:
    """Half whole names, half wildcards, of the shapes that the shipped lists have."""
    made = []
    for n in range(count):
        zone = _ZONES[n % len(_ZONES)]
        if n % 2:
            made.append(Entry(n, f"*.t{n}.{zone}", f"*.t{n}.{zone}", Match.SUBDOMAINS, list_id="bench"))
        else:
            name = f"unit{n}-{_REGIONS[n % len(_REGIONS)]}.{zone}"
            made.append(Entry(n, name, name, list_id="bench"))
    return made


def names(rows: Sequence[Entry], count: int) -> list[str]:
    """What is asked: whole names, names under wildcards (one to three labels deep), near and far misses."""
    chance = random.Random(2)
    exact = [row.host for row in rows if row.match is Match.EXACT]
    suffixes = [row.host[2:] for row in rows if row.match is Match.SUBDOMAINS]
    deep = ("edr-7", "edr-7.eu", "a.edr-7.eu")
    asked = []
    for n, way in zip(range(count), itertools.cycle(range(4)), strict=False):
        if way == 0:
            asked.append(chance.choice(exact))
        elif way == 1:
            asked.append(f"{chance.choice(deep)}.{chance.choice(suffixes)}")
        elif way == 2:
            asked.append(f"host{n}.unlisted.{_ZONES[n % len(_ZONES)]}")
        else:
            asked.append(f"www.site{n}.example.org")
    return asked


def microseconds(index: Index, asked: Sequence[str]) -> float:
    """Time of one look-up, all of the names asked once, the collector kept out."""
    match = index.match
    gc.disable()
    started = time.perf_counter_ns()
    for name in asked:
        match(name)
    took = time.perf_counter_ns() - started
    gc.enable()
    return took / len(asked) / 1000


def run(*, quick: bool) -> list[Figure]:
    """Both sizes in turn: names that are asked again and again, and each name once, cold in the caches."""
    rows = {size: entries(size) for size in _SIZES}
    indexes = {size: Index(each) for size, each in rows.items()}
    figures = []
    for distinct, kind in ((_FREQUENT, "frequent"), (_LOOKUPS, "cold")):
        ways = {}
        for size, index in indexes.items():
            asked = names(rows[size], distinct) * (_LOOKUPS // distinct)
            hits = sum(bool(index.match(name)) for name in asked)
            assert hits == _LOOKUPS // 2, "half of the names are made to be covered"
            ways[str(size)] = partial(microseconds, index, asked)
        rounds = in_turn(ways, 7 if quick else 31)
        how = f"{_LOOKUPS:,} look-ups of {distinct:,} names, half covered, half of the patterns wildcards"
        figures += [
            Figure(
                f"name match at 100,000 patterns, {kind} names",
                rounds.spread("100000"),
                "us",
                at_most(2),
                how,
            ),
            Figure(
                f"name match, 100,000 patterns to 100, {kind} names",
                rounds.ratios("100000", "100"),
                "x",
                at_most(1.5),
                f"{rounds.spread('100').median:.2f} us at 100",
            ),
        ]
    return figures
