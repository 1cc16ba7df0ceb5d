"""UDP sockets towards resolvers, shared by many questions; each datagram finds its own question."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from connectivity_check.probes import error_queue
from connectivity_check.probes.dns_answer import answers
from connectivity_check.probes.dns_question import Question
from connectivity_check.probes.dns_trouble import (
    Trouble,
    queued_troubles,
    trouble_of,
)

Server = tuple[str, int]
"""A resolver's address and port."""

_SOCKETS_PER_SERVER = 8
"""Several source ports: one blackholed flow does not hold every resend, and a burst finds buffers enough."""

_SHORTEST_QUERY = 17
"""Header and the question for the root."""

_randomness = random.SystemRandom()


class Asker(Protocol):
    """Who waits for what comes back for one question."""

    question: Question

    def heard(self, message: bytes, server: Server, sender: Server) -> None:
        """A response to the question with the right id came; from `server` when `sender` equals it."""

    def failed(self, trouble: Trouble, server: Server) -> None:
        """The system or a router says that a datagram to this resolver did not get there."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One id in use on one socket; `forget` gives it back."""

    asker: Asker
    server: Server
    forget: Callable[[], None]


class DnsSocket(asyncio.DatagramProtocol):
    """One UDP socket. Connected to a server, or (server None) open to whoever answers."""

    def __init__(self, udp: socket.socket, server: Server | None) -> None:
        self._udp = udp
        self._server = server
        self._tickets: dict[int, Ticket] = {}
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, family: int, server: Server | None, source: str | None) -> DnsSocket:
        """Give a socket on the running loop. Raises OSError when the system does not let us."""
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            udp.setblocking(False)
            error_queue.enable(udp)
            if source is not None or server is None:
                udp.bind((source or "", 0))
            if server is not None:
                udp.connect(socket_address(server))
            made = cls(udp, server)
            loop = asyncio.get_running_loop()
            made._transport, _ = await loop.create_datagram_endpoint(lambda: made, sock=udp)
        except BaseException:
            udp.close()
            raise
        return made

    def ask(self, asker: Asker, server: Server, *, edns: bool = True) -> Ticket:
        """Send the question under a fresh random id. What goes wrong is told to the asker, now or later."""
        message_id = _randomness.getrandbits(16)
        while message_id in self._tickets:
            message_id = _randomness.getrandbits(16)
        ticket = Ticket(asker, server, lambda: self._forget(message_id))
        self._tickets[message_id] = ticket
        query = asker.question.render(message_id, edns=edns)
        try:
            self._send(query, server)
        except BlockingIOError:
            pass  # the send buffer is full: as if lost on the way, a resend follows
        except OSError as error:
            # It may be the error of an earlier datagram: the send clears it, so try once more.
            if not self._deal_out_errors():
                asker.failed(trouble_of(error), server)
                return ticket
            self._send_again(query, ticket)
        return ticket

    def _send_again(self, query: bytes, ticket: Ticket) -> None:
        try:
            self._send(query, ticket.server)
        except BlockingIOError:
            pass
        except OSError as error:
            self._deal_out_errors()
            ticket.asker.failed(trouble_of(error), ticket.server)

    def _send(self, query: bytes, server: Server) -> None:
        if self._server is None:
            self._udp.sendto(query, socket_address(server))
        else:
            self._udp.send(query)

    def _forget(self, message_id: int) -> None:
        self._tickets.pop(message_id, None)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Hand a response to the asker whose id and question it carries; everything else is dropped."""
        ticket = self._tickets.get(int.from_bytes(data[:2], "big"))
        if ticket is not None and answers(data, ticket.asker.question):
            ticket.asker.heard(data, ticket.server, self._server or (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """An ICMP error came; without an error queue (Windows) it concerns all who wait here."""
        if self._deal_out_errors() or not isinstance(exc, OSError):
            return
        for ticket in tuple(self._tickets.values()):
            ticket.asker.failed(trouble_of(exc), ticket.server)

    def _deal_out_errors(self) -> bool:
        """Tell the askers what the error queue holds; whether it held anything."""
        found = False
        for datagram, trouble in queued_troubles(self._udp):
            found = True
            for ticket in self._concerned(datagram):
                ticket.asker.failed(trouble, ticket.server)
        return found

    def _concerned(self, datagram: bytes) -> tuple[Ticket, ...]:
        """Whose datagram was refused. Routers may quote no more than its UDP header (RFC 792): then
        everybody's, for the refusal is about the resolver, not about the question."""
        if len(datagram) < _SHORTEST_QUERY:
            return tuple(self._tickets.values())
        ticket = self._tickets.get(int.from_bytes(datagram[:2], "big"))
        return (ticket,) if ticket is not None and ticket.asker.question.is_repeated_in(datagram) else ()

    def close(self) -> None:
        """Close it on the next turn of the loop; twice does nothing."""
        if self._transport is not None:
            self._transport.abort()


class SocketPool:
    """The sockets towards one resolver, opened when first needed."""

    def __init__(self, server: Server, source: str | None) -> None:
        self.server = server
        self.source = source
        self.trouble: Trouble | None = None
        """What a question met here last, and when (`trouble_at`, time of the loop)."""
        self.trouble_at = 0.0
        self._sockets: list[DnsSocket] = []
        self._opening = asyncio.Lock()

    async def pick(self) -> DnsSocket:
        """Give one of the sockets. Raises OSError when none can be opened (no route, wrong source)."""
        if len(self._sockets) < _SOCKETS_PER_SERVER:
            async with self._opening:
                if len(self._sockets) < _SOCKETS_PER_SERVER:
                    opened = await DnsSocket.open(family_of(self.server), self.server, self.source)
                    self._sockets.append(opened)
                    return opened
        return _randomness.choice(self._sockets)

    def note_trouble(self, trouble: Trouble, at: float) -> None:
        """Keep what a question met here, for those that get no ICMP error of their own."""
        self.trouble, self.trouble_at = trouble, at

    def close(self) -> None:
        """Close them; the pool can be used again afterwards."""
        for opened in self._sockets:
            opened.close()
        self._sockets.clear()


def family_of(server: Server) -> int:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET


def socket_address(server: Server) -> tuple[str, int] | tuple[str, int, int, int]:
    """What `connect` takes, with the scope of a link-local address (`fe80::1%eth0`) as a number.

    Raises OSError when there is no such interface.
    """
    address, _, zone = server[0].partition("%")
    if not zone:
        return server
    return address, server[1], 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
