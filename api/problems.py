"""Errors as Microsoft's API answers them: one envelope, stable codes, a target that finds the log line."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

CODES: dict[str, int] = {
    "BadRequest": 400,
    "InvalidInput": 400,
    "InvalidRequestBody": 400,
    "MissingRequiredParameter": 400,
    "ODataError": 400,
    "OsPlatformNotSupported": 400,
    "ActiveRequestAlreadyExists": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "DisabledFeature": 403,
    "ResourceNotFound": 404,
    "MethodNotAllowed": 405,
    "RequestTimeout": 408,
    "Conflict": 409,
    "Replay": 409,
    "Unenrolled": 409,
    "RequestTooLarge": 413,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
}
"""Every code the API answers with, and its HTTP status."""

ALREADY_IN_PROGRESS = "Action is already in progress"
"""A client knows this refusal by exactly this text."""


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that is refused: code, sentence, and what else belongs into the answer."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = CODES[code]
        self.message = message
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        self.reason = reason
        """Why a signed document was not believed; for the figures, not for the caller."""
        self.target = str(uuid.uuid4())

    def envelope(self) -> dict[str, Any]:
        """The answer's body. `target` is a GUID that is also in the log line of this refusal."""
        return {"error": {"code": self.code, "message": self.message, "target": self.target, **self.extra}}


def not_found(what: str, name: str) -> Problem:
    """404 in the words clients know: "Machine X was not found"."""
    return Problem("ResourceNotFound", f"{what} {name} was not found")
