"""The agent's answers to `status` and `explain` as JSON values (keys are stable, see the interfaces)."""

from __future__ import annotations

from typing import Any

from isolator.core.compiler import compile_policy
from isolator.model.event import Alert, Refusal
from isolator.model.flow import LearnedAddress
from isolator.model.order import HostState, IsolationOrder
from isolator.model.ruleset import ObservedTable
from isolator.model.verdict import Reason
from isolator.service.controller import Controller
from isolator.service.destination import parse_destination
from isolator.service.explain import Explanation, Rules, explain
from isolator.service.policy_builder import build_policy
from isolator.service.refusals import about

DROPPING = frozenset(
    {
        Reason.NOT_LISTED,
        Reason.INBOUND_NOT_LISTED,
        Reason.FORWARDED,
        Reason.FRAGMENT,
        Reason.IP_OPTIONS,
        Reason.DNS_UNJUDGED,
        Reason.FLOW_UNJUDGED,
        Reason.QUIC_REFUSED,
        Reason.RESOLVER_NOT_APPROVED,
    }
)
"""Kernel counters of packets that did not pass."""

GATE_PASSING = frozenset(
    {
        Reason.DNS_NAME_ALLOWED,
        Reason.DNS_ANSWER_LEARNED,
        Reason.DNS_ANSWER_EMPTY,
        Reason.HANDSHAKE,
        Reason.FLOW_CLOSED,
        Reason.FIRST_BYTES_HELD,
        Reason.TLS_NAME_ALLOWED,
        Reason.HTTP_HOST_ALLOWED,
        Reason.PROXY_TARGET_ALLOWED,
        Reason.LISTED_NETWORK,
        Reason.EXCLUSION,
    }
)
"""Gate counters of packets that passed, or waited for more; the others were dropped or answered here."""

LAYERS = ("inet input", "inet output", "inet forward", "dns gate", "name gate")


def status(controller: Controller, *, just_verified: bool = False) -> dict[str, Any]:
    """State, enforcement as read back from the kernel, learned names and counters.

    The kernel is asked now, or was by the order that ended this instant (`just_verified`).
    """
    isolation = controller.isolation
    refused, forgotten = controller.gate.refusals()
    observed = controller.enforcement.listing if just_verified else controller.enforcement.observe()
    verified = False
    if just_verified and controller.state is HostState.ISOLATED:
        verified = controller.enforcement.verified_at is not None
    elif controller.state is HostState.ISOLATED and controller.ruleset is not None:
        verified = observed is not None and not controller.enforcement.verify(controller.ruleset, observed)
    elif controller.state is HostState.CONNECTED:
        verified = observed is None
    return {
        "state": controller.state.value,
        "isolation_type": isolation.order.scope.value if isolation else None,
        "comment": isolation.order.comment if isolation else None,
        "lists": [
            {"id": each.id, "version": each.version, "entries": each.entries}
            for each in (isolation.lists if isolation else ())
        ],
        "since": isolation.since if isolation else None,
        "expires_at": controller.expires_at(isolation) if isolation else None,
        "generation": controller.generation,
        "enforcement": {
            "backend": controller.outside.backend.name,
            "layers": list(LAYERS) if controller.state is HostState.ISOLATED else [],
            "verified": verified,
            "verified_at": controller.enforcement.verified_at,
            "repairs": controller.enforcement.repairs,
        },
        "control_channel": {
            "ok": controller.control_ok,
            "endpoints": [str(each) for each in (isolation.policy.control if isolation else ())],
        },
        "learned": _learned(controller),
        "inherited": _inherited(controller),
        "alerts": [_alert(each) for each in controller.gate.alerts()],
        "refused": [_refusal(each) for each in refused],
        "refused_forgotten": forgotten,
        "counters": _counters(controller, observed),
        "queue": dict(controller.outside.queue.statistics()),
        "flow_queue": dict(controller.outside.flow_queue.statistics()),
    }


def _learned(controller: Controller) -> list[dict[str, Any]]:
    if controller.state is not HostState.ISOLATED:
        return []
    now = controller.outside.clock.boottime()
    return [
        {
            "name": each.name,
            "address": str(each.destination.address),
            "port": each.destination.port,
            "entry": each.entry,
            "expires_in_s": max(0, round(each.expires_at - now)),
        }
        for each in controller.gate.learned(now)
    ]


