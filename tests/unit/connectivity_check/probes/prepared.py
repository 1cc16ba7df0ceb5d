"""A stream with prepared answers, and a clock that stands still, for tests of exchanges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

UTC = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class StillClock:
    """Moves only when it is asked."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        """One millisecond more each time."""
        self.at += 0.001
        return self.at

    def utc(self) -> float:
        """Always the same."""
        return UTC


class Prepared:
    """A stream that has its answers ready; an exception among them is raised, None waits for ever."""

    address = "192.0.2.1"

    def __init__(self, chunks: Iterable[bytes | OSError | None], via: str = "") -> None:
        self.via = via
        self.sent = b""
        self._chunks = list(chunks)

    async def send(self, data: bytes) -> None:
        """Keep it."""
        self.sent += data

    async def receive(self, limit: int = 65536) -> bytes:
        """Give the next chunk; the end after the last."""
        await asyncio.sleep(0)
        if not self._chunks:
            return b""
        chunk = self._chunks.pop(0)
        if chunk is None:
            await asyncio.sleep(60)
        if isinstance(chunk, OSError):
            raise chunk
        assert chunk is not None
        return chunk

    def close(self) -> None:
        """Nothing to close."""


def answer(body: bytes = b"OK", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
