"""MODEL, not the product: isolation as rules applied one after the other, each by a start of `nft`.

The positive control of the proofs that no moment is open: the same sender and judge must find leaks here.
Shaped like common quarantine scripts: openings first, the final drop last, a set refreshed by flush and add.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.lab.namespace import Namespace

_OPEN = (
    "add table inet model",
    "add chain inet model out {{ type filter hook output priority 0; policy accept; }}",
    "add set inet model open {{ type ipv4_addr . inet_service; flags interval; }}",
    "add element inet model open {{ {element} }}",
    "add rule inet model out oif lo accept",
    "add rule inet model out ip daddr . udp dport @open accept",
    "add rule inet model out meta nfproto ipv4 drop",
    "add rule inet model out meta nfproto ipv6 drop",
)
_REFRESH = ("flush set inet model open", "add element inet model open {{ {element} }}")


def isolate(device: Namespace, elements: Sequence[str]) -> int:
    """Cut the host off step by step; when the first step began (CLOCK_MONOTONIC, ns)."""
    began_ns = time.monotonic_ns()
    _steps(device, _OPEN, elements)
    return began_ns


def refresh(device: Namespace, elements: Sequence[str]) -> None:
    """Update what is open by emptying and filling the set."""
    _steps(device, _REFRESH, elements)


def release(device: Namespace) -> None:
    """Remove the model's table."""
    _steps(device, ("delete table inet model",), ())


def _steps(device: Namespace, steps: Sequence[str], elements: Sequence[str]) -> None:
    for step in steps:
        for element in elements if "{element}" in step else ("",):
            device.run(["nft", step.format(element=element)], check=True)
