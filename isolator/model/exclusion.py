"""Openings of the organisation's own, which selective isolation leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from isolator.model.flow import Network, Transport


class Direction(Enum):
    """Who opens the connection, seen from the host."""

    OUT = "out"
    IN = "in"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An opening of the organisation's own, in force for selective isolation only.

    `remote` is a network, or `pattern` a name or wildcard; `port` None means every port.
    `uid` limits an outgoing exclusion to processes of that user (never the only condition).
    """

    name: str
    direction: Direction
    transport: Transport
    port: int | None = None
    remote: Network | None = None
    pattern: str | None = None
    uid: int | None = None
