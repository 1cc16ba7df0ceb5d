"""A check-in as a value, and what its report means for the machine's action. Pure.

What an agent sends is signed, yet not trusted: a host under attack signs whatever the attacker likes. So
everything is bounded and typed here, before it gets near the database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.core.action_state import ActionEvent
from api.core.canonical import canonical_bytes

STATES = ("connected", "isolating", "isolated", "releasing")
SETTLED = frozenset({"connected", "isolated"})
NOT_IN_FORCE = "not_in_force"
"""Error of an action whose order was obeyed without effect."""
MAX_SEQUENCE = 2**53 - 1
"""The largest whole number that every JSON reader holds exactly."""
MAX_GENERATION = 2**31 - 1
MAX_NAME = 255
MAX_DEPTH = 32
"""How deep a check-in may nest. What is only just within one reader's limits breaks the next one."""
MAX_ALERTS = 16
"""Alerts of one report that are looked at."""
PAST_INCARNATIONS = 32
"""How many earlier runs of an agent are remembered."""

_INCARNATION = re.compile(r"[0-9a-f]{32}")
_NONCE = re.compile(r"[A-Za-z0-9_=-]{8,128}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
"""Control and direction characters: a name must read the same in every log and page."""

VOLATILE = frozenset({"counters", "verified_at", "probe", "repairs", "learned", "queue", "control_channel"})
"""Parts of a report that change by themselves; a report that differs in nothing else is no news."""

FACTS: Mapping[str, type] = {
    "computer_name": str,
    "os_platform": str,
    "version": str,
    "os_build": int,
    "architecture": str,
    "processor": str,
    "ip_addresses": list,
    "agent_version": str,
    "is_controller_host": bool,
}
"""What an agent may say of its host; anything else is left out."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the agent observes of its host."""

    state: str
    isolation_type: str | None
    generation: int
    verified: bool
    error_code: str | None
    error_sentence: str
    document: dict[str, Any]

    @property
    def steady(self) -> dict[str, Any]:
        """The report without what changes by itself."""
        return steady(self.document)


@dataclass(frozen=True, slots=True)
class CheckIn:
    """One check-in, its signature already verified."""

    machine_id: str
    sequence: int
    incarnation: str
    nonce: str
    generation: int
    """The highest order the agent obeyed, or refused for good."""
    wait_s: float
    delivered: int | None
    report: Report
    facts: dict[str, Any] | None = None
    keys_version: int | None = None
    """The set of order keys the agent has; None: it does not say."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the controller wants of the machine, and the action that is under way, if one is."""

    desired: str
    scope: str | None
    generation: int
    action_generation: int | None = None
    delivered: bool = False
    applied: bool = False
    duplicate: bool = False
    """Two holders of the key were seen: nothing counts as verified."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a check-in means for the action under way: its events in order, and the error of a failure."""

    events: tuple[ActionEvent, ...] = ()
    error_code: str = ""
    error_sentence: str = ""
    proves: bool = field(default=False)
    """The report proves the present desired state, or a settled state for the present generation."""


def steady(document: Mapping[str, Any]) -> dict[str, Any]:
    """A report without its volatile parts."""
    found = {name: value for name, value in document.items() if name not in VOLATILE}
    enforcement = found.get("enforcement")
    if isinstance(enforcement, Mapping):
        found["enforcement"] = {name: value for name, value in enforcement.items() if name not in VOLATILE}
    return found


def parse_check_in(document: Mapping[str, Any]) -> CheckIn:
    """The check-in that a signed document holds. ValueError with a sentence for anything odd."""
    _check_depth(document)
    try:
        canonical_bytes(document)  # refuses NaN, infinities and half characters, which no database takes
    except (TypeError, RecursionError) as error:
        raise ValueError(f"the document cannot be kept: {error}") from None
    facts = document.get("facts")
    keys_version = document.get("keys_version")
    return CheckIn(
        machine_id=_text(document, "machine_id"),
        sequence=_whole(document, "sequence", MAX_SEQUENCE),
        incarnation=_matching(document, "incarnation", _INCARNATION),
        nonce=_matching(document, "nonce", _NONCE),
        generation=_whole(document, "generation", MAX_GENERATION),
        wait_s=_seconds(document, "wait_s"),
        delivered=(
            None if document.get("delivered") is None else _whole(document, "delivered", MAX_GENERATION)
        ),
        report=parse_report(document.get("observed")),
        facts=None if facts is None else parse_facts(facts),
        keys_version=None if keys_version is None else _whole(document, "keys_version", MAX_GENERATION),
    )


def parse_report(value: object) -> Report:
    """The report inside a check-in. `verified` may also stand under `enforcement`. ValueError when odd."""
    if not isinstance(value, Mapping):
        raise ValueError("observed must be an object")
    document = _without_nul(value)
    state = document.get("state")
    if state not in STATES:
        raise ValueError(f"observed.state must be one of {', '.join(STATES)}")
    error = document.get("error")
    if error is not None and not isinstance(error, Mapping):
        raise ValueError("observed.error must be an object with code and sentence")
    enforcement = document.get("enforcement")
    verified = document.get("verified")
    if verified is None and isinstance(enforcement, Mapping):
        verified = enforcement.get("verified")
    isolation_type = document.get("isolation_type")
    return Report(
        state=str(state),
        isolation_type=clean(isolation_type, 20).lower() if isinstance(isolation_type, str) else None,
        generation=_whole(document, "generation", MAX_GENERATION),
        verified=verified is True,
        error_code=None if error is None else clean(str(error.get("code") or "unknown"), 60),
        error_sentence="" if error is None else clean(str(error.get("sentence") or ""), 1000),
        document=document,
    )


def alerts_in(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Reason and pattern of each alert that a report holds; empty when it has none, or odd ones."""
    given = document.get("alerts")
    if not isinstance(given, list):
        return ()
    found = {
        (
            clean(str(each.get("reason") or "unknown"), 60),
            clean(str(each.get("pattern") or ""), MAX_NAME),
        ): None
        for each in given[:MAX_ALERTS]
        if isinstance(each, Mapping)
    }
    return tuple(found)


def parse_facts(value: object) -> dict[str, Any]:
    """What is usable of an agent's facts: known names with fitting values; the rest is left out."""
    if not isinstance(value, Mapping):
        raise ValueError("facts must be an object")
    found: dict[str, Any] = {}
    for name, kind in FACTS.items():
        given = value.get(name)
        if not isinstance(given, kind) or (kind is int and isinstance(given, bool)):
            continue
        found[name] = clean(given, MAX_NAME) if isinstance(given, str) else given
    if "os_build" in found and not 0 <= found["os_build"] <= MAX_GENERATION:
        del found["os_build"]
    if "ip_addresses" in found:
        found["ip_addresses"] = [
            {
                "ipAddress": clean(str(each.get("ipAddress") or ""), 45),
                "macAddress": clean(str(each.get("macAddress") or ""), 32),
                "operationalStatus": clean(str(each.get("operationalStatus") or "Up"), 20),
            }
            for each in found["ip_addresses"][:64]
            if isinstance(each, Mapping) and each.get("ipAddress")
        ]
    return found


def parse_name(value: object) -> str:
    """A computer's name as it may be shown and searched. ValueError when nothing is left of it."""
    name = clean(value, MAX_NAME).strip() if isinstance(value, str) else ""
    if not name:
        raise ValueError("computer_name must be a text")
    return name


def clean(text: str, longest: int) -> str:
    """The text without control and direction characters, cut to a length."""
    return _CONTROL.sub("", text)[:longest]


def meaning(check: CheckIn, ordered: Ordered) -> Meaning:
    """What a check-in says of the action under way. A report for a lower generation never verifies."""
    report, wanted = check.report, ordered.action_generation
    current = report.generation == ordered.generation
    matches = (
        current
        and report.state == ordered.desired
        and (ordered.desired != "isolated" or report.isolation_type == ordered.scope)
    )
    proves = current and report.verified and report.state in SETTLED and not ordered.duplicate
    if wanted is None:
        return Meaning(proves=proves)
    events: list[ActionEvent] = []
    had = check.delivered == wanted or check.generation >= wanted or report.generation >= wanted
    if had and not ordered.delivered:
        events.append(ActionEvent.DELIVERED)
    if matches and proves:
        return Meaning((*events, ActionEvent.VERIFIED), proves=True)
    if matches:
        return Meaning((*events, *(() if ordered.applied else (ActionEvent.APPLIED,))))
    # Obeyed or refused for good, with an error, and at rest in another state: it will not come about.
    over = check.generation >= ordered.generation or current
    if over and report.error_code is not None and report.state in SETTLED:
        return Meaning((*events, ActionEvent.FAILED), report.error_code, report.error_sentence, proves=proves)
    if current and check.delivered is None and report.state in SETTLED and report.state != ordered.desired:
        # An agent says that it is done only when it is: nothing is left to wait for.
        sentence = f"the order was obeyed, and yet the device is {report.state}; it gives no reason"
        return Meaning((*events, ActionEvent.FAILED), NOT_IN_FORCE, sentence, proves=proves)
    return Meaning(tuple(events), proves=proves)


@dataclass(frozen=True, slots=True)
class Runs:
    """The run of the agent that was seen last, the ones before it, and whether one came back."""

    incarnation: str
    past: tuple[str, ...]
    came_back: bool = False


def follow_runs(incarnation: str, past: tuple[str, ...], seen: str) -> Runs:
    """A new run after an old one is a restart; an old one that comes back has two holders of the key."""
    if seen == incarnation:
        return Runs(incarnation, past)
    earlier = tuple(each for each in (incarnation, *past) if each and each != seen)[:PAST_INCARNATIONS]
    return Runs(seen, earlier, came_back=seen in past)


def _check_depth(document: object) -> None:
    """ValueError when it nests deeper than MAX_DEPTH; without recursion, which is what is guarded here."""
    level: list[object] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, (Mapping, list))
            for inner in (each.values() if isinstance(each, Mapping) else each)
        ]
        if not level:
            return
    raise ValueError(f"the document cannot be kept: it nests deeper than {MAX_DEPTH}")


def _without_nul(value: Mapping[str, Any]) -> dict[str, Any]:
    """PostgreSQL's JSON holds no NUL; the agent has no reason to send one."""
    if b"\\u0000" in canonical_bytes(value):
        raise ValueError("a text holds a NUL character")
    return dict(value)


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text")
    return value


def _matching(document: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = _text(document, name)
    if not pattern.fullmatch(value):
        raise ValueError(f"{name} does not have the form {pattern.pattern}")
    return value


def _whole(document: Mapping[str, Any], name: str, largest: int) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ValueError(f"{name} must be a whole number from 0 to {largest}")
    return value


def _seconds(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 3600:
        raise ValueError(f"{name} must be a number of seconds")
    return float(value)
