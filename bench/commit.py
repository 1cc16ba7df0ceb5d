"""What our backend adds to a commit: `NftablesBackend.apply` against libnftables given the same text."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable

from bench.bare_library import BareLibrary
from bench.figure import Figure, at_most
from bench.learned_table import learned, ruleset
from bench.pairs import Rounds, in_turn
from isolator.adapters.nftables import NftablesBackend
from isolator.core import plan
from isolator.core.compiler import QUEUE_CHAINS
from isolator.core.learned_elements import by_set, elements_of
from isolator.model.ruleset import Transaction
from isolator.render.nft import render_transaction
from tests.lab import Lab

ADDRESSES = 125
_FREED_S = 0.03
"""The kernel frees a deleted table in the background, after a grace period."""


def run(*, quick: bool) -> list[Figure]:
    """A whole ruleset with its addresses, the addresses alone, and what the queue rules add."""
    rounds = 20 if quick else 100
    with Lab(servers=False, resolver=False) as lab, contextlib.ExitStack() as held:
        backend = lab.device.in_namespace(NftablesBackend)
        held.callback(backend.close)
        bare = lab.device.in_namespace(BareLibrary)
        held.callback(bare.close)
        rules, elements = ruleset(), by_set(elements_of(learned(ADDRESSES), now=0.0))
        complete = plan.replace(rules, elements)
        kept = tuple(each for each in complete.operations if getattr(each, "chain", None) not in QUEUE_CHAINS)
        same = Transaction("bench", kept)
        figures = [_figure("whole ruleset", _compare(backend, bare, same, rounds))]
        backend.apply(complete)
        addresses = plan.update(rules, rules, add=elements)
        figures.append(_figure("addresses alone", _compare(backend, bare, addresses, rounds)))
        ways = {
            "complete": lambda: _fresh(backend, complete),
            "without": lambda: _fresh(backend, same),
        }
        added = in_turn(ways, rounds // 2)
        return [
            *figures,
            Figure(
                "  of a whole ruleset: its queue rules",
                added.differences("complete", "without"),
                "ms",
                None,
                "a second commit by netlink where the kernel lacks nft's queue statement",
            ),
        ]


def _fresh(backend: NftablesBackend, transaction: Transaction) -> float:
    """Into a namespace without our table, and with nothing of a former one still being freed."""
    backend.apply(plan.remove())
    time.sleep(_FREED_S)
    return _milliseconds(lambda: backend.apply(transaction))


def _figure(what: str, measured: Rounds) -> Figure:
    ours, bare = measured.spread("ours"), measured.spread("bare")
    return Figure(
        f"commit of {ADDRESSES} addresses, {what}, ours to bare libnftables",
        measured.ratios("ours", "bare"),
        "x",
        at_most(1.5),
        f"{ours.median:.2f} ms to {bare.median:.2f} ms for the same text, rendering it included on our side",
    )


def _compare(backend: NftablesBackend, bare: BareLibrary, transaction: Transaction, rounds: int) -> Rounds:
    text = render_transaction(transaction, native_queue=True).encode()
    ways = {
        "ours": lambda: _milliseconds(lambda: backend.apply(transaction)),
        "bare": lambda: _milliseconds(lambda: bare.run_bytes(text)),
    }
    in_turn(ways, 2)
    return in_turn(ways, rounds)


def _milliseconds(action: Callable[[], None]) -> float:
    gc.disable()
    started = time.perf_counter_ns()
    action()
    took = time.perf_counter_ns() - started
    gc.enable()
    return took / 1e6
