"""No request body is taken in beyond the limit, whatever its Content-Length says or does not say."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app.answers import answer
from api.problems import Problem


class BodyLimit:
    """Counts a body as it streams in. A declared length beyond the limit is refused before the first byte."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body, or refuse it with 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _declared(scope) > self._limit:
            await answer(scope, too_large(self._limit))(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._limit:
                # The framework lets this class through where it would call any other a bad body.
                raise HTTPException(413, too_large(self._limit).message, {"Connection": "close"})
            return message

        await self._app(scope, counted, send)


def too_large(limit: int) -> Problem:
    """The refusal. The connection ends with it: nobody is going to read the rest."""
    return Problem(
        "RequestTooLarge",
        f"a request body may have {limit} bytes at most",
        headers={"Connection": "close"},
    )


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
