"""Both ends of a bulk stream on one core, and whoever measures them on the others.

What the two ends and the rules between them cost adds up there. On two cores the faster end waits for the
other, so half of the costs hide; and how often they wake each other up across cores moves the rate by a
factor of two from one tenth of a second to the next, in a virtual machine more than on others.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_ALL = frozenset(os.sched_getaffinity(0))
CORE = max(_ALL)
"""The core of both ends."""


@contextlib.contextmanager
def on_it() -> Iterator[None]:
    """This thread runs there for a while."""
    with _on({CORE}):
        yield


@contextlib.contextmanager
def beside_it() -> Iterator[None]:
    """This thread leaves that core to others for a while, if there are others."""
    with _on(set(_ALL - {CORE}) or {CORE}):
        yield


@contextlib.contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
