"""Listening in namespaces from one event loop: a thread with a loop, and streams on plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tests.faults import hello
from tests.lab.namespace import Namespace

T = TypeVar("T")
Handler = Callable[["Peer"], Awaitable[None]]
_ORIGINAL_DST = 80
"""SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST: where a redirected connection wanted to go."""


class Peer:
    """One accepted (or opened) connection: what was read too early can be put back, TLS can be put on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.loop, self.sock = loop, sock
        self._early = b""
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    @property
    def aimed_at(self) -> tuple[str, int]:
        """The destination before a redirect."""
        if self.sock.family == socket.AF_INET6:
            raw = self.sock.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL_DST, 28)
            return socket.inet_ntop(socket.AF_INET6, raw[8:24]), int.from_bytes(raw[2:4])
        raw = self.sock.getsockopt(socket.SOL_IP, _ORIGINAL_DST, 16)
        return socket.inet_ntoa(raw[4:8]), int.from_bytes(raw[2:4])

    def put_back(self, data: bytes) -> None:
        self._early = data + self._early

    async def receive(self, limit: int = 65536) -> bytes:
        """Some bytes, b"" at the end."""
        if self._tls is None:
            return await self._raw(limit)
        while True:
            try:
                return self._tls.read(limit)
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._raw(limit)
                if not data:
                    return b""
                self._incoming.write(data)
            except ssl.SSLError:
                return b""

    async def send(self, data: bytes) -> None:
        if self._tls is None:
            await self.loop.sock_sendall(self.sock, data)
            return
        self._tls.write(data)
        await self._flush()

    async def client_hello(self) -> tuple[str | None, bytes]:
        """The server name (None: this is not TLS) and what was read; the bytes are put back."""
        data = b""
        while len(data) < 16384:
            more = await self._raw(16384)
            data += more
            name = hello.server_name(data)
            if name is not None or not more or data[:1] != b"\x16":
                self.put_back(data)
                return name, data
        return None, data

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """Handshake as the server, or as a client when a server name is given."""
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        tls = self._tls
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._raw(65536)
                if not data:
                    raise ConnectionError("closed in the handshake") from None
                self._incoming.write(data)
            except ssl.SSLError:
                await self._flush()  # the alert
                raise
            else:
                break
        await self._flush()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def end(self) -> None:
        """Say FIN; reading goes on."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    async def _raw(self, limit: int) -> bytes:
        if self._early:
            data, self._early = self._early, b""
            return data
        return await self.loop.sock_recv(self.sock, limit)

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self.loop.sock_sendall(self.sock, data)


async def pump(a: Peer, b: Peer) -> None:
    """Carry bytes both ways until one side has ended."""

    async def one_way(source: Peer, sink: Peer) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await source.receive():
                await sink.send(data)
        sink.end()

    await asyncio.gather(one_way(a, b), one_way(b, a))


class Stage:
    """An event loop in a thread of its own, and every socket that is served by it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="stage", daemon=True)
        self._thread.start()
        self._open: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float = 20.0) -> T:
        """Run it in the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it in the loop until it ends or the stage closes."""
        asyncio.run_coroutine_threadsafe(work, self.loop)

    def listen(self, space: Namespace, port: int, handler: Handler, address: str = "") -> None:
        """Serve a TCP port in a namespace, on every address of both families unless one is given."""
        for family in (socket.AF_INET, socket.AF_INET6):
            if address and (":" in address) != (family == socket.AF_INET6):
                continue
            sock = space.socket(family)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))
            sock.listen(512)
            sock.setblocking(False)
            self._open.append(sock)
            self.spawn(self._accept(sock, handler))

    def datagrams(self, space: Namespace, address: str, port: int) -> socket.socket:
        """A bound UDP socket in a namespace, closed with the stage."""
        sock = space.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        sock.setblocking(False)
        self._open.append(sock)
        return sock

    def close(self) -> None:
        """End everything; sockets closed."""

        async def cancel() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.call(cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        for sock in self._open:
            sock.close()
        self.loop.close()

    async def _accept(self, sock: socket.socket, handler: Handler) -> None:
        while True:
            accepted, _ = await self.loop.sock_accept(sock)
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self.loop.create_task(self._serve(accepted, handler))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, sock: socket.socket, handler: Handler) -> None:
        with sock, contextlib.suppress(OSError, ssl.SSLError):
            await handler(Peer(self.loop, sock))


async def connect(space: Namespace, loop: asyncio.AbstractEventLoop, address: str, port: int) -> Peer:
    """Open a connection that leaves from a namespace; the caller closes `peer.sock`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = await loop.run_in_executor(None, space.socket, family)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return Peer(loop, sock)
