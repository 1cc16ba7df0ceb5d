"""Connections as a list."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from isolator.model.flow import Hook, Packet
from isolator.ports import EndedFlows


class FakeFlowTable:
    """`flows` are the outgoing packets of the connections that exist; those ended go to `ended`."""

    def __init__(self, flows: Iterable[Packet] = ()) -> None:
        self.flows = list(flows)
        self.ended: list[Packet] = []
        self.calls = 0
        self.fail = False
        """Whether the process dies here: nothing is ended."""

    def end(self, is_allowed: Callable[[Packet], bool]) -> EndedFlows:
        """End what is refused; loopback is left alone."""
        self.calls += 1
        if self.fail:
            raise RuntimeError("killed while flows were ended")
        doomed = [flow for flow in self.flows if not (flow.destination.is_loopback or is_allowed(flow))]
        self.flows = [flow for flow in self.flows if flow not in doomed]
        self.ended += doomed
        forwarded = sum(1 for flow in doomed if flow.hook is Hook.FORWARD)
        return EndedFlows(tracked=forwarded, sockets=len(doomed) - forwarded)
