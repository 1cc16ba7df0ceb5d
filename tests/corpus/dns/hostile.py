"""Messages that are wrong in one way each."""

from __future__ import annotations

import struct

from isolator.wire.parse_error import Unreadable

NAME = b"\x03www\x04test\x00"
QUESTION = NAME + b"\x00\x01\x00\x01"


def header(
    *, questions: int = 1, answers: int = 0, authority: int = 0, additional: int = 0, flags: int = 0
) -> bytes:
    """A header with id 7."""
    return struct.pack("!6H", 7, flags, questions, answers, authority, additional)


def record(owner: bytes, rtype: int, rdata: bytes, *, ttl: int = 60, rclass: int = 1) -> bytes:
    """One record."""
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(rdata)) + rdata


POINTER = b"\xc0\x0c"
OPT = record(b"\0", 41, b"", ttl=0, rclass=1232)

MALFORMED: dict[str, tuple[bytes, Unreadable]] = {
    "nothing": (b"", Unreadable.DNS_TRUNCATED),
    "half a header": (header()[:11], Unreadable.DNS_TRUNCATED),
    "no question where one is announced": (header(), Unreadable.DNS_TRUNCATED),
    "65,535 questions announced": (header(questions=65_535) + QUESTION, Unreadable.DNS_TRUNCATED),
    "name runs out": (header() + b"\x03ww", Unreadable.DNS_TRUNCATED),
    "name without its end": (header() + b"\x03www", Unreadable.DNS_TRUNCATED),
    "half a pointer": (header(questions=2) + QUESTION + b"\xc0", Unreadable.DNS_TRUNCATED),
    "half a pointer after a label": (header() + b"\x01a\xc0", Unreadable.DNS_TRUNCATED),
    "no type after the name": (header() + NAME + b"\x00\x01\x00", Unreadable.DNS_TRUNCATED),
    "label of type 01": (header() + b"\x40" + QUESTION, Unreadable.DNS_LABEL),
    "label of type 10": (header() + b"\x80" + QUESTION, Unreadable.DNS_LABEL),
    "pointer to itself": (header() + b"\xc0\x0c\x00\x01\x00\x01", Unreadable.DNS_POINTER),
    "label that points to its own start": (
        header() + b"\x01a\xc0\x0c\x00\x01\x00\x01",
        Unreadable.DNS_POINTER,
    ),
    "pointer forwards": (header() + b"\xc0\x20" + bytes(40), Unreadable.DNS_POINTER),
    "pointer into the header": (header() + b"\xc0\x00\x00\x01\x00\x01", Unreadable.DNS_POINTER),
    "name of 256 octets": (
        header()
        + b"".join(b"\x3f" + b"a" * 63 for _ in range(3))
        + b"\x3e"
        + b"a" * 62
        + b"\0"
        + b"\x00\x01\x00\x01",
        Unreadable.DNS_NAME_TOO_LONG,
    ),
    "name too long by way of a pointer": (
        header(answers=1)
        + b"".join(b"\x3f" + b"a" * 63 for _ in range(3))
        + b"\x3d"
        + b"a" * 61
        + b"\0\x00\x01\x00\x01"
        + record(b"\x01b\xc0\x0c", 1, bytes(4)),
        Unreadable.DNS_NAME_TOO_LONG,
    ),
    "record without its data": (
        header(answers=1) + QUESTION + record(POINTER, 1, bytes(4))[:-1],
        Unreadable.DNS_TRUNCATED,
    ),
    "record without its head": (header(answers=1) + QUESTION + POINTER + bytes(9), Unreadable.DNS_TRUNCATED),
    "A of three octets": (header(answers=1) + QUESTION + record(POINTER, 1, bytes(3)), Unreadable.DNS_RDATA),
    "AAAA of four octets": (
        header(answers=1) + QUESTION + record(POINTER, 28, bytes(4)),
        Unreadable.DNS_RDATA,
    ),
    "CNAME with bytes behind its name": (
        header(answers=1) + QUESTION + record(POINTER, 5, NAME + b"x"),
        Unreadable.DNS_RDATA,
    ),
    "CNAME longer than its data": (
        header(answers=2) + QUESTION + record(POINTER, 5, NAME[:-1]) + record(POINTER, 1, bytes(4)),
        Unreadable.DNS_RDATA,
    ),
    "CNAME without data": (header(answers=1) + QUESTION + record(POINTER, 5, b""), Unreadable.DNS_TRUNCATED),
    "A of three octets in the authority section": (
        header(authority=1) + QUESTION + record(POINTER, 1, bytes(3)),
        Unreadable.DNS_RDATA,
    ),
    "OPT in the answer section": (header(answers=1) + QUESTION + OPT, Unreadable.DNS_OPT),
    "OPT in the authority section": (header(authority=1) + QUESTION + OPT, Unreadable.DNS_OPT),
    "two OPT": (header(additional=2) + QUESTION + OPT + OPT, Unreadable.DNS_OPT),
    "OPT with an owner": (header(additional=1) + QUESTION + record(POINTER, 41, b""), Unreadable.DNS_OPT),
    "option without its head": (
        header(additional=1) + QUESTION + record(b"\0", 41, b"\x00\x0a"),
        Unreadable.DNS_OPT,
    ),
    "option longer than the record": (
        header(additional=1) + QUESTION + record(b"\0", 41, b"\x00\x0a\x00\x09abcdefgh"),
        Unreadable.DNS_OPT,
    ),
}


def pointer_chain(hops: int) -> bytes:
    """An answer whose one record's owner is a chain of pointers, each to the one before it."""
    start = 12 + len(QUESTION) + 11
    chain = struct.pack("!H", 0xC00C) + b"".join(
        struct.pack("!H", 0xC000 | start + 2 * n) for n in range(hops - 1)
    )
    carrier = record(b"\0", 16, chain)
    last = struct.pack("!H", 0xC000 | start + 2 * (hops - 1))
    return header(answers=2, flags=0x8180) + QUESTION + carrier + record(last, 1, bytes(4))


def pointer_fan(labels: int, records: int) -> bytes:
    """An answer of many records, each pointing into long names: the worst for a plain reader."""
    names = b"".join(b"\x01a" * 120 + b"\0" for _ in range(labels // 120))
    start = 12 + len(QUESTION) + 11
    places = [start + run * 241 + 2 * label for run in range(labels // 120) for label in range(120)]
    fan = b"".join(
        record(struct.pack("!H", 0xC000 | places[n % len(places)]), 1, bytes(4)) for n in range(records)
    )
    return header(answers=records + 1, flags=0x8180) + QUESTION + record(b"\0", 16, names) + fan
