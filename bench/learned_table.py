"""Our real ruleset with many learned addresses in its sets, switched on and off in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from bench.bare_library import BareLibrary
from isolator.adapters.nftables import NftablesBackend
from isolator.core import plan
from isolator.core.compiler import APPROVED, FILTER_PRIORITY, compile_policy
from isolator.core.learned_elements import by_set, elements_of
from isolator.model.flow import Destination, LearnedAddress, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.ruleset import TABLE, Ruleset
from isolator.model.segment import FlowKey
from isolator.wiring import QUEUE_NUMBER
from tests.lab import Lab

_FIRST = 0x1400_0000
_STEP = 7
"""Addresses of 20.0.0.0/8 with gaps, so that nothing can be merged into ranges."""
_PASSING_S = 0.005
"""More than a packet needs from one hook to the next, also when its sender is preempted."""


def learned(count: int, *doors: Destination) -> list[LearnedAddress]:
    """That many learned addresses, the given doors among them."""
    made = [LearnedAddress(door, "bench.example", "bench#1", 86_000.0) for door in doors]
    for n in range(count - len(made)):
        door = Destination(ip_address(_FIRST + n * _STEP), Transport.TCP, 443)
        made.append(LearnedAddress(door, "bench.example", "bench#1", 86_000.0))
    return made


def ruleset() -> Ruleset:
    """What isolation with the lab's resolver compiles to; its other entries touch none of these flows."""
    policy = Policy(IsolationScope.FULL, (), resolvers=(ip_address("192.168.50.1"),))
    return compile_policy(policy, QUEUE_NUMBER)


class LearnedTable:
    """The table in the lab's device. Off, its sets are full and no packet meets it."""

    def __init__(self, lab: Lab, count: int, *doors: Destination) -> None:
        self.ruleset = ruleset()
        self._hooked = [chain.name for chain in self.ruleset.chains if chain.hook]
        self._backend = lab.device.in_namespace(NftablesBackend)
        self._engine = lab.device.in_namespace(BareLibrary)
        self._armed = False
        elements = by_set(elements_of(learned(count, *doors), now=0.0))
        self._backend.apply(plan.prepare(self.ruleset, elements))

    def approve(self, flows: Iterable[FlowKey]) -> None:
        """Take connections for such that have named a listed host, as the gate's marks do it."""
        named = ", ".join(
            f"{each.client} . {each.client_port} . {each.server} . {each.server_port} timeout 1d"
            for each in flows
        )
        self._engine.run(f"add element inet {TABLE} {APPROVED[4]} {{ {named} }}\n")

    def on(self) -> None:
        """Cut off, as the product does it, but the gate's chains first.

        A packet that is past the gate's hook when the rules come has no mark, and the filter's ends its
        connection. That is right once; here the rules come a hundred times under one stream.
        """
        if not self._armed:
            for late in (False, True):
                chains = tuple(
                    each for each in self.ruleset.chains if (each.priority == FILTER_PRIORITY) is late
                )
                self._backend.apply(plan.arm(replace(self.ruleset, chains=chains)))
                time.sleep(_PASSING_S)
            self._armed = True

    def off(self) -> None:
        """Take the hooked chains away, those of the gate last; the sets stay."""
        if self._armed:
            for gate in (False, True):
                names = [name for name in self._hooked if name.startswith("gate") is gate]
                lines = [
                    f"{verb} chain inet {TABLE} {name}" for verb in ("flush", "delete") for name in names
                ]
                self._engine.run("\n".join(lines) + "\n")
                time.sleep(_PASSING_S)
            self._armed = False

    def close(self) -> None:
        """Give back what the backend holds; the table goes with the namespace."""
        self._backend.close()
        self._engine.close()
