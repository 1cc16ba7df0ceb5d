"""Streams over a connected socket, and through a tunnel."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from connectivity_check.ports import Stream

_T = TypeVar("_T")
_CLOSED_MEANWHILE = "the stream was closed meanwhile"


class TcpStream:
    """A `ports.Stream` over a connected, non-blocking TCP socket, which it owns.

    `close` may be called at any moment, also while another task waits in `receive` or `send`: that task
    gets an OSError (ECONNABORTED), and the descriptor is free at once.
    """

    def __init__(
        self, sock: socket.socket, address: str, port: int, *, rtt_s: float, mss: int | None
    ) -> None:
        """Take over `sock`. `rtt_s`: how long the connect took; `mss`: TCP_MAXSEG when we set it."""
        self.address = address
        self.port = port
        self.via = ""
        self.rtt_s = rtt_s
        self.mss = mss
        self._sock = sock
        self._fd = sock.fileno()
        self._closed = False
        self._pending: set[asyncio.Task[Any]] = set()
        self._readers: set[asyncio.Future[None]] = set()

    async def send(self, data: bytes) -> None:
        """Send all of it; OSError as the socket raises it, EBADF after `close`."""
        self._check_open()
        try:
            sent = self._sock.send(data)  # mostly it all fits into the buffer, and no task is needed
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            await self._run(asyncio.get_running_loop().sock_sendall(self._sock, data[sent:]))

    async def receive(self, limit: int = 65536) -> bytes:
        """Give 1 to `limit` bytes, b"" at the end of the stream; OSError as the socket raises it."""
        self._check_open()
        wait = self._receive_windows if sys.platform == "win32" else self._receive_posix
        return await wait(limit)

    async def _receive_windows(self, limit: int) -> bytes:
        return await self._run(asyncio.get_running_loop().sock_recv(self._sock, limit))

    async def _receive_posix(self, limit: int) -> bytes:
        while True:
            # Waited for even when there is something: others get their turn, however fast a peer sends.
            await self._readable()
            try:
                return self._sock.recv(limit)
            except (BlockingIOError, InterruptedError):
                continue

    async def _readable(self) -> None:
        """Wait without a task of its own, for every row does so four times. OSError when closed meanwhile."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._readers.add(ready)
        loop.add_reader(self._fd, _wake, ready)
        try:
            await ready
        finally:
            self._readers.discard(ready)
            if not self._readers and not self._closed:
                loop.remove_reader(self._fd)
        if self._closed:
            raise OSError(errno.ECONNABORTED, _CLOSED_MEANWHILE)

    def close(self) -> None:
        """End it now; twice does nothing."""
        if self._closed:
            return
        self._closed = True
        # The loop is told first: the descriptor's number may belong to another socket a moment later.
        for ready in self._readers:
            ready.get_loop().remove_reader(self._fd)
            _wake(ready)
        for task in self._pending:
            if sys.platform != "win32":
                task.get_loop().remove_reader(self._fd)
                task.get_loop().remove_writer(self._fd)
            task.cancel()
        self._sock.close()

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the stream is closed")

    async def _run(self, operation: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.ensure_future(operation)
        self._pending.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._closed and not (current and current.cancelling()):
                raise OSError(errno.ECONNABORTED, _CLOSED_MEANWHILE) from None
            raise
        finally:
            self._pending.discard(task)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class TunnelStream:
    """A `ports.Stream` through a proxy: the stream to the proxy, after it has agreed to pass bytes on."""

    def __init__(self, inner: Stream, via: str, early: bytes = b"") -> None:
        """`early`: bytes of the far end that came along with the proxy's answer; they are given first."""
        self.address = inner.address
        self.via = via
        self.mss: int | None = getattr(inner, "mss", None)
        self._inner = inner
        self._early = early

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await self._inner.send(data)

    async def receive(self, limit: int = 65536) -> bytes:
        """Give 1 to `limit` bytes, b"" at the end of the stream."""
        if self._early:
            early, self._early = self._early[:limit], self._early[limit:]
            return early
        return await self._inner.receive(limit)

    def close(self) -> None:
        """End it and the connection to the proxy; twice does nothing."""
        self._inner.close()
