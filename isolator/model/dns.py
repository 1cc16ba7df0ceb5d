"""DNS messages as values, and which addresses an answer gives for its question."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Address

from isolator.model.flow import Address

DNS_PORT = 53
CLASS_IN = 1
MAX_CHAIN = 16
"""CNAME records followed in one answer; real chains have at most about ten."""


class RecordType(IntEnum):
    """The record types the product knows by name (RFC 1035, 3596, 6672, 6891, 9460)."""

    A = 1
    CNAME = 5
    AAAA = 28
    DNAME = 39
    OPT = 41
    SVCB = 64
    HTTPS = 65


class Rcode(IntEnum):
    """Response codes the product reads or writes (RFC 1035 section 4.1.1)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    REFUSED = 5


class LocalReply(Enum):
    """What the asker is told in the resolver's name when his query or its answer does not pass."""

    REFUSED = "refused"
    EMPTY = "empty"
    """NOERROR without records: the name exists, the asked type does not (NODATA, RFC 2308 section 2.2)."""
    FORMERR = "formerr"


QR = 0x8000
AA = 0x0400
TC = 0x0200
RD = 0x0100
RA = 0x0080
AD = 0x0020
CD = 0x0010
OPCODE = 0x7800
RCODE = 0x000F
"""Bits and fields of the second header word (RFC 1035 section 4.1.1, RFC 4035 section 3)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    `name` is lower case without the root's dot ('' is the root); octets that no host name has are written
    as `\\DDD`, so that two names have the same text exactly when they are the same name. `raw` is the
    question as sent, with the case of its letters (the 0x20 nonce of clients that use one).
    """

    name: str
    qtype: int
    qclass: int
    raw: bytes

    @property
    def mixed_case(self) -> bool:
        """Whether the case of the letters can carry a nonce: both cases occur."""
        spelled = self.raw[:-4]
        return spelled not in (spelled.lower(), spelled.upper())


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record; `target` is the name in the data of a CNAME, None for every other type.

    `ttl` is in seconds; one with the top bit set reads as 0 (RFC 2181 section 8).
    """

    owner: str
    rtype: int
    rclass: int
    ttl: int
    rdata: bytes
    target: str | None = None


@dataclass(frozen=True, slots=True)
class EdnsOption:
    """One option of an OPT record (RFC 6891 section 6.1.2)."""

    code: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Edns:
    """The OPT record (RFC 6891 section 6.1): `flags` holds DO and the reserved bits."""

    udp_size: int
    extended_rcode: int
    version: int
    flags: int
    options: tuple[EdnsOption, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsMessage:
    """A readable message. Authority and additional records are checked for form and counted, not kept.

    `additional` leaves the OPT record out. `trailing` counts the bytes after the last record.
    """

    id: int
    flags: int
    questions: tuple[Question, ...]
    answers: tuple[Record, ...] = ()
    authority: int = 0
    additional: int = 0
    edns: Edns | None = None
    size: int = 0
    trailing: int = 0

    @property
    def is_response(self) -> bool:
        """QR is set."""
        return self.flags & QR != 0

    @property
    def is_truncated(self) -> bool:
        """TC is set: the sender had more to say."""
        return self.flags & TC != 0

    @property
    def opcode(self) -> int:
        """0 is a standard query."""
        return (self.flags & OPCODE) >> 11

    @property
    def rcode(self) -> int:
        """The four bits in the header; the extended bits of EDNS count too (RFC 6891 section 6.1.3)."""
        return (self.edns.extended_rcode << 4 if self.edns else 0) | self.flags & RCODE


def addresses_in(answer: DnsMessage) -> tuple[tuple[Address, int], ...]:
    """Give the (address, TTL in seconds) pairs with which the answer section answers the one question.

    Follows CNAME records from the question in whatever order they come, at most MAX_CHAIN of them; a loop
    ends the chain, a second CNAME of one owner is not read. Only records of the asked type whose owner is
    on the chain count; the TTL is the smallest on the way. Empty for an answer without exactly one question,
    with an error code, or about another type than A and AAAA.
    """
    if len(answer.questions) != 1 or answer.rcode != Rcode.NOERROR:
        return ()
    question = answer.questions[0]
    wanted = question.qtype
    if wanted not in _ADDRESS_TYPES or question.qclass != CLASS_IN:
        return ()
    make = _ADDRESS_TYPES[wanted]
    lifetimes = _chain(question.name, answer.answers)
    found: dict[Address, int] = {}
    for record in answer.answers:
        limit = lifetimes.get(record.owner) if record.rtype == wanted else None
        if limit is None or record.rclass != CLASS_IN:
            continue
        address = make(int.from_bytes(record.rdata, "big"))
        ttl = min(record.ttl, limit)
        found[address] = min(ttl, found.get(address, ttl))
    return tuple(found.items())


def _chain(name: str, records: tuple[Record, ...]) -> dict[str, int]:
    """Each name on the CNAME chain with the smallest TTL on the way to it."""
    on_chain = {name: _LONGEST_TTL}
    targets: dict[str, tuple[str, int]] = {}
    for record in records:
        if record.target is not None and record.rclass == CLASS_IN:
            targets.setdefault(record.owner, (record.target, record.ttl))
    limit = _LONGEST_TTL
    for _ in range(min(MAX_CHAIN, len(targets))):
        step = targets.get(name)
        if step is None or step[0] in on_chain:
            break
        name, limit = step[0], min(limit, step[1])
        on_chain[name] = limit
    return on_chain


_LONGEST_TTL = 0x7FFF_FFFF
_ADDRESS_TYPES: dict[int, type[IPv4Address] | type[IPv6Address]] = {
    int(RecordType.A): IPv4Address,
    int(RecordType.AAAA): IPv6Address,
}
