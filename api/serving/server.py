"""One serving process: uvicorn, with our signals, our end, and a limit to a caller's silence."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.serving import supervision
from api.serving.certificate import Certificate

GRACE_S = 10
"""How long requests in flight may take after the process was told to end."""
HEADERS_WITHIN_S = 20.0
"""A connection that has not sent the whole head of a request by then is cut: idle sockets are not free."""
_LOOK_EVERY_TICKS = 50
"""Ticks are 0.1 s: how often the certificate's files are looked at."""

_log = logging.getLogger(__name__)


class PatientToAPoint(HttpToolsProtocol):
    """HTTP/1.1, with a deadline for a request's head (RFC 9112 leaves it to the server)."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller is there; its first request is due."""
        super().connection_made(transport)
        self._expect()

    def on_message_begin(self) -> None:
        """The first byte of a request; the rest of its head is due."""
        super().on_message_begin()
        self._expect()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._forget()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone."""
        self._forget()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._forget()
        self._deadline = self.loop.call_later(HEADERS_WITHIN_S, self.transport.abort)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Server(uvicorn.Server):
    """Ends with exit code 0 when told to: no new requests, polls answered, what is in flight finished."""

    def __init__(
        self, app: Any, certificate: Certificate | None, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(_config(app, certificate))
        self._certificate = certificate
        self._on_ready = on_ready
        self._hangup = False

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Say so, and end in order."""
        supervision.tell("STOPPING=1")
        _log.info("ending: %d connections are open", len(self.server_state.connections))
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Look at the certificate now and then, and at once after SIGHUP."""
        if self._certificate is not None and (self._hangup or counter % _LOOK_EVERY_TICKS == 0):
            self._certificate.refresh(forced=self._hangup)
        self._hangup = False
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the server, a second SIGINT hurries; SIGHUP takes the certificate anew."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted: dict[int, Callable[[int, FrameType | None], None]] = {
            signal.SIGTERM: self.handle_exit,
            signal.SIGINT: self.handle_exit,
        }
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is not None:
            wanted[hangup] = self._on_hangup
        before = {each: signal.signal(each, handler) for each, handler in wanted.items()}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        self._hangup = True


def _config(app: Any, certificate: Certificate | None) -> uvicorn.Config:
    context = None if certificate is None else certificate.context
    return uvicorn.Config(
        app,
        http=PatientToAPoint,
        ws="none",
        lifespan="on",
        interface="asgi3",
        ssl_context_factory=None if context is None else lambda config, default: context,
        proxy_headers=False,  # `Edge` does it
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=GRACE_S,
    )
