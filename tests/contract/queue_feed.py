"""The smallest table that feeds the gate's queue."""

from __future__ import annotations

from isolator.model.flow import Hook, Transport
from isolator.model.ruleset import (
    Action,
    AddChain,
    AddRule,
    AddTable,
    Chain,
    DeleteTable,
    Jump,
    PortIs,
    Rule,
    Side,
    Transaction,
)
from isolator.ports import FilterBackend


def feed_queue(backend: FilterBackend, number: int) -> None:
    """UDP to port 53 goes to the queue, everything else out."""
    queue, out = Chain("dns_queue", ()), Chain("gate", (), Hook.OUTPUT, -145)
    to_dns = Rule((PortIs(Transport.UDP, Side.DESTINATION, 53),), Jump("dns_queue"))
    prepare = (AddTable(), DeleteTable(), AddTable(), AddChain(queue))
    backend.apply(Transaction("prepare", (*prepare, AddRule("dns_queue", Rule((), Action.QUEUE), number))))
    backend.apply(
        Transaction(
            "arm",
            (AddChain(out, accepting=True), AddRule("gate", to_dns)),
        )
    )
