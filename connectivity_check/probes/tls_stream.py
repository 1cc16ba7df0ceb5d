"""A stream inside TLS, over any other stream; so TLS inside TLS works as well."""

from __future__ import annotations

import ssl

from connectivity_check.ports import Stream

_CHUNK = 65536


class TlsStream:
    """A finished TLS connection as a Stream.

    An end without close_notify counts as an end: servers do it every day, and who reads HTTP sees a
    truncation by itself.
    """

    def __init__(
        self, inner: Stream, connection: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        self._inner = inner
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self._ended = False
        self.address = inner.address
        self.via = inner.via
        # Not every kind of stream knows them; whoever describes the peer asks for them.
        self.port: int | None = getattr(inner, "port", None)
        self.mss: int | None = getattr(inner, "mss", None)

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError (an SSLError when the TLS connection is no longer usable)."""
        for start in range(0, len(data), _CHUNK):
            self._connection.write(data[start : start + _CHUNK])
            await self._flush()

    async def receive(self, limit: int = 65536) -> bytes:
        """Give some bytes, b"" at the end. Raises OSError; an alert of the peer is an SSLError."""
        while not self._ended:
            try:
                data = self._connection.read(limit)
            except ssl.SSLWantReadError:
                await self._flush()  # an answer to a key update may be due (RFC 8446 section 4.6.3)
                data = await self._inner.receive(_CHUNK)
                if data:
                    self._incoming.write(data)
                    continue
                self._ended = True
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                self._ended = True
            else:
                if data:
                    return data
                self._ended = True
        return b""

    def close(self) -> None:
        """End it now, without close_notify; twice does nothing."""
        self._ended = True
        self._inner.close()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._inner.send(self._outgoing.read())
