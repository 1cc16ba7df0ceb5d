"""Connections of the fake network: layers, and a count of what is open."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.fakes.network_world import Door


@dataclass(slots=True)
class Connections:
    """How many are open."""

    open: int = 0


class FakeStream:
    """A connection, or a layer over one. Using it after `close` is an error of the caller."""

    def __init__(self, connections: Connections, door: Door | None, address: str, port: int) -> None:
        self.address, self.port, self.via = address, port, ""
        self.door = door
        """What answers at the far end; None: a proxy that has not been told whom."""
        self._connections = connections
        self._under: FakeStream | None = None
        self._closed = False
        connections.open += 1

    def over(self, door: Door | None, via: str) -> FakeStream:
        """A layer over this stream; closing it closes the connection."""
        layer = object.__new__(FakeStream)
        layer.address, layer.port, layer.via, layer.door = self.address, self.port, via, door
        layer._connections, layer._under, layer._closed = self._connections, self, False
        return layer

    @property
    def closed(self) -> bool:
        """Whether it, or what is below, was closed."""
        return self._under.closed if self._under else self._closed

    async def send(self, data: bytes) -> None:
        """Nobody reads it."""
        self._check()

    async def receive(self, limit: int = 65536) -> bytes:
        """The end of the stream."""
        self._check()
        return b""

    def close(self) -> None:
        """End it; twice does nothing."""
        if self._under:
            self._under.close()
        elif not self._closed:
            self._closed = True
            self._connections.open -= 1

    def _check(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "the stream is closed")


@contextmanager
def closed_on_error(stream: FakeStream) -> Iterator[None]:
    """What a step does to a stream that it took over, when it is cancelled."""
    try:
        yield
    except BaseException:
        stream.close()
        raise
