"""Requests and answers about how machines come and go: enrolment tokens, leaving machines, release files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.text import StoredText


class TokenBody(BaseModel):
    """A new enrolment token."""

    model_config = ConfigDict(strict=True)
    uses: int = Field(default=1, ge=1, le=100_000, description="machines that may come in by it")
    lastsSeconds: int = Field(default=86_400, ge=1, le=366 * 86_400)  # noqa: N815 - the API's own spelling, here and below
    groupId: int | None = Field(default=None, ge=1, le=2**31 - 1)  # noqa: N815


class TokenOut(BaseModel):
    """An enrolment token without its text."""

    id: str
    hint: str = Field(description="its first characters")
    groupId: int | None  # noqa: N815
    usesLeft: int  # noqa: N815
    uses: int
    createdBy: str  # noqa: N815
    createdDateTimeUtc: str  # noqa: N815
    expiresDateTimeUtc: str  # noqa: N815
    revokedDateTimeUtc: str | None  # noqa: N815


class NewTokenOut(TokenOut):
    """A token just made."""

    token: str = Field(description="its text; shown here and never again")


class LeaveBody(BaseModel):
    """What lets a machine go from the controller."""

    model_config = ConfigDict(strict=True)
    Comment: StoredText
    Force: bool = Field(default=False, description="although it is isolated or an action is under way")


class ForcedReleaseBody(BaseModel):
    """What makes a release file."""

    model_config = ConfigDict(strict=True)
    Comment: StoredText
    LastsSeconds: int = Field(
        default=86_400, ge=1, le=30 * 86_400, description="how long the file is good for"
    )


class EnvelopeOut(BaseModel):
    """A signed document, exactly as the device reads it; save the body as the file."""

    payload: str
    key_id: str
    signature: str
