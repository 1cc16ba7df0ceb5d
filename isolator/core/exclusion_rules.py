"""Exclusions of selective isolation as rules: openings by network, out and in.

An outgoing exclusion by name needs no rule: its addresses are learned like a listed entry's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from isolator.model.flow import Hook, Transport
from isolator.model.policy import Direction, Exclusion
from isolator.model.ruleset import (
    Action,
    AddressIn,
    Match,
    NotConnecting,
    PortIs,
    Rule,
    Side,
    TransportIs,
    UidIs,
    VersionIs,
)
from isolator.model.verdict import Reason


def outbound_rules(exclusions: Sequence[Exclusion], hook: Hook) -> Iterable[Rule]:
    """Connections the host opens to a network, and what comes back."""
    for exclusion in exclusions:
        if exclusion.direction is not Direction.OUT or exclusion.remote is None:
            continue
        if hook is Hook.OUTPUT:
            owner: tuple[Match, ...] = () if exclusion.uid is None else (UidIs(exclusion.uid),)
            opening = (*_remote(exclusion, Side.DESTINATION), *_port(exclusion, Side.DESTINATION), *owner)
        else:
            opening = (*_remote(exclusion, Side.SOURCE), *_going_on(exclusion, Side.SOURCE))
        yield Rule(opening, Action.ACCEPT, Reason.EXCLUSION)


def inbound_rules(exclusions: Sequence[Exclusion], hook: Hook) -> Iterable[Rule]:
    """Connections a network opens to a service of the host, and what the service answers."""
    for exclusion in exclusions:
        if exclusion.direction is not Direction.IN or exclusion.remote is None:
            continue
        if hook is Hook.INPUT:
            opening = (*_remote(exclusion, Side.SOURCE), *_port(exclusion, Side.DESTINATION))
        else:
            opening = (*_remote(exclusion, Side.DESTINATION), *_going_on(exclusion, Side.SOURCE))
        yield Rule(opening, Action.ACCEPT, Reason.EXCLUSION)


def _remote(exclusion: Exclusion, side: Side) -> tuple[Match, ...]:
    network = exclusion.remote
    if network is None:
        raise ValueError(f"exclusion {exclusion.name} names no network")
    if network.prefixlen == 0:
        return (VersionIs(network.version),)
    return (AddressIn(side, network),)


def _port(exclusion: Exclusion, side: Side) -> tuple[Match, ...]:
    if exclusion.port is None:
        return (TransportIs(exclusion.transport),)
    return (PortIs(exclusion.transport, side, exclusion.port),)


def _going_on(exclusion: Exclusion, side: Side) -> tuple[Match, ...]:
    """Packets of a connection that exists; nft lists no transport beside the TCP flags, so neither do we."""
    if exclusion.transport is not Transport.TCP:
        return _port(exclusion, side)
    if exclusion.port is None:
        return (NotConnecting(),)
    return (*_port(exclusion, side), NotConnecting())
