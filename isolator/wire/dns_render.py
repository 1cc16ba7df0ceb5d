"""DNS messages to bytes: our own queries, and what an asker is told in the resolver's place."""

from __future__ import annotations

import struct

from isolator.model.dns import CLASS_IN, OPCODE, QR, RA, RD, DnsMessage, Rcode, RecordType
from isolator.wire.dns_message import HEADER_SIZE
from isolator.wire.dns_name import render_name
from isolator.wire.parse_error import ParseError, Unreadable

UDP_SIZE = 1232
"""Answer size we say we take: fits every path without fragments (DNS flag day 2020)."""

_HEADER = struct.Struct("!6H")
_DO = 0x8000


def render_query(id_: int, name: str, qtype: int) -> bytes:
    """Give a query for a name, recursion desired, without EDNS; the case of the letters is kept.

    Raises ValueError for a name that is none.
    """
    tail = struct.pack("!HH", qtype, CLASS_IN)
    return _HEADER.pack(id_, RD, 1, 0, 0, 0) + render_name(name) + tail


def render_local_answer(message: DnsMessage, rcode: Rcode) -> bytes:
    """Give an answer without records to the question of a query (or of an answer that is kept back).

    Id, opcode, RD and the question's bytes come back as they were sent; an OPT record only to an asker who
    sent one (RFC 6891 section 7). RA is set, or stub resolvers would look for another server.
    """
    flags = QR | RA | message.flags & (OPCODE | RD) | rcode
    head = _HEADER.pack(message.id, flags, len(message.questions), 0, 0, 0 if message.edns is None else 1)
    body = head + b"".join(question.raw for question in message.questions)
    if message.edns is None:
        return body
    return body + struct.pack("!BHHIH", 0, RecordType.OPT, UDP_SIZE, message.edns.flags & _DO, 0)


def render_format_error(query: bytes) -> bytes:
    """Give FORMERR to a query of which only the header can be read, so its question is not echoed.

    Raises ParseError for bytes without a whole header and for those that claim to be an answer: two servers
    must never complain to each other.
    """
    if len(query) < HEADER_SIZE:
        raise ParseError(Unreadable.DNS_TRUNCATED)
    id_, flags = struct.unpack_from("!HH", query)
    if flags & QR:
        raise ParseError(Unreadable.DNS_LABEL)
    return _HEADER.pack(id_, QR | RA | flags & (OPCODE | RD) | Rcode.FORMERR, 0, 0, 0, 0)
