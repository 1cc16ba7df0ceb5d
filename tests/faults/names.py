"""The lab's resolvers: they know the truth, and each can be told to lie, fail or be silent about a name."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.faults.sockets import Peer


@dataclass(frozen=True, slots=True)
class Record:
    """What one name (or, with a leading `*.`, every name below) has."""

    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    """CNAMEs between the question and the addresses."""
    rcode: int = dns.rcode.NOERROR
    ede: tuple[int, str] | None = None
    silent: bool = False
    silent_udp: bool = False
    truncated: bool = False
    """TC over UDP, the answer over TCP only."""
    delay_s: float = 0.0
    rotating: bool = False
    """One of the addresses in each answer, the next one in the next: how busy services spread their load."""
    forged: Record | None = None
    """Answered first; the record itself follows some milliseconds later, as behind an inline injector."""


NXDOMAIN = Record(rcode=dns.rcode.NXDOMAIN)
_turns = itertools.count()


@dataclass(slots=True)
class Resolver:
    """One resolver's view: `lies` go before the truth; `unknown` answers every other name."""

    truth: Mapping[str, Record]
    lies: dict[str, Record] = field(default_factory=dict)
    unknown: Record = NXDOMAIN
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    def record(self, name: str) -> Record:
        for records in (self.lies, self.truth):
            found = records.get(name) or records.get("*")
            if found is None:
                parts = name.split(".")
                above = ("*." + ".".join(parts[n:]) for n in range(1, len(parts)))
                found = next((records[key] for key in above if key in records), None)
            if found is not None:
                return found
        return self.unknown

    async def serve_udp(self, sock: socket.socket) -> None:
        """Answer datagrams for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, sender = await loop.sock_recvfrom(sock, 4096)
            except OSError:
                continue  # an ICMP error of an earlier answer
            task = loop.create_task(self._answer_udp(loop, sock, data, sender))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def serve_tcp(self, peer: Peer) -> None:
        """Answer queries over TCP; glibc asks for A and AAAA on one connection."""
        data = b""
        while True:
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2]):
                more = await peer.receive()
                if not more:
                    return
                data += more
            size = 2 + int.from_bytes(data[:2])
            query, record = self._read(data[2:size])
            data = data[size:]
            if query is None or record.silent:
                await asyncio.sleep(60 if query else 0)
                return
            await asyncio.sleep(record.delay_s)
            wire = _render(query, record).to_wire()
            await peer.send(len(wire).to_bytes(2) + wire)

    async def _answer_udp(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, data: bytes, sender: tuple[str, int]
    ) -> None:
        query, record = self._read(data)
        if query is None or record.silent or record.silent_udp:
            return
        await asyncio.sleep(record.delay_s)
        if record.forged:
            await loop.sock_sendto(sock, _render(query, record.forged).to_wire(), sender)
            await asyncio.sleep(0.015)
        answer = _render(query, record)
        if record.truncated:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
        await loop.sock_sendto(sock, answer.to_wire(), sender)

    def _read(self, data: bytes) -> tuple[dns.message.Message | None, Record]:
        try:
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text(omit_final_dot=True).lower()
        except (dns.exception.DNSException, IndexError):
            return None, NXDOMAIN
        return query, self.record(name)


def _render(query: dns.message.Message, record: Record) -> dns.message.Message:
    answer = dns.message.make_response(query, recursion_available=True)
    answer.set_rcode(dns.rcode.Rcode(record.rcode))
    if record.ede:
        answer.use_edns(0, options=[dns.edns.EDEOption(dns.edns.EDECode(record.ede[0]), record.ede[1])])
    question = query.question[0]
    owner = question.name
    if record.rcode == dns.rcode.NOERROR:
        for alias in record.chain:
            target = dns.name.from_text(alias)
            answer.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", target.to_text()))
            owner = target
        addresses = {dns.rdatatype.A: record.v4, dns.rdatatype.AAAA: record.v6}.get(question.rdtype, ())
        if addresses and record.rotating:
            addresses = (addresses[next(_turns) % len(addresses)],)
        if addresses:
            answer.answer.append(dns.rrset.from_text(owner, 60, "IN", question.rdtype, *addresses))
    return answer
