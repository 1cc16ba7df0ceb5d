"""The one shape of every refusal, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from api.problems import CODES

ENVELOPE: dict[str, Any] = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "target"],
            "properties": {
                "code": {"type": "string", "enum": sorted(CODES)},
                "message": {"type": "string"},
                "target": {
                    "type": "string",
                    "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
                    "description": "a GUID that is also in the controller's log",
                },
            },
        }
    },
}
"""JSON Schema of the envelope; further members of `error` may come with some codes."""


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these statuses by name, and any other refusal as `default`."""
    described: dict[int | str, str] = {
        status: ", ".join(code for code in CODES if CODES[code] == status) for status in statuses
    }
    described["default"] = "Any other refusal"
    content = {"application/json": {"schema": ENVELOPE}}
    return {status: {"description": text, "content": content} for status, text in described.items()}
