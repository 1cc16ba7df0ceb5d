"""The agents' polls on a way of their own, past the layers they have no use for.

Thousands of them wait in one process, each holding a frame of every layer it went through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app.answer_headers import AnswerHeaders
from api.app.failures import LastResort

Endpoint = Callable[[Request], Awaitable[Response]]


class ShortWay:
    """Sends the POSTs to one path straight to its endpoint; everything else goes the long way.

    The endpoint limits its own body and refuses in the common envelope. The route stays known to the
    application, which answers other methods and spellings.
    """

    def __init__(self, app: ASGIApp, application: Any, path: str, endpoint: Endpoint) -> None:
        self._app = app
        self._application = application
        self._path = path
        self._endpoint = endpoint
        self._short = AnswerHeaders(LastResort(self._answer))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, by the one way or the other."""
        short = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == self._path
        await (self._short if short else self._app)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._application
        response = await self._endpoint(Request(scope, receive))
        await response(scope, receive, send)
