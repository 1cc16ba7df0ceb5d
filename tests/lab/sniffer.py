"""The judge: what really is on the wire outside the device, with the kernel's timestamps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.lab.namespace import Namespace
from tests.lab.service import Service
from tests.lab.sniffing import Direction, Sighting, read_records


@dataclass(frozen=True, slots=True)
class Report:
    """What a sniffer has seen so far."""

    sightings: tuple[Sighting, ...]
    """Frames with a marker, oldest first (every frame when no marker was given)."""
    captured: int
    """Frames that passed the interface, both ways, with or without a marker."""
    dropped: int
    """Frames the sniffer itself lost; a judgement is only worth something when this is 0."""
    frames: dict[tuple[Direction, int], int]
    """Frames by direction and ethertype (0x0800, 0x86DD, 0x0806 ARP, ...)."""

    def seen(self, marker: bytes, direction: Direction = Direction.FROM_DEVICE) -> tuple[Sighting, ...]:
        """The sightings of one marker going one way."""
        return tuple(s for s in self.sightings if s.marker == marker and s.direction is direction)


class Sniffer:
    """One running capture on one interface; a context manager that ends it."""

    def __init__(
        self,
        namespace: Namespace,
        interface: str,
        markers: Sequence[bytes],
        file: Path,
        log: Path,
        *,
        snap: int = 192,
        limit: int = 1_000_000,
    ) -> None:
        """Start watching; frames from before this returns may be missed, later ones are not."""
        if any(not marker for marker in markers):
            raise ValueError("an empty marker is in every frame")
        self._markers = tuple(markers)
        self._file = file
        setting = {
            "interface": interface,
            "markers": [marker.hex() for marker in markers],
            "file": str(file),
            "snap": snap,
            "limit": limit,
        }
        self._service = Service(namespace, "tests.lab.sniffer_process", [json.dumps(setting)], log)
        try:
            self._service.hear()
        except BaseException:
            self._service.close()
            raise

    def report(self) -> Report:
        """Everything on the wire up to now; waits until the ring is empty. Fails when records did not fit."""
        answer = self._service.ask({"do": "report"}, timeout_s=60)
        if answer["not_written"]:
            raise OverflowError(f"{answer['not_written']} sightings beyond the limit of {answer['written']}")
        frames: dict[tuple[Direction, int], int] = {}
        for outgoing, kind, count, _ in answer["kinds"]:
            frames[Direction.TO_DEVICE if outgoing else Direction.FROM_DEVICE, kind] = count
        sightings = tuple(read_records(self._file.read_bytes(), self._markers))
        return Report(sightings, answer["captured"], answer["dropped"], frames)

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        self._service.close()

    def __enter__(self) -> Sniffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(slots=True)
class Judge:
    """Starts sniffers on the far end of the device's cable; those still running end with the lab."""

    namespace: Namespace
    interface: str
    directory: Path
    _sniffers: list[Sniffer] = field(default_factory=list, repr=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count, repr=False)

    def watch(self, *markers: bytes, snap: int = 192, limit: int = 1_000_000) -> Sniffer:
        """Watch from now on for frames with any of the markers; without markers, for every frame."""
        return self.watch_at(self.namespace, self.interface, *markers, snap=snap, limit=limit)

    def watch_at(
        self, namespace: Namespace, interface: str, *markers: bytes, snap: int = 192, limit: int = 1_000_000
    ) -> Sniffer:
        """The same on another interface of the lab (directions are then those of that port)."""
        stem = self.directory / f"sniffer-{next(self._numbers)}"
        files = (stem.with_suffix(".seen"), stem.with_suffix(".log"))
        sniffer = Sniffer(namespace, interface, markers, *files, snap=snap, limit=limit)
        self._sniffers.append(sniffer)
        return sniffer

    def close(self) -> None:
        """End every sniffer."""
        for sniffer in self._sniffers:
            sniffer.close()
        self._sniffers.clear()
