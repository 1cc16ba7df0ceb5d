"""DNS messages from bytes (RFC 1035 section 4; RFC 3597 opaque types; RFC 6891 EDNS)."""

from __future__ import annotations

import struct

from isolator.model.dns import DnsMessage, Edns, EdnsOption, Question, Record, RecordType, addresses_in
from isolator.model.flow import Address
from isolator.wire.dns_name import MAX_NAME, NameReader
from isolator.wire.parse_error import ParseError, Unreadable

HEADER_SIZE = 12
LONGEST_HEAD = HEADER_SIZE + MAX_NAME + 4
"""Bytes up to the end of the first question."""

_HEADER = struct.Struct("!6H")
_QUESTION_END = struct.Struct("!HH")
_RECORD_HEAD = struct.Struct("!HHIH")
_OPTION_HEAD = struct.Struct("!HH")
_CNAME, _OPT = int(RecordType.CNAME), int(RecordType.OPT)
_ADDRESS_SIZES = {int(RecordType.A): 4, int(RecordType.AAAA): 16}


def parse_dns(data: bytes) -> DnsMessage:
    """Read a message; bytes after it are counted, not refused.

    Raises ParseError and nothing else: for sections that run out of the buffer, bad names, addresses of a
    wrong length, and an OPT record that is malformed, doubled or outside the additional section.
    """
    if len(data) < HEADER_SIZE:
        raise ParseError(Unreadable.DNS_TRUNCATED)
    id_, flags, asked, answered, authorities, additionals = _HEADER.unpack_from(data)
    names = NameReader(data)
    questions, at = _parse_questions(data, names, asked)
    answers: tuple[Record, ...] = ()
    edns: Edns | None = None
    if answered:
        answers, at = _parse_records(data, names, at, answered)
    if authorities:
        _, at = _parse_records(data, names, at, authorities)
    if additionals:
        edns, at = _parse_additional(data, names, at, additionals)
    return DnsMessage(
        id_,
        flags,
        questions,
        answers,
        authorities,
        additionals if edns is None else additionals - 1,
        edns,
        len(data),
        len(data) - at,
    )


def parse_dns_head(data: bytes) -> DnsMessage | None:
    """Read the header and the question of a message of which no more is there; None when they are not whole.

    One with another number of questions than one is read without them. Raises ParseError for a bad name, and
    for one that has not ended where the longest does.
    """
    if len(data) < HEADER_SIZE:
        return None
    id_, flags, asked, *_ = _HEADER.unpack_from(data)
    if asked != 1:
        return DnsMessage(id_, flags, ())
    try:
        questions, _ = _parse_questions(data, NameReader(data), asked)
    except ParseError as error:
        if error.kind is Unreadable.DNS_TRUNCATED and len(data) < LONGEST_HEAD:
            return None
        raise
    return DnsMessage(id_, flags, questions)


def _parse_questions(data: bytes, names: NameReader, count: int) -> tuple[tuple[Question, ...], int]:
    questions: list[Question] = []
    at = HEADER_SIZE
    for _ in range(count):
        name, end = names.read(at)
        if end + 4 > len(data):
            raise ParseError(Unreadable.DNS_TRUNCATED)
        qtype, qclass = _QUESTION_END.unpack_from(data, end)
        questions.append(Question(name, qtype, qclass, data[at : end + 4]))
        at = end + 4
    return tuple(questions), at


def _parse_records(data: bytes, names: NameReader, at: int, count: int) -> tuple[tuple[Record, ...], int]:
    records: list[Record] = []
    for _ in range(count):
        record, at = _parse_record(data, names, at)
        if record.rtype == _OPT:
            raise ParseError(Unreadable.DNS_OPT)
        records.append(record)
    return tuple(records), at


def _parse_additional(data: bytes, names: NameReader, at: int, count: int) -> tuple[Edns | None, int]:
    edns: Edns | None = None
    for _ in range(count):
        record, at = _parse_record(data, names, at)
        if record.rtype == _OPT:
            if edns is not None or record.owner:
                raise ParseError(Unreadable.DNS_OPT)
            edns = _parse_edns(record)
    return edns, at


def _parse_record(data: bytes, names: NameReader, at: int) -> tuple[Record, int]:
    owner, at = names.read(at)
    start = at + 10
    if start > len(data):
        raise ParseError(Unreadable.DNS_TRUNCATED)
    rtype, rclass, ttl, size = _RECORD_HEAD.unpack_from(data, at)
    end = start + size
    if end > len(data):
        raise ParseError(Unreadable.DNS_TRUNCATED)
    target: str | None = None
    size_wanted = _ADDRESS_SIZES.get(rtype)
    if size_wanted is not None:
        if size != size_wanted:
            raise ParseError(Unreadable.DNS_RDATA)
    elif rtype == _CNAME:
        target, name_end = names.read(start)
        if name_end != end:
            raise ParseError(Unreadable.DNS_RDATA)
    if ttl > 0x7FFF_FFFF and rtype != _OPT:
        ttl = 0
    return Record(owner, rtype, rclass, ttl, data[start:end], target), end


def _parse_edns(record: Record) -> Edns:
    """The OPT record's class and TTL are fields of their own (RFC 6891 section 6.1.3)."""
    data, at = record.rdata, 0
    options: list[EdnsOption] = []
    while at < len(data):
        if at + 4 > len(data):
            raise ParseError(Unreadable.DNS_OPT)
        code, size = _OPTION_HEAD.unpack_from(data, at)
        at += 4 + size
        if at > len(data):
            raise ParseError(Unreadable.DNS_OPT)
        options.append(EdnsOption(code, data[at - size : at]))
    fields = record.ttl
    return Edns(record.rclass, fields >> 24, fields >> 16 & 0xFF, fields & 0xFFFF, tuple(options))


def addresses_of(answer: DnsMessage, query: DnsMessage) -> tuple[tuple[Address, int], ...]:
    """Give the (address, TTL) pairs of an answer, as `addresses_in`, if it is the answer to that query.

    Empty when it is not: no response, another id, another question, or other letter case than was asked.
    """
    asked = tuple(question.raw for question in query.questions)
    if not answer.is_response or answer.opcode or answer.id != query.id or len(asked) != 1:
        return ()
    if tuple(question.raw for question in answer.questions) != asked:
        return ()
    return addresses_in(answer)
