"""Before the kernel is touched: would the compiled rules let the control channel through?"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from isolator.core.trace import trace
from isolator.model.flow import Address, Destination, Hook, Packet
from isolator.model.ruleset import ElementKey, Ruleset
from isolator.model.verdict import Verdict

_EPHEMERAL_PORT = 50_000


def control_packets(door: Destination, own: Address) -> tuple[Packet, ...]:
    """The packets a connection to that door needs: its SYN out and the SYN-ACK in."""
    out = Packet(
        hook=Hook.OUTPUT,
        source=own,
        destination=door.address,
        protocol=door.transport.value,
        source_port=_EPHEMERAL_PORT,
        destination_port=door.port,
        tcp_flags=frozenset({"syn"}),
    )
    back = Packet(
        hook=Hook.INPUT,
        source=door.address,
        destination=own,
        protocol=door.transport.value,
        source_port=door.port,
        destination_port=_EPHEMERAL_PORT,
        tcp_flags=frozenset({"syn", "ack"}),
    )
    return out, back


def cut_doors(
    ruleset: Ruleset,
    doors: Iterable[Destination],
    own_addresses: Iterable[Address],
    learned: Mapping[str, Container[ElementKey]],
) -> tuple[Destination, ...]:
    """The doors of the control channel that the rules would shut; empty when all stay open."""
    own = {address.version: address for address in own_addresses}
    cut: list[Destination] = []
    for door in doors:
        source = own.get(door.address.version, door.address)
        walks = [
            # Learned ones need the controller's name too, which the agent gives.
            trace(ruleset, packet, learned, gate=Verdict.ACCEPT)
            for packet in control_packets(door, source)
        ]
        if any(walk.verdict is not Verdict.ACCEPT for walk in walks):
            cut.append(door)
    return tuple(cut)
