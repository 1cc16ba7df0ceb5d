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
        return await self._run(asyncio.get_running_loop().sock_recv(self._sock, limit))

    def close(self) -> None:
        """End it now; twice does nothing."""
        if self._closed:
            return
        self._closed = True
        for task in self._pending:
            # The loop is told first: the descriptor's number may belong to another socket a moment later.
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
                raise OSError(errno.ECONNABORTED, "the stream was closed meanwhile") from None
            raise
        finally:
            self._pending.discard(task)


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
