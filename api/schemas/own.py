"""Requests and answers of our own routes, beside Microsoft's."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.action import ActionOut
from api.schemas.text import StoredText


class BulkBody(BaseModel):
    """Isolate or release many machines by explicit ids."""

    model_config = ConfigDict(strict=True)
    MachineIds: list[str] = Field(max_length=1000)
    Comment: StoredText
    Release: bool = Field(default=False, description="release instead of isolate")
    IsolationType: Literal["Full", "Selective"] = "Full"
    DryRun: bool = Field(default=False, description="judge everything, order nothing")
    ExternalId: StoredText | None = Field(default=None, max_length=255)
    Title: StoredText | None = Field(default=None, max_length=255)
    Overrides: list[Literal["cap", "tag", "own_host"]] = Field(default_factory=list)


class BulkOne(BaseModel):
    """What became of one machine."""

    machineId: str  # noqa: N815 - the API's own spelling, here and below
    outcome: Literal["ordered", "would_be_ordered", "refused"]
    action: ActionOut | None = None
    error: dict[str, Any] | None = None


class BulkOut(BaseModel):
    """What became of each machine, in the order they were named."""

    dryRun: bool  # noqa: N815
    ordered: int
    refused: int
    results: list[BulkOne]


class GroupBody(BaseModel):
    """A new group."""

    name: StoredText


class GroupOut(BaseModel):
    """A group and how many machines it has."""

    id: int
    name: str
    machines: int


class PlaceBody(BaseModel):
    """Where a machine belongs; null takes it out of every group."""

    model_config = ConfigDict(strict=True)
    groupId: int | None = Field(ge=1, le=2**31 - 1)  # noqa: N815


class TagsBody(BaseModel):
    """All tags a machine shall have."""

    tags: list[str] = Field(max_length=100)


class TagBody(BaseModel):
    """One tag to add or to remove, as Microsoft's call has it."""

    model_config = ConfigDict(strict=True)
    Value: str = Field(min_length=1, max_length=100)
    Action: Literal["Add", "Remove"]


class ExclusionBody(BaseModel):
    """A new exclusion; the keys of agent.yaml's `exclusions`."""

    model_config = ConfigDict(strict=True)
    name: str = Field(max_length=64)
    direction: Literal["out", "in"]
    remote: str = Field(max_length=300, description="address, network, name or *.suffix")
    port: int | None = Field(default=None, ge=1, le=65_535)
    protocol: Literal["tcp", "udp"] = "tcp"
    process: dict[str, int] | None = Field(default=None, description="{'uid': 1000}")
    groupId: int | None = Field(default=None, ge=1, le=2**31 - 1)  # noqa: N815


class ExclusionOut(BaseModel):
    """An exclusion."""

    id: str
    name: str
    direction: str
    remote: str
    port: int | None
    protocol: str
    process: dict[str, int] | None
    groupId: int | None  # noqa: N815
    createdBy: str  # noqa: N815
    createdDateTimeUtc: str  # noqa: N815


class ListOut(BaseModel):
    """A shipped list."""

    name: str
    id: str
    version: str
    entries: int
    cloud: str


class InForceOut(BaseModel):
    """A list version and how many isolated machines report it."""

    id: str
    version: str
    machines: int


class ListsOut(BaseModel):
    """What is shipped and what is in force."""

    shipped: list[ListOut]
    inForce: list[InForceOut]  # noqa: N815


class PreflightOut(BaseModel):
    """A connectivity report in short."""

    id: str
    hostname: str
    receivedDateTimeUtc: str  # noqa: N815
    receivedFrom: str  # noqa: N815
    listId: str  # noqa: N815
    reachable: int
    blocked: int
    degraded: int
    notProbeable: int  # noqa: N815
    unexplained: int


class PreflightDetail(PreflightOut):
    """The same with the report as it came."""

    report: dict[str, Any]


class AuditOut(BaseModel):
    """One row of the audit log."""

    seq: int
    content: dict[str, Any]
    previous: str
    hash: str


class AuditPage(BaseModel):
    """Rows after a number."""

    value: list[AuditOut]
    next: int | None = Field(description="ask with ?after= this; null at the end")


class ChainOut(BaseModel):
    """Whether the chain is whole."""

    whole: bool
    rows: int
    head: str
    brokenSeq: int | None  # noqa: N815
    reason: str
