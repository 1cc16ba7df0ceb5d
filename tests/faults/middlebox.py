"""A box in the path that takes connections over: filters by server name, inspects TLS, shows block pages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.faults.sockets import Peer, Stage, connect, pump
from tests.faults.web import Request, Service, Web, read_request, response
from tests.lab.namespace import Namespace


class Do(Enum):
    """What the box does with a connection."""

    RELAY = auto()
    RESET = auto()
    CLOSE = auto()
    """An orderly end (FIN) instead of an answer."""
    MUTE = auto()
    """Accepted, read, never answered."""


@dataclass(frozen=True, slots=True)
class Posing:
    """Answer in the server's place, as this service."""

    service: Service


Judge = Callable[[str, str], "Do | Posing"]
"""(server name or "" , address) -> what to do."""


class TlsBox:
    """Judges redirected TLS connections by server name; what is relayed goes on from the box's namespace."""

    def __init__(self, stage: Stage, space: Namespace, web: Web, judge: Judge) -> None:
        self._stage, self._space, self._web, self._judge = stage, space, web, judge

    async def serve(self, peer: Peer) -> None:
        """Handle one redirected connection."""
        address, port = peer.aimed_at
        name, _ = await peer.client_hello()
        todo = self._judge(name or "", address)
        if isinstance(todo, Posing):
            await self._web.answer(peer, name or "", todo.service)
        elif todo is Do.RESET:
            peer.reset()
        elif todo is Do.MUTE:
            while await peer.receive():
                pass
            await asyncio.sleep(60)
        elif todo is Do.RELAY:
            onward = await connect(self._space, self._stage.loop, address, port)
            with onward.sock:
                await pump(peer, onward)


Headers = tuple[tuple[str, str], ...]
Change = Callable[[Request], Service | Do | Headers]
"""What to answer in the server's place, how to end it, or the headers to send on."""


class HttpBox:
    """A transparent proxy for port 80."""

    def __init__(self, stage: Stage, space: Namespace, change: Change) -> None:
        self._stage, self._space, self._change = stage, space, change

    async def serve(self, peer: Peer) -> None:
        """Handle one redirected connection, a request only."""
        address, port = peer.aimed_at
        request = await read_request(peer)
        if request is None:
            return
        todo = self._change(request)
        if isinstance(todo, Service):
            await peer.send(response(todo, request))
            return
        if isinstance(todo, Do):
            if todo is Do.RESET:
                peer.reset()
            elif todo is Do.MUTE:
                await asyncio.sleep(60)
            return
        onward = await connect(self._space, self._stage.loop, address, port)
        with onward.sock, contextlib.suppress(OSError):
            head = f"{request.method} {request.target} HTTP/1.1\r\n"
            head += "".join(f"{key}: {value}\r\n" for key, value in todo) + "\r\n"
            await onward.send(head.encode("latin-1"))
            await pump(peer, onward)
