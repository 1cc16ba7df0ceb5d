"""The one shape of every refusal, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.problems import CODES


class ErrorOut(BaseModel):
    """What was wrong."""

    model_config = ConfigDict(extra="allow")
    code: str = Field(json_schema_extra={"enum": [*sorted(CODES)]})
    message: str
    target: str = Field(
        description="a GUID that is also in the controller's log", min_length=36, max_length=36
    )


class EnvelopeOut(BaseModel):
    """Every refusal."""

    error: ErrorOut


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these statuses by name, and any other refusal as `default`."""
    named = {status: ", ".join(code for code in CODES if CODES[code] == status) for status in statuses}
    return {
        **{status: {"model": EnvelopeOut, "description": codes} for status, codes in named.items()},
        "default": {"model": EnvelopeOut, "description": "Any other refusal"},
    }
