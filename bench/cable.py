"""A cable of its own between the lab's device and internet: two ends, nothing in between.

The lab's router and bridge cost time per packet that would hide what the filter costs, so the figures of
throughput are taken without them. The cable goes with the lab's namespaces.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.lab import Lab
from tests.lab.namespace import Namespace

DEVICE_END, FAR_END = "198.51.100.1", "198.51.100.2"
"""TEST-NET-2 (RFC 5737)."""


def lay(lab: Lab) -> None:
    """Add the cable to a lab that is open."""
    ends = ((lab.device, "bench0", DEVICE_END), (lab.internet, "bench1", FAR_END))
    (near, near_name, _), (far, far_name, _) = ends
    # Unequal indexes, for the reason given in tests/lab/topology.py.
    _ip(
        *("link", "add", near_name, "netns", near.name, "index", "50", "type", "veth"),
        *("peer", "name", far_name, "netns", far.name, "index", "150"),
    )
    for space, name, address in ends:
        _ip("-n", space.name, "addr", "add", f"{address}/24", "dev", name)
        _ip("-n", space.name, "link", "set", name, "up")
    for space, _, _ in ends:
        space.wait_for_carrier()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Counters:
    """The IP statistics of one namespace; the files stay open, so a reading costs some microseconds."""

    def __init__(self, space: Namespace) -> None:
        self._files = space.in_namespace(
            lambda: [Path(f"/proc/thread-self/net/{name}").open() for name in ("snmp", "netstat")]  # noqa: SIM115  # kept open, see close
        )

    def read(self, section: str, field: str) -> int:
        """One number, such as ("Udp", "InDatagrams"); KeyError for a field that is not there."""
        for file in self._files:
            file.seek(0)
            lines = file.read().splitlines()
            for names, values in zip(lines[::2], lines[1::2], strict=True):
                head, *fields = names.split()
                if head == f"{section}:" and field in fields:
                    return int(values.split()[1 + fields.index(field)])
        raise KeyError(f"{section} {field}")

    def rate(self, section: str, field: str, seconds: float) -> float:
        """How much the number rises in a second, over that time."""
        before, started = self.read(section, field), time.perf_counter()
        time.sleep(seconds)
        return (self.read(section, field) - before) / (time.perf_counter() - started)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
