"""A name server for tests, as honest as the test wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Answer = Callable[[dns.message.Message], list[dns.message.Message | bytes]]

ZONE = {
    "a.example.": ("192.0.2.1", "2001:db8::1"),
    "b.example.": ("192.0.2.2", None),
    "*.wild.example.": ("192.0.2.3", "2001:db8::3"),
}


def honest(query: dns.message.Message) -> list[dns.message.Message | bytes]:
    """Answers from ZONE; alias.example is an alias of a.example."""
    answer = dns.message.make_response(query)
    question = query.question[0]
    name = question.name.to_text().lower()
    if name == "alias.example.":
        answer.answer.append(dns.rrset.from_text(question.name, 7, "IN", "CNAME", "a.example."))
        name = "a.example."
    parent = name.partition(".")[2]
    found = ZONE.get(name, ZONE.get(f"*.{parent}"))
    if found is None:
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return [answer]
    address = found[0] if question.rdtype == dns.rdatatype.A else found[1]
    if address is not None:
        owner = question.name if not answer.answer else name
        kind = dns.rdatatype.to_text(question.rdtype)
        answer.answer.append(dns.rrset.from_text(owner, 300, "IN", kind, address))
    return [answer]


@contextmanager
def serving(address: str, port: int, answer: Answer = honest) -> Iterator[list[dns.message.Message]]:
    """A server on a thread; the list fills with the queries that arrived."""
    seen: list[dns.message.Message] = []
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listening:
        listening.bind((address, port))

        def serve() -> None:
            while True:
                data, peer = listening.recvfrom(4096)
                if data == b"stop":
                    return
                query = dns.message.from_wire(data)
                seen.append(query)
                for message in answer(query):
                    wire = message if isinstance(message, bytes) else message.to_wire()
                    listening.sendto(wire, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            with socket.socket(family, socket.SOCK_DGRAM) as stopping:
                stopping.sendto(b"stop", (address, port))
            thread.join(10)
