"""A proxy of our own, for the answers that squid and tinyproxy do not give."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.names import Resolver
from tests.faults.sockets import Peer, Stage, connect, pump
from tests.faults.web import read_request
from tests.lab.namespace import Namespace


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes sent instead of tunnelling; `after` is what comes in the tunnel when they said 200."""

    head: bytes
    after: bytes | None = None
    cut: bool = False
    """Close when the client has spoken inside the tunnel."""


Judge = Callable[[str, int], "Reply | None"]
"""(host, port) -> a refusal, or None: tunnel."""


def status(line: str, body: str = "", **headers: str) -> Reply:
    """A refusal with a status line such as "403 Forbidden"; header names are written with underscores."""
    lines = [f"HTTP/1.1 {line}", f"Content-Length: {len(body)}", "Content-Type: text/html"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    return Reply(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


class OddProxy:
    """CONNECT and plain requests; names are looked up at `resolver`, connections leave from `space`."""

    def __init__(self, stage: Stage, space: Namespace, resolver: Resolver, judge: Judge) -> None:
        self._stage, self._space, self._resolver, self._judge = stage, space, resolver, judge

    async def serve(self, peer: Peer) -> None:
        """Handle one connection."""
        request = await read_request(peer)
        if request is None:
            return
        if request.method == "CONNECT":
            host, _, port = request.target.rpartition(":")
        else:
            host, _, port = request.target.partition("://")[2].partition("/")[0].partition(":")
        refusal = self._judge(host.strip("[]"), int(port or 80))
        if refusal is not None:
            await self._refuse(peer, refusal)
            return
        await self._forward(peer, host.strip("[]"), int(port or 80), request.method, request.target)

    async def _refuse(self, peer: Peer, reply: Reply) -> None:
        await peer.send(reply.head)
        if reply.after is not None or reply.cut:
            await peer.receive()
            if reply.after:
                await peer.send(reply.after)
        peer.end()

    async def _forward(self, peer: Peer, host: str, port: int, method: str, target: str) -> None:
        record = self._resolver.record(host)
        addresses = record.v4 or ((host,) if host.replace(".", "").isdigit() else ())
        if not addresses:
            await peer.send(status("502 Bad Gateway", Proxy_Status="odd; error=dns_error").head)
            return
        try:
            onward = await asyncio.wait_for(connect(self._space, self._stage.loop, addresses[0], port), 3)
        except OSError:
            await peer.send(status("504 Gateway Timeout", Proxy_Status="odd; error=connection_timeout").head)
            return
        with onward.sock, contextlib.suppress(OSError):
            if method == "CONNECT":
                await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + target.partition("://")[2].partition("/")[2]
                await onward.send(
                    f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                )
            await pump(peer, onward)
