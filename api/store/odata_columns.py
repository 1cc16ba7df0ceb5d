"""Which property of the API is which column: machines and machine actions, as `api.schemas` writes them.

A filter must find what the answer shows, so every expression here says in SQL what `machine_out` and
`action_out` say in Python; a test holds them together. Other tables are asked in
subqueries: whoever selects needs no join.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, Text, and_, case, false, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from api.core.odata_ast import OrderKey, Path
from api.store.odata_dialect import Column, Dialect, Elements
from api.store.odata_sql import Kind, Properties, Property, Resource
from api.store.tables import Action, Group, Machine

INACTIVE_AFTER = timedelta(days=7)
"""Silent for longer, Microsoft calls a device Inactive."""


def machine_properties(dialect: Dialect, now: datetime) -> Properties:
    """The properties of a machine; `now` decides what is Active."""
    return Properties(
        "machines",
        (
            *_machine_itself(now),
            *_machine_facts(dialect),
            *_machine_constants(),
            *_machine_observed(),
            Property("machineTags", Kind.LIST, elements=lambda: dialect.elements(_of(Machine.tags))),
            Property(
                "ipAddresses",
                Kind.LIST,
                elements=lambda: _filled(dialect.elements(_of(Machine.facts), "ip_addresses")),
                members=dict.fromkeys(("ipAddress", "macAddress", "type", "operationalStatus"), Kind.NAME),
            ),
        ),
    )


def _filled(elements: Elements) -> Elements:
    """The same, with empty texts as null: so the answer shows them."""
    return replace(elements, member=lambda name: func.nullif(elements.member(name), ""))


def _of(attribute: InstrumentedAttribute[Any]) -> Column:
    """A mapped attribute as the column expression it is."""
    return attribute.expression


def _name(name: str, column: Any, *, nullable: bool = False) -> Property:
    return Property(name, Kind.NAME, column, nullable)


def _constant(text: str) -> Column:
    return literal(text, Text())


def _machine_itself(now: datetime) -> tuple[Property, ...]:
    group = aliased(Group)
    group_name = select(group.name).where(group.id == Machine.group_id).correlate(Machine).scalar_subquery()
    onboarded = case(
        (Machine.unenrolled_at.is_(None), _constant("Onboarded")), else_=_constant("CanBeOnboarded")
    )
    active = case(
        (Machine.last_seen > now - INACTIVE_AFTER, _constant("Active")), else_=_constant("Inactive")
    )
    return (
        Property("id", Kind.NAME, _of(Machine.id), small=True),
        Property("isPotentialDuplication", Kind.BOOLEAN, Machine.duplicate_since.is_not(None)),
        Property("isExcluded", Kind.BOOLEAN, Machine.excluded_reason.is_not(None)),
        Property("exclusionReason", Kind.TEXT, _of(Machine.excluded_reason), nullable=True),
        _name("computerDnsName", _of(Machine.computer_name)),
        Property("firstSeen", Kind.INSTANT, _of(Machine.first_seen)),
        Property("lastSeen", Kind.INSTANT, _of(Machine.last_seen)),
        _name("osPlatform", func.nullif(Machine.os_platform, ""), nullable=True),
        _name("onboardingStatus", onboarded),
        _name("lastIpAddress", _of(Machine.last_ip), nullable=True),
        _name("lastExternalIpAddress", _of(Machine.external_ip), nullable=True),
        _name("agentVersion", func.nullif(Machine.agent_version, ""), nullable=True),
        _name("healthStatus", active),
        _name("deviceValue", _of(Machine.device_value)),
        Property("rbacGroupId", Kind.NUMBER, func.coalesce(Machine.group_id, 0)),
        Property("rbacGroupName", Kind.TEXT, group_name, nullable=True),
        _name("isolationState", _of(Machine.desired)),
    )


def _machine_facts(dialect: Dialect) -> tuple[Property, ...]:
    facts = _of(Machine.facts)

    def text(key: str) -> Column:
        return func.nullif(dialect.text_member(facts, key), "")

    return (
        _name("osProcessor", text("processor"), nullable=True),
        _name("version", text("version"), nullable=True),
        Property("osBuild", Kind.NUMBER, dialect.integer_member(facts, "os_build"), nullable=True),
        _name("osArchitecture", text("architecture"), nullable=True),
    )


def _machine_constants() -> tuple[Property, ...]:
    """What Microsoft's machine has and ours always answers alike; a filter on it must work nevertheless."""
    nothing = literal(None, Text())
    return (
        _name("mergedIntoMachineId", nothing, nullable=True),
        _name("riskScore", _constant("None")),
        _name("exposureLevel", _constant("None")),
        Property("isAadJoined", Kind.BOOLEAN, false()),
        _name("aadDeviceId", nothing, nullable=True),
        _name("managedBy", _constant("Unknown")),
        _name("managedByStatus", _constant("Unknown")),
        Property("vmMetadata", Kind.NESTED),
    )


