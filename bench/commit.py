"""A commit of 125 addresses through our backend, beside libnftables called with the very same text."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_address

from bench.bare_library import BareLibrary
from bench.figure import Figure, at_most
from bench.pairs import in_turn
from isolator.adapters.nftables import NftablesBackend
from isolator.core import plan
from isolator.core.compiler import LEARNED, SETS, compile_policy
from isolator.model.flow import Destination, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.ruleset import AddElements, AddTable, DeleteTable, Element, Transaction
from isolator.render.nft import render_transaction
from isolator.wiring import QUEUE_NUMBER
from tests.lab import Lab

ADDRESSES = 125
_FIRST = 0x1400_0000


def run(*, quick: bool) -> list[Figure]:
    """Both ways in turn, each followed by the removal of what it made."""
    elements = tuple(
        Element(Destination(ip_address(_FIRST + n), Transport.TCP, 443), 300) for n in range(ADDRESSES)
    )
    ruleset = compile_policy(
        Policy(IsolationScope.FULL, (), resolvers=(ip_address("192.168.50.1"),)), QUEUE_NUMBER
    )
    # Everything an isolation commits but the queue rule, which this text cannot carry on every kernel.
    whole = plan.replace(ruleset, {})
    kept = tuple(each for each in whole.operations if getattr(each, "chain", None) != "dns_queue")
    transaction = Transaction("bench", (*kept, AddElements(SETS[LEARNED[4]], elements)))
    text = render_transaction(transaction, native_queue=True)
    removal = Transaction("bench removal", (AddTable(), DeleteTable()))
    with Lab(servers=False, resolver=False) as lab:
        backend = lab.device.in_namespace(NftablesBackend)
        bare = lab.device.in_namespace(BareLibrary)

        def sample(commit: Callable[[], None]) -> float:
            started = time.perf_counter()
            commit()
            took = (time.perf_counter() - started) * 1000
            backend.apply(removal)
            return took

        rounds = in_turn(
            {
                "ours": lambda: sample(lambda: backend.apply(transaction)),
                "bare": lambda: sample(lambda: bare.run(text)),
            },
            20 if quick else 100,
        )
        backend.close()
        bare.close()
    return [
        Figure(
            f"commit of {ADDRESSES} addresses, ours to bare libnftables",
            rounds.ratios("ours", "bare"),
            "x",
            at_most(1.5),
            f"{rounds.spread('ours').median:.2f} ms beside {rounds.spread('bare').median:.2f} ms",
        )
    ]
