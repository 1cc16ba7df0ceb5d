"""HTTP/1.1 for thousands of simulated agents in one process: one request at a time, kept alive."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MAX_ANSWER = 1024 * 1024


class Gone(Exception):
    """The controller could not be reached, or went away before it answered."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


class Wire:
    """One connection to the controller, opened when it is needed."""

    __slots__ = ("_context", "_host", "_port", "_reader", "_writer")

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._context = context if parts.scheme == "https" else None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes, timeout_s: float, **headers: str) -> Answer:
        """Send one request and wait for its answer. Gone when there is none; the connection is closed."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(path, body, headers)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError, TimeoutError) as error:
            self.close()
            raise Gone(f"{type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._context, limit=MAX_ANSWER
            )
        lines = [f"POST {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        said = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        answer = Answer(
            int(head[0].split(" ")[1]), await self._reader.readexactly(int(said["content-length"]))
        )
        if said.get("connection") == "close":
            self.close()
        return answer
