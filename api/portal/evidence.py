"""An agent's report as the pages show it. It came from a host that may be compromised: any shape is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.portal.rendering import as_instant

MAX_ROWS = 200
"""Lists and names that are shown at most; the rest is counted."""

Rows = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent said of its host."""

    state: str = "unknown"
    scope: str = ""
    generation: int | None = None
    verified: bool = False
    verified_at: datetime | None = None
    since: datetime | None = None
    expires_at: datetime | None = None
    ruleset: str = ""
    """SHA-256 of the ruleset as read back from the kernel."""
    control_ok: bool | None = None
    control_endpoints: tuple[str, ...] = ()
    outside_ok: bool | None = None
    """Whether the probe to a destination that must be closed got through; None: not probed."""
    backend: str = ""
    layers: tuple[str, ...] = ()
    repairs: int | None = None
    dropped: int | None = None
    lists: Rows = ()
    learned: Rows = ()
    learned_more: int = 0
    error_code: str = ""
    error_sentence: str = ""


def read_report(document: object) -> Report | None:
    """The report as far as it makes sense; None when there is none."""
    if not isinstance(document, Mapping):
        return None
    enforcement, error = _part(document, "enforcement"), _part(document, "error")
    probe, counters = _part(document, "probe"), _part(document, "counters")
    control = _part(probe, "control_channel") or _part(document, "control_channel")
    learned = _rows(document.get("learned"))
    return Report(
        state=_text(document.get("state")) or "unknown",
        scope=_text(document.get("isolation_type")),
        generation=_whole(document.get("generation")),
        verified=document.get("verified", enforcement.get("verified")) is True,
        verified_at=as_instant(document.get("verified_at", enforcement.get("verified_at"))),
        since=as_instant(document.get("since")),
        expires_at=as_instant(document.get("expires_at")),
        ruleset=_text(document.get("ruleset_sha256")),
        control_ok=_truth(control.get("ok")),
        control_endpoints=_texts(control.get("endpoints")),
        outside_ok=_truth(_part(probe, "outside").get("ok")),
        backend=_text(enforcement.get("backend")),
        layers=_texts(enforcement.get("layers")),
        repairs=_whole(document.get("repairs", enforcement.get("repairs"))),
        dropped=_whole(counters.get("dropped_total")),
        lists=_rows(document.get("lists"))[:MAX_ROWS],
        learned=learned[:MAX_ROWS],
        learned_more=max(0, len(learned) - MAX_ROWS),
        error_code=_text(error.get("code")),
        error_sentence=_text(error.get("sentence")),
    )


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value[:500] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return (
        tuple(_text(each) for each in value[:50] if isinstance(each, str)) if isinstance(value, list) else ()
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _truth(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _rows(value: object) -> Rows:
    if not isinstance(value, list):
        return ()
    return tuple(
        {str(key): shown for key, shown in each.items() if isinstance(shown, str | int | float)}
        for each in value
        if isinstance(each, Mapping)
    )