def _inherited(controller: Controller) -> list[dict[str, Any]]:
    """Addresses that an agent before this one had learned: for which entry is known, the name is not."""
    now = controller.outside.clock.boottime()
    return [
        {
            "address": str(each.destination.address),
            "port": each.destination.port,
            "entry": each.entry,
            "expires_in_s": max(0, round(each.expires_at - now)),
        }
        for each in _taken_over(controller, now)
    ]


def _taken_over(controller: Controller, now: float) -> list[LearnedAddress]:
    """What was taken over and not learned again since, with its entry's pattern for a name."""
    inherited = controller.enforcement.inherited.doors
    if controller.isolation is None or not inherited:
        return []
    patterns = {entry.id: entry.pattern for entry in controller.isolation.policy.entries}
    known = {(each.destination, each.entry) for each in controller.gate.learned(now)}
    return [
        LearnedAddress(door, patterns.get(entry, ""), entry, until)
        for door, purposes in inherited.items()
        for entry, until in purposes.items()
        if until >= now and (door, entry) not in known
    ]


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "reason": alert.reason.value,
        "entry": alert.entry,
        "pattern": alert.pattern,
        "count": alert.count,
        "first_at": alert.first_at,
        "last_at": alert.last_at,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "reason": refusal.reason.value,
        "name": refusal.name,
        "destination": str(refusal.destination),
        "entry": refusal.entry,
        "count": refusal.count,
        "first_at": refusal.first_at,
        "last_at": refusal.last_at,
    }


def _counters(controller: Controller, observed: ObservedTable | None) -> dict[str, dict[str, int]]:
    accepted: dict[str, int] = {}
    dropped: dict[str, int] = {}
    for name, count in sorted((observed.counters if observed else {}).items()):
        known = name in Reason._value2member_map_
        (dropped if not known or Reason(name) in DROPPING else accepted)[name] = count
    for reason, count in controller.gate.counters().items():
        counted = accepted if reason in GATE_PASSING else dropped
        counted[reason.value] = counted.get(reason.value, 0) + count
    return {"accepted": accepted, "dropped": dropped}


def explanation(controller: Controller, text: str) -> dict[str, Any]:
    """The verdict now, and what it would be under isolation when the host is connected."""
    asked = parse_destination(text)
    inside = controller.state is HostState.ISOLATED
    found = explain(_rules(controller), asked)
    shown = _shown(found)
    if inside:
        refused = about(controller.gate.refusals()[0], asked)
        return {
            "destination": text,
            "state": controller.state.value,
            "during": "isolation",
            **shown,
            "refused": [_refusal(each) for each in refused],
        }
    return {
        "destination": text,
        "state": controller.state.value,
        "during": "not isolated",
        "verdict": "accept",
        "reason": Reason.NOT_ISOLATED.value,
        "rule": None,
        "entry": None,
        "sentence": f"the host is not isolated; if it were: {found.sentence}",
        "if_isolated": shown,
        "refused": [],
    }


def _shown(found: Explanation) -> dict[str, Any]:
    return {
        "verdict": found.verdict.value,
        "reason": found.reason.value,
        "rule": found.rule,
        "entry": found.entry,
        "pattern": found.pattern,
        "addresses": list(found.addresses),
        "sentence": found.sentence,
        "first_bytes": [
            {"at": each.at, "how": each.how.value, "sentence": each.sentence, "through": each.through}
            for each in found.first_bytes
        ],
    }


def _rules(controller: Controller) -> Rules:
    """The isolation in force, or the one that the configuration would give now."""
    facts = controller.outside.inspector.facts()
    now = controller.outside.clock.boottime()
    if controller.isolation is not None and controller.ruleset is not None:
        learned = (*controller.gate.learned(now), *_taken_over(controller, now))
        return Rules(controller.isolation.policy, controller.ruleset, learned, facts.own_addresses, now)
    config = controller.load_config()
    order = IsolationOrder(lists=config.lists, geo=config.geo, profile=config.profile)
    policy = build_policy(order, config, facts, controller.load_list).policy
    return Rules(policy, compile_policy(policy, 0), (), facts.own_addresses, now)
