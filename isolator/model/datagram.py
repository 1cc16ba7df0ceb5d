"""One UDP datagram with the addresses it travels between."""

from __future__ import annotations

from dataclasses import dataclass

from isolator.model.flow import Address


@dataclass(frozen=True, slots=True)
class Datagram:
    """A whole UDP datagram (RFC 768); `payload` may be empty. Addresses carry no scope."""

    source: Address
    source_port: int
    destination: Address
    destination_port: int
    payload: bytes
