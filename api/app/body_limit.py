"""A request body is taken in up to a limit of size and of time, whatever its Content-Length says."""

from __future__ import annotations

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.app.answers import answer
from api.problems import Problem

BODY_WAIT_S = 30.0
"""How long a caller may take to send a body; one that drips holds a connection and nothing else."""

_LAST = {"Connection": "close"}  # nobody is going to read the rest


class BodyLimit:
    """Counts a body as it streams in. A declared length beyond the limit is refused before the first byte."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a watched body, or refuse it with 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _declared(scope) > self._limit:
            problem = Problem("RequestTooLarge", self._sentence(), headers=_LAST)
            await answer(scope, problem)(scope, receive, send)
            return
        await self._app(scope, self._watched(receive), send)

    def _watched(self, receive: Receive) -> Receive:
        """The same messages; HTTPException, which the framework lets through, beyond a limit."""
        end = time.monotonic() + BODY_WAIT_S
        taken = 0
        whole = False

        async def watched() -> Message:
            nonlocal taken, whole
            if whole:  # from now on it is the wait for the caller's going away, which may be long
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - time.monotonic(), 0))
            except TimeoutError:
                sentence = f"the request body did not arrive within {BODY_WAIT_S:.0f} s"
                raise HTTPException(408, sentence, _LAST) from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > self._limit:
                raise HTTPException(413, self._sentence(), _LAST)
            return message

        return watched

    def _sentence(self) -> str:
        return f"a request body may have {self._limit} bytes at most"


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
