"""A steady sender inside the device: the traffic that proves that no moment was open."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.lab.namespace import Namespace
from tests.lab.service import Service
from tests.lab.sniffer import Report
from tests.lab.sniffing import Direction
from tests.lab.stamp import Stamp, marker_of, read_stamp


@dataclass(frozen=True, slots=True)
class Sent:
    """What the sender did, by destination in the order they were given."""

    attempted: tuple[int, ...]
    """Datagrams handed to the kernel; numbered 0 to attempted - 1."""
    refused: tuple[dict[str, int], ...]
    """Of these, how many the kernel refused at once, by errno name (EPERM: a filter dropped it on output)."""
    started_ns: int
    ended_ns: int
    longest_gap_ns: int
    """Longest time without a datagram; a long one means a busy machine, and nothing is proved for it."""

    @property
    def rate(self) -> float:
        """Datagrams a second, over the whole run."""
        return sum(self.attempted) / max(1e-9, (self.ended_ns - self.started_ns) / 1e9)


class Sender:
    """One run of one sender process; a context manager that ends it."""

    def __init__(
        self,
        namespace: Namespace,
        destinations: Sequence[tuple[str, int]],
        log: Path,
        *,
        rate: float = 20_000,
        count: int = 1_000_000,
        seconds: float = 30.0,
    ) -> None:
        """Get ready to send UDP to the destinations in turn, ``rate`` datagrams a second in all."""
        if not destinations:
            raise ValueError("a sender needs a destination")
        self.run = secrets.randbits(63)
        setting = {
            "destinations": list(destinations),
            "run": self.run,
            "rate": rate,
            "count": count,
            "seconds": seconds,
        }
        self._seconds = seconds
        self._service = Service(namespace, "tests.lab.sender_process", [json.dumps(setting)], log)
        try:
            self._service.hear()
        except BaseException:
            self._service.close()
            raise

    @property
    def marker(self) -> bytes:
        """What the judge has to watch for."""
        return marker_of(self.run)

    def start(self) -> None:
        """Begin to send; returns at once."""
        self._service.tell({"do": "start"})

    def stop(self) -> Sent:
        """Stop now and say what was sent."""
        self._service.tell({"do": "stop"})
        return self.wait(10.0)

    def wait(self, timeout_s: float | None = None) -> Sent:
        """Wait for the count or the time to be used up, and say what was sent; once per run."""
        answer = self._service.hear(self._seconds + 10 if timeout_s is None else timeout_s)
        refused = tuple(dict(counter) for counter in answer["refused"])
        times = (answer["started_ns"], answer["ended_ns"], answer["longest_gap_ns"])
        return Sent(tuple(answer["attempted"]), refused, *times)

    def stamps(
        self, report: Report, direction: Direction = Direction.FROM_DEVICE
    ) -> tuple[tuple[int, Stamp], ...]:
        """This run's datagrams in a judge's report: when each was seen (ns), and its stamp."""
        return tuple((s.at_ns, read_stamp(s.tail)) for s in report.seen(self.marker, direction))

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._service.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
