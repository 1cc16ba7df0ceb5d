"""What the wire showed, written down for the rows that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from connectivity_check.core.controls import failing
from connectivity_check.core.facts import number, text
from connectivity_check.model import Observation, Role, Step
from connectivity_check.ports import Capture
from connectivity_check.runner.ledger import Ledger

_DNS_PORT = 53


def add_packets(ledger: Ledger, capture: Capture) -> None:
    """Add one observation to each row whose chain failed; a row that was never begun has none."""
    for row in ledger.rows:
        failed = failing(row)
        peer = _peer(row, failed) if failed else None
        if failed and peer:
            # At the failure's own time: an observation at the end of the run would make the row look as long.
            row.append(replace(capture.packets(*peer), started_s=failed.started_s, via=failed.via))


def _peer(row: Sequence[Observation], failed: Observation) -> tuple[str, int, str] | None:
    """Whom the failed step spoke to; a request is told by the connection it went over."""
    if failed.step is Step.RESOLVE:
        resolver = text(failed, "resolver")
        return (resolver, _DNS_PORT, text(failed, "name")) if resolver else None
    connects = [each for each in row if each.step is Step.CONNECT and each.role is Role.PROBE]
    for each in (failed, *reversed([c for c in connects if c.ok])):
        address, port = text(each, "address"), int(number(each, "port"))
        if address and port:
            return address, port, ""
    return None
