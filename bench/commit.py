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
from isolator.core.learned_elements import by_set, elements_of
from isolator.model.ruleset import Transaction
from isolator.render.nft import render_transaction
from tests.lab import Lab

ADDRESSES = 125


def run(*, quick: bool) -> list[Figure]:
    """The whole table with its addresses, and the addresses alone put into a table that stands."""
    rounds = 20 if quick else 100
    with Lab(servers=False, resolver=False) as lab, contextlib.ExitStack() as held:
        backend = lab.device.in_namespace(NftablesBackend)
        held.callback(backend.close)
        bare = lab.device.in_namespace(BareLibrary)
        held.callback(bare.close)
        rules, elements = ruleset(), by_set(elements_of(learned(ADDRESSES), now=0.0))
        native = not _lacks_queue(backend)
        whole = plan.replace(rules, elements)
        backend.apply(whole)
        addresses = plan.update(rules, rules, add=elements)
        return [
            _figure("whole ruleset", _compare(backend, bare, whole, native, rounds)),
            _figure("addresses alone", _compare(backend, bare, addresses, native, rounds)),
        ]


def _figure(what: str, measured: Rounds) -> Figure:
    ours, bare = measured.spread("ours"), measured.spread("bare")
    return Figure(
        f"commit of {ADDRESSES} addresses, {what}, ours to bare libnftables",
        measured.ratios("ours", "bare"),
        "x",
        at_most(1.5),
        f"{ours.median:.2f} ms to {bare.median:.2f} ms for the same text, rendering it included on our side",
    )


def _compare(
    backend: NftablesBackend, bare: BareLibrary, transaction: Transaction, native: bool, rounds: int
) -> Rounds:
    text = render_transaction(transaction, native_queue=native).encode()
    ways = {
        "ours": lambda: _milliseconds(lambda: backend.apply(transaction)),
        "bare": lambda: _milliseconds(lambda: bare.run_bytes(text)),
    }
    in_turn(ways, 2)
    return in_turn(ways, rounds)


def _lacks_queue(backend: NftablesBackend) -> bool:
    """The queue rules then follow by netlink, which is part of what `apply` costs."""
    return not any(each.code == "PLACEHOLDER" and each.available for each in backend.capabilities())


def _milliseconds(action: Callable[[], None]) -> float:
    gc.disable()
    started = time.perf_counter_ns()
    action()
    took = time.perf_counter_ns() - started
    gc.enable()
    return took / 1e6
