"""What the agent tells its controller: what it observes, as evidence, in a few kilobytes."""

from __future__ import annotations

import hashlib
from typing import Any

from isolator.model.order import HostState
from isolator.model.ruleset import ObservedTable, Ruleset
from isolator.render.nft import expected_table
from isolator.service import report
from isolator.service.controller import Controller
from isolator.service.link_state import LinkState

MAX_SENTENCE = 1000

MAX_ALERTS = 16
"""The first ones of an isolation are told; `isolator status` has them all."""


def remote_report(controller: Controller, state: LinkState, *, just_verified: bool = False) -> dict[str, Any]:
    """The host as observed now, or as the order that ended this instant has read it back.

    `generation` is the controller's, not the journal's. Learned names stay here: they are many, and they
    tell where people of this host went.
    """
    status = report.status(controller, just_verified=just_verified)
    enforcement = status["enforcement"]
    fault = state.record.fault if state.known else None
    isolated = controller.state is HostState.ISOLATED and controller.ruleset is not None
    return {
        "state": status["state"],
        "isolation_type": status["isolation_type"],
        "generation": state.generation,
        "verified": enforcement["verified"],
        "verified_at": enforcement["verified_at"],
        "ruleset_sha256": ruleset_sha256(controller.ruleset) if isolated and controller.ruleset else None,
        "probe": {"control_channel": {"ok": status["control_channel"]["ok"]}, "outside": None},
        "lists": status["lists"],
        "since": status["since"],
        "expires_at": status["expires_at"],
        "repairs": enforcement["repairs"],
        "held_by_controller": state.holds,
        "enforcement": {name: enforcement[name] for name in ("backend", "layers", "verified", "verified_at")},
        "error": None if fault is None else {"code": fault.code, "sentence": fault.sentence[:MAX_SENTENCE]},
        "alerts": [
            {name: each[name] for name in ("reason", "pattern", "first_at")}
            for each in status["alerts"][:MAX_ALERTS]
        ],
        "counters": {"dropped_total": sum(status["counters"]["dropped"].values())},
    }


def ruleset_sha256(ruleset: Ruleset) -> str:
    """A fingerprint of the structure that `verified` compared the kernel's listing with."""
    return hashlib.sha256(table_text(expected_table(ruleset)).encode()).hexdigest()


def table_text(table: ObservedTable) -> str:
    """Chains with their rules and sets with their shapes, one a line, in a fixed order."""
    lines = [f"set {name} {shape}" for name, shape in sorted(table.sets.items())]
    for name, chain in sorted(table.chains.items()):
        lines.append(f"chain {name} {chain.hook} {chain.priority} {chain.policy}")
        lines += chain.rules
    return "\n".join(lines)
