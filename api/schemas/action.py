"""Machine actions: what callers send and what they get back.

Source: learn.microsoft.com/defender-endpoint/api/machineaction and .../isolate-machine.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.core.instant import render_instant
from api.schemas.text import StoredText
from api.store.tables import Action

_ERROR_FAILED = 0x80004005 - 2**32
"""HRESULT E_FAIL as a signed number: what `errorHResult` says of an action that failed."""


class IsolateBody(BaseModel):
    """What isolates a machine. Names are case-sensitive; others than these are ignored."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"example": {"Comment": "ransomware on this host"}}
    )
    Comment: StoredText = Field(description="why; kept in the audit log")
    IsolationType: Literal["Full", "Selective", "UnManagedDevice"] = "Full"
    ExternalId: StoredText | None = Field(default=None, max_length=255)
    RequestSource: StoredText | None = Field(default=None, max_length=50)
    Title: StoredText | None = Field(default=None, max_length=255)
    Overrides: list[Literal["cap", "tag", "own_host"]] = Field(
        default_factory=list, description="safeguards to pass on purpose (administrators); audited"
    )


class CommentBody(BaseModel):
    """What releases a machine or cancels an action."""

    model_config = ConfigDict(strict=True)
    Comment: StoredText
    ExternalId: StoredText | None = Field(default=None, max_length=255)
    RequestSource: StoredText | None = Field(default=None, max_length=50)
    Title: StoredText | None = Field(default=None, max_length=255)


class ActionOut(BaseModel):
    """A machine action."""

    id: str
    type: str
    title: str | None
    requestor: str
    requestorComment: str  # noqa: N815 - the API's own spelling, here and below
    status: str
    machineId: str  # noqa: N815
    computerDnsName: str  # noqa: N815
    creationDateTimeUtc: str  # noqa: N815
    lastUpdateDateTimeUtc: str  # noqa: N815
    lastUpdateTimeUtc: str  # noqa: N815
    cancellationRequestor: str | None  # noqa: N815
    cancellationComment: str | None  # noqa: N815
    cancellationDateTimeUtc: str | None  # noqa: N815
    errorHResult: int  # noqa: N815
    scope: str | None
    externalId: str | None  # noqa: N815
    requestSource: str  # noqa: N815
    relatedFileInfo: dict[str, Any] | None = None  # noqa: N815
    commands: list[Any] = Field(default_factory=list)
    troubleshootInfo: dict[str, Any] | None = None  # noqa: N815
    generation: int = Field(description="ours: the number of the signed order")
    deliveredDateTimeUtc: str | None = Field(description="ours: the agent has the order")  # noqa: N815
    appliedDateTimeUtc: str | None = Field(description="ours: the host is in the state")  # noqa: N815
    verifiedDateTimeUtc: str | None = Field(description="ours: read back and proven")  # noqa: N815
    failure: str | None = Field(description="ours: why it failed, in one sentence")


def action_out(action: Action, computer_name: str) -> ActionOut:
    """The action's row in the API's words."""
    updated = render_instant(action.updated_at) or ""
    return ActionOut(
        id=action.id,
        type=action.type,
        title=action.title,
        requestor=action.requestor,
        requestorComment=action.comment,
        status=action.status,
        machineId=action.machine_id,
        computerDnsName=computer_name,
        creationDateTimeUtc=render_instant(action.created_at) or "",
        lastUpdateDateTimeUtc=updated,
        lastUpdateTimeUtc=updated,
        cancellationRequestor=action.cancelled_by,
        cancellationComment=action.cancel_comment,
        cancellationDateTimeUtc=render_instant(action.cancelled_at),
        errorHResult=_ERROR_FAILED if action.status == "Failed" else 0,
        scope=action.scope,
        externalId=action.external_id,
        requestSource=action.request_source,
        generation=action.generation,
        deliveredDateTimeUtc=render_instant(action.delivered_at),
        appliedDateTimeUtc=render_instant(action.applied_at),
        verifiedDateTimeUtc=render_instant(action.verified_at),
        failure=action.error_text,
    )
