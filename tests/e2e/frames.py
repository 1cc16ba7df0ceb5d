"""What the judge saw, read as packets: who to whom, and where in the TCP stream."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from tests.lab.sniffing import Direction, Sighting

_ETHERNET, _IPV4, _IPV6 = 14, 0x0800, 0x86DD
_TCP, _UDP = 6, 17


@dataclass(frozen=True, slots=True)
class Frame:
    """One IP packet on the wire; ports are 0 for protocols that have none."""

    at_ns: int
    direction: Direction
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    sequence: int = 0
    """TCP sequence number of the first payload byte."""
    payload: int = 0
    """TCP payload bytes."""

    @property
    def ends(self) -> tuple[int, str, int, str, int]:
        """Protocol and both ends, the device's side of a flow as it sends."""
        here = (self.source, self.source_port)
        there = (self.destination, self.destination_port)
        ends = here + there if self.direction is Direction.FROM_DEVICE else there + here
        return (self.protocol, *ends)


def frames(sightings: Iterable[Sighting]) -> list[Frame]:
    """The IP packets among the sightings."""
    return [frame for sighting in sightings if (frame := _frame(sighting)) is not None]


def _frame(seen: Sighting) -> Frame | None:
    data = seen.frame
    kind = int.from_bytes(data[12:14], "big")
    if kind == _IPV4:
        at, protocol = _ETHERNET + (data[_ETHERNET] & 15) * 4, data[_ETHERNET + 9]
        ends = data[_ETHERNET + 12 : _ETHERNET + 16], data[_ETHERNET + 16 : _ETHERNET + 20]
    elif kind == _IPV6:
        at, protocol = _ETHERNET + 40, data[_ETHERNET + 6]
        ends = data[_ETHERNET + 8 : _ETHERNET + 24], data[_ETHERNET + 24 : _ETHERNET + 40]
    else:
        return None
    source, destination = (str(ip_address(end)) for end in ends)
    ports = struct.unpack_from("!HH", data, at) if protocol in (_TCP, _UDP) else (0, 0)
    sequence = payload = 0
    if protocol == _TCP:
        sequence = int.from_bytes(data[at + 4 : at + 8], "big")
        payload = seen.length - at - (data[at + 12] >> 4) * 4
    return Frame(
        seen.at_ns, seen.direction, protocol, source, ports[0], destination, ports[1], sequence, payload
    )


def holes(stream: Iterable[Frame]) -> int:
    """How often a TCP sender's next bytes were on the wire while earlier ones never were."""
    expected: int | None = None
    found = 0
    for frame in stream:
        if not frame.payload:
            continue
        end = frame.sequence + frame.payload & 0xFFFFFFFF
        ahead = 0 if expected is None else frame.sequence - expected & 0xFFFFFFFF
        found += 0 < ahead < 1 << 31
        if expected is None or end - expected & 0xFFFFFFFF < 1 << 31:
            expected = end
    return found