def _machine_observed() -> tuple[Property, ...]:
    verified = and_(Machine.verified_at.is_not(None), Machine.observed_generation == Machine.generation)
    return (
        Property("observed", Kind.NESTED),
        _name("observed/state", _of(Machine.observed_state)),
        Property("observed/generation", Kind.NUMBER, _of(Machine.observed_generation)),
        Property("observed/verified", Kind.BOOLEAN, verified),
        Property("observed/verifiedAt", Kind.INSTANT, _of(Machine.verified_at), nullable=True),
        Property("observed/reportedAt", Kind.INSTANT, _of(Machine.observed_at), nullable=True),
    )


_ERROR_FAILED = 0x80004005 - 2**32
"""HRESULT E_FAIL, as `errorHResult` has it."""


def action_properties(_dialect: Dialect, _now: datetime) -> Properties:
    """The properties of a machine action; nothing of it is in JSON, so both dialects have the same."""
    machine = aliased(Machine)
    computer = select(machine.computer_name).where(machine.id == Action.machine_id)
    failed = case((Action.status == "Failed", literal(_ERROR_FAILED, Integer())), else_=literal(0, Integer()))
    instants = {
        "creationDateTimeUtc": (Action.created_at, False),
        "lastUpdateDateTimeUtc": (Action.updated_at, False),
        "lastUpdateTimeUtc": (Action.updated_at, False),
        "cancellationDateTimeUtc": (Action.cancelled_at, True),
        "deliveredDateTimeUtc": (Action.delivered_at, True),
        "appliedDateTimeUtc": (Action.applied_at, True),
        "verifiedDateTimeUtc": (Action.verified_at, True),
    }
    return Properties(
        "machine actions",
        (
            Property("id", Kind.NAME, _of(Action.id), small=True),
            _name("type", _of(Action.type)),
            Property("title", Kind.TEXT, _of(Action.title), nullable=True),
            _name("requestor", _of(Action.requestor)),
            Property("requestorComment", Kind.TEXT, _of(Action.comment)),
            _name("status", _of(Action.status)),
            Property("machineId", Kind.NAME, _of(Action.machine_id), small=True),
            _name("computerDnsName", computer.correlate(Action).scalar_subquery()),
            *(Property(name, Kind.INSTANT, _of(at), null) for name, (at, null) in instants.items()),
            _name("cancellationRequestor", _of(Action.cancelled_by), nullable=True),
            Property("cancellationComment", Kind.TEXT, _of(Action.cancel_comment), nullable=True),
            Property("errorHResult", Kind.NUMBER, failed),
            _name("scope", _of(Action.scope), nullable=True),
            Property("externalId", Kind.TEXT, _of(Action.external_id), nullable=True),
            _name("requestSource", _of(Action.request_source)),
            Property("generation", Kind.NUMBER, _of(Action.generation)),
            Property("failure", Kind.TEXT, _of(Action.error_text), nullable=True),
            Property("relatedFileInfo", Kind.NESTED),
            Property("commands", Kind.NESTED),
            Property("troubleshootInfo", Kind.NESTED),
        ),
    )


MACHINES = Resource(machine_properties, (OrderKey(Path(("firstSeen",)), descending=True),))
"""Newest first. Not by lastSeen: it changes with every check-in, and paging by it would lose machines."""
ACTIONS = Resource(action_properties, (OrderKey(Path(("creationDateTimeUtc",)), descending=True),))
"""Newest first."""
