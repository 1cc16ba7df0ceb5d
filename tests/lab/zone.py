"""What the lab's resolver knows, and the bytes it answers with (RFC 1035, RFC 6891). No sockets here.

Answers are prepared once per name and type; answering is then a dictionary look-up and a join, which is
what lets one Python process answer tens of thousands of queries a second.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

A, CNAME, SOA, AAAA, OPT = 1, 5, 6, 28, 41
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
_IN = 1
_LONGEST_CHAIN = 16
_OPT_RECORD = b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0)


@dataclass(frozen=True, slots=True)
class Host:
    """One name of the zone. ``*.example.test`` stands for every name below that has no entry of its own."""

    name: str
    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    cname: str | None = None
    """The next name of a chain; the addresses above are then unused."""
    ttl: int = 60
    """Seconds; of every record of this name."""
    per_answer: int = 0
    """How many addresses one answer carries, the next one going on in the pool; 0: all, no rotation."""
    rcode: int = NOERROR
    """Any other code is answered as it is, without records."""


@dataclass(frozen=True, slots=True)
class Question:
    """The question of a query, and how much the asker can take."""

    name: bytes
    """In wire form, lower case."""
    qtype: int
    end: int
    """Offset behind the question section."""
    limit: int
    """Largest UDP answer in bytes: 512, or what the asker's OPT record says."""
    edns: bool

    @property
    def text(self) -> str:
        return text_of(self.name)


@dataclass(slots=True)
class _Prepared:
    """Every answer to one (name, type): rcode, then (answer count, authority count, bytes) taken in turn."""

    rcode: int
    bodies: tuple[tuple[int, int, bytes], ...]
    next: int = 0


@dataclass(slots=True)
class Zone:
    """All hosts of a lab, with the answers prepared so far."""

    hosts: dict[str, Host] = field(default_factory=dict)
    _prepared: dict[tuple[bytes, int], _Prepared] = field(default_factory=dict, repr=False)

    def put(self, hosts: Iterable[Host]) -> None:
        """Add or replace names; answers in preparation are forgotten."""
        self.hosts.update({host.name.lower().rstrip("."): host for host in hosts})
        self._prepared.clear()

    def drop(self, names: Iterable[str]) -> None:
        """Take names out (they answer NXDOMAIN from now on); unknown ones are no error."""
        for name in names:
            self.hosts.pop(name.lower().rstrip("."), None)
        self._prepared.clear()

    def find(self, name: str) -> Host | None:
        """The host for a name: its own, or the closest wildcard above it (RFC 4592)."""
        if (own := self.hosts.get(name)) is not None:
            return own
        rest = name
        while "." in rest:
            rest = rest.partition(".")[2]
            if (star := self.hosts.get("*." + rest)) is not None:
                return star
        return None

    def answer(self, query: bytes, question: Question, *, limit: int | None = None) -> bytes:
        """The whole answer to a query; truncated (TC, no records) when longer than ``limit``."""
        key = (question.name, question.qtype)
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(self._prepared) > 100_000:  # a tunnel test asks for ever new names
                self._prepared.clear()
            prepared = self._prepared[key] = self._prepare(question.text, question.qtype)
        index = prepared.next
        prepared.next = (index + 1) % len(prepared.bodies)
        answers, authority, body = prepared.bodies[index]
        flags = 0x8080 | (query[2] & 1) << 8 | prepared.rcode  # QR, RA, and RD as it came
        extra = _OPT_RECORD if question.edns else b""
        asked = query[12 : question.end]
        if 12 + len(asked) + len(body) + len(extra) > (question.limit if limit is None else limit):
            answers, authority, body, flags = 0, 0, b"", flags | 0x0200
        counts = struct.pack("!HHHHH", flags, 1, answers, authority, 1 if extra else 0)
        return query[:2] + counts + asked + body + extra

    def _prepare(self, name: str, qtype: int) -> _Prepared:
        chain, last = self._follow(name)
        prefix = b"".join(_record(owner, CNAME, ttl, _wire(target)) for owner, ttl, target in chain)
        owner = chain[-1][2] if chain else None
        if last is None or last.rcode != NOERROR:
            rcode = NXDOMAIN if last is None else last.rcode
            return _Prepared(rcode, ((len(chain), 1, prefix + _soa()),))
        pool = {A: last.v4, AAAA: last.v6}.get(qtype, ())
        records = [_record(owner, qtype, last.ttl, ipaddress.ip_address(text).packed) for text in pool]
        if not records:
            return _Prepared(NOERROR, ((len(chain), 0 if chain else 1, prefix + (b"" if chain else _soa())),))
        take = last.per_answer or len(records)
        starts = range(len(records)) if last.per_answer else range(1)
        doubled = records + records
        bodies = tuple(
            (
                len(chain) + min(take, len(records)),
                0,
                prefix + b"".join(doubled[s : s + min(take, len(records))]),
            )
            for s in starts
        )
        return _Prepared(NOERROR, bodies)

    def _follow(self, name: str) -> tuple[list[tuple[str | None, int, str]], Host | None]:
        """The CNAME links from ``name`` on, (owner, ttl, target) each, and the host at the end if any."""
        chain: list[tuple[str | None, int, str]] = []
        host = self.find(name)
        while host is not None and host.cname is not None and len(chain) < _LONGEST_CHAIN:
            chain.append((chain[-1][2] if chain else None, host.ttl, host.cname))
            host = self.find(host.cname.lower().rstrip("."))
        return chain, host


def parse_question(query: bytes) -> Question | None:
    """The question of a query; None for what is no plain query with one question (it is not answered)."""
    try:
        if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
            return None
        at = 12
        while (length := query[at]) != 0:
            if length > 63:
                return None
            at += 1 + length
        end = at + 5
        qtype = int.from_bytes(query[at + 1 : at + 3], "big")
        if end > len(query):
            return None
        edns = query[11] == 1 and len(query) >= end + 11 and query[end] == 0 and query[end + 2] == OPT
        limit = max(512, int.from_bytes(query[end + 3 : end + 5], "big")) if edns else 512
        return Question(query[12 : at + 1].lower(), qtype, end, limit, edns)
    except IndexError:
        return None


def ask(name: str, qtype: int, ident: int) -> bytes:
    """A plain recursive query."""
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + _wire(name) + struct.pack("!HH", qtype, _IN)


def text_of(name: bytes) -> str:
    """A name in wire form as text, no last dot; bytes beyond ASCII as \\DDD (RFC 1035 section 5.1)."""
    labels, at = [], 0
    while at < len(name) and name[at]:
        label = name[at + 1 : at + 1 + name[at]]
        labels.append("".join(chr(b) if 0x20 < b < 0x7F and b not in b".\\" else f"\\{b:03d}" for b in label))
        at += 1 + name[at]
    return ".".join(labels)


def _wire(name: str) -> bytes:
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")] if name.strip(".") else []
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _record(owner: str | None, kind: int, ttl: int, data: bytes) -> bytes:
    name = b"\xc0\x0c" if owner is None else _wire(owner)  # a pointer to the question's name
    return name + struct.pack("!HHIH", kind, _IN, ttl, len(data)) + data


def _soa() -> bytes:
    """The authority record of a negative answer; its minimum (0) keeps "no such name" out of caches."""
    return b"\0" + struct.pack("!HHIH", SOA, _IN, 0, 22) + b"\0\0" + struct.pack("!IIIII", 1, 60, 60, 60, 0)
