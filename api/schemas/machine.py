"""A machine as Microsoft's API shows it, with our `isolationState` and `observed` beside.

Source: learn.microsoft.com/defender-endpoint/api/machine.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field

from api.core.instant import render_instant
from api.store.tables import Machine

INACTIVE_AFTER = timedelta(days=7)
"""Silent for longer, Microsoft calls a device Inactive."""


class IpAddress(BaseModel):
    """One address of a device."""

    ipAddress: str | None = None  # noqa: N815 - the API's own spelling
    macAddress: str | None = None  # noqa: N815
    type: str | None = None
    operationalStatus: str | None = None  # noqa: N815


class Observed(BaseModel):
    """What the agent last reported, as opposed to what was ordered."""

    state: str = Field(description="connected, isolating, isolated, releasing or unknown")
    generation: int = Field(description="the order that the report speaks of")
    verified: bool = Field(description="the agent read the kernel back and found just this state")
    verifiedAt: str | None = None  # noqa: N815
    reportedAt: str | None = None  # noqa: N815
    lists: list[dict[str, Any]] = Field(default_factory=list, description="which list version is in force")


class MachineOut(BaseModel):
    """A machine."""

    id: str
    mergedIntoMachineId: str | None = None  # noqa: N815
    isPotentialDuplication: bool  # noqa: N815
    isExcluded: bool  # noqa: N815
    exclusionReason: str | None  # noqa: N815
    computerDnsName: str  # noqa: N815
    firstSeen: str  # noqa: N815
    lastSeen: str  # noqa: N815
    osPlatform: str | None  # noqa: N815
    onboardingStatus: str  # noqa: N815
    osProcessor: str | None  # noqa: N815
    version: str | None
    osBuild: int | None  # noqa: N815
    osArchitecture: str | None  # noqa: N815
    lastIpAddress: str | None  # noqa: N815
    lastExternalIpAddress: str | None  # noqa: N815
    agentVersion: str | None  # noqa: N815
    healthStatus: str  # noqa: N815
    deviceValue: str  # noqa: N815
    rbacGroupId: int  # noqa: N815
    rbacGroupName: str | None  # noqa: N815
    riskScore: str = "None"  # noqa: N815
    exposureLevel: str = "None"  # noqa: N815
    isAadJoined: bool = False  # noqa: N815
    aadDeviceId: str | None = None  # noqa: N815
    machineTags: list[str]  # noqa: N815
    managedBy: str = "Unknown"  # noqa: N815
    managedByStatus: str = "Unknown"  # noqa: N815
    ipAddresses: list[IpAddress]  # noqa: N815
    vmMetadata: dict[str, Any] | None = None  # noqa: N815
    isolationState: str = Field(description="what is ordered: connected or isolated")  # noqa: N815
    observed: Observed


def machine_out(machine: Machine, group_name: str | None, now: datetime) -> MachineOut:
    """The machine's row in the API's words. `group_name` is that of its group, None without one."""
    facts = machine.facts
    return MachineOut(
        id=machine.id,
        isPotentialDuplication=machine.duplicate_since is not None or machine.same_name_as is not None,
        isExcluded=machine.excluded_reason is not None,
        exclusionReason=machine.excluded_reason,
        computerDnsName=machine.computer_name,
        firstSeen=_instant(machine.first_seen),
        lastSeen=_instant(machine.last_seen),
        osPlatform=machine.os_platform or None,
        onboardingStatus="Onboarded" if machine.unenrolled_at is None else "CanBeOnboarded",
        osProcessor=_text(facts.get("processor")),
        version=_text(facts.get("version")),
        osBuild=facts.get("os_build") if isinstance(facts.get("os_build"), int) else None,
        osArchitecture=_text(facts.get("architecture")),
        lastIpAddress=machine.last_ip,
        lastExternalIpAddress=machine.external_ip,
        agentVersion=machine.agent_version or None,
        healthStatus="Active" if now - machine.last_seen < INACTIVE_AFTER else "Inactive",
        deviceValue=machine.device_value,
        rbacGroupId=machine.group_id or 0,
        rbacGroupName=group_name,
        machineTags=[str(each) for each in machine.tags],
        ipAddresses=_addresses(facts.get("ip_addresses")),
        isolationState=machine.desired,
        observed=observed_of(machine),
    )


def observed_of(machine: Machine) -> Observed:
    """What was seen of the machine; `verified` only for the order that is in force now."""
    lists = (machine.observed or {}).get("lists")
    return Observed(
        state=machine.observed_state,
        generation=machine.observed_generation,
        verified=machine.verified_at is not None and machine.observed_generation == machine.generation,
        verifiedAt=render_instant(machine.verified_at),
        reportedAt=render_instant(machine.observed_at),
        lists=[each for each in lists if isinstance(each, dict)] if isinstance(lists, list) else [],
    )


def _instant(at: datetime) -> str:
    text = render_instant(at)
    assert text is not None
    return text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _addresses(value: object) -> list[IpAddress]:
    if not isinstance(value, list):
        return []
    names = IpAddress.model_fields
    return [
        IpAddress(**{name: _text(each.get(name)) for name in names})
        for each in value
        if isinstance(each, dict)
    ]
