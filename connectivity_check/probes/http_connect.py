"""HTTP CONNECT over a stream: one request after the other on one connection, and what each was answered.

h11 keeps the protocol; here are the bounds that a hostile or broken peer needs, and the look at the first
bytes that tells a proxy from a mail server.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import h11

from connectivity_check.ports import Stream
from connectivity_check.probes.own_name import user_agent
from connectivity_check.probes.socks import EndOfStreamError, ForeignBytesError

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]{0,200}))?")
_PREFIX = b"HTTP/1."
_HEADER_LIMIT = 65536
_MOST_INTERIM = 16
"""1xx answers before the real one (RFC 9110 section 15.2); more is a peer that plays for time."""
_BODY_LIMIT = 65536


@dataclass(frozen=True, slots=True)
class ConnectAnswer:
    """The final answer to one CONNECT. `early`: bytes behind the head of a 2xx, they are the far end's."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order they came."""
    body: bytes = b""
    early: bytes = b""
    reusable: bool = False
    """The body was read to its end and the proxy keeps the connection: another request can follow."""

    @property
    def ok(self) -> bool:
        """The tunnel stands."""
        return 200 <= self.status < 300

    def values(self, name: str) -> list[str]:
        """Every value of a header, [] when it did not come."""
        return [value for key, value in self.headers if key == name]


class ConnectDialogue:
    """Asks for a tunnel on one connection, as often as a login needs."""

    def __init__(self, stream: Stream, authority: str) -> None:
        """`authority`: `host:port`, checked by `TunnelTarget`."""
        self._stream = stream
        self._authority = authority
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADER_LIMIT)
        self._first = b""

    async def send(self, credentials: str | None) -> None:
        """Write the request; `credentials` is the value of Proxy-Authorization."""
        if self._connection.our_state is not h11.IDLE:
            self._connection.start_next_cycle()
        self._first = b""
        headers = [
            ("Host", self._authority),
            ("User-Agent", user_agent()),
            ("Proxy-Connection", "keep-alive"),
        ]
        if credentials is not None:
            headers.append(("Proxy-Authorization", credentials))
        request = h11.Request(method="CONNECT", target=self._authority, headers=headers)
        head = self._connection.send(request) or b""
        await self._stream.send(head + (self._connection.send(h11.EndOfMessage()) or b""))

    async def receive(self, body_patience_s: float) -> ConnectAnswer:
        """Read the answer; of an error page what comes within the patience, at most 64 KiB.

        EndOfStreamError, ForeignBytesError or OSError when there is no answer to read.
        """
        response = await self._response()
        early = b""
        if 200 <= response.status_code < 300:
            early = self._connection.trailing_data[0]
        answer = ConnectAnswer(
            response.status_code,
            response.reason.decode("latin-1"),
            tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in response.headers),
            early=early,
        )
        if answer.ok:
            return answer
        body, complete = await self._body(body_patience_s)
        states = (self._connection.our_state, self._connection.their_state)
        reusable = complete and states == (h11.DONE, h11.DONE)
        return ConnectAnswer(answer.status, answer.reason, answer.headers, body, reusable=reusable)

    async def _response(self) -> h11.Response:
        interim = 0
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError:
                return self._salvaged(ForeignBytesError(self._first))
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse):
                interim += 1
                if interim > _MOST_INTERIM:
                    raise ForeignBytesError(self._first)
            elif event is not h11.NEED_DATA:
                raise ForeignBytesError(self._first)
            elif not await self._feed():
                return self._salvaged(EndOfStreamError())

    async def _feed(self) -> bool:
        """Take in what comes next; False at the end of the stream."""
        data = await self._stream.receive()
        if not data:
            return False
        if len(self._first) < 512:
            self._first = (self._first + data)[:512]
            start = self._first[: len(_PREFIX)]
            # A mail server greets and then waits for us: without this look it would count as silent.
            if not _PREFIX.startswith(start):
                raise ForeignBytesError(self._first)
        self._connection.receive_data(data)
        return True

    def _salvaged(self, trouble: Exception) -> h11.Response:
        """A refusal that can be read is one, even when its head is faulty or stops short. A 2xx is not."""
        line = _STATUS_LINE.match(self._first)
        if line is None or not 300 <= int(line[1]) < 600:
            raise trouble
        return h11.Response(status_code=int(line[1]), headers=[], reason=line[2] or b"")

    async def _body(self, patience_s: float) -> tuple[bytes, bool]:
        """Give (bytes, whether that is all of it); a body that ends badly does not undo the status."""
        body = b""
        try:
            async with asyncio.timeout(patience_s):
                while len(body) < _BODY_LIMIT:
                    event = self._connection.next_event()
                    if isinstance(event, h11.Data):
                        body += event.data
                    elif event is h11.NEED_DATA:
                        self._connection.receive_data(await self._stream.receive())
                    else:
                        return body, isinstance(event, h11.EndOfMessage)
        except (TimeoutError, OSError, h11.RemoteProtocolError):
            pass
        return body[:_BODY_LIMIT], False
