"""The table of hellos: which client, in which shape, naming whom, over which family, and what must happen."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.corpus.hellos import Extension, ech, recorded
from tests.corpus.rewrite import Flight, take_apart
from tests.netns.raw_tcp import Call

ALLOWED, OTHER, UNLISTED = "api.vendor.example", "other.vendor.example", "www.elsewhere.example"
ADDRESSES = {4: "20.92.0.1", 6: "2603:1099::1"}
"""Of ALLOWED."""
OTHER_ADDRESSES = {4: "20.92.0.2", 6: "2603:1099::2"}
PORT = 8446
MARKER = 16
"""Bytes of a marker: in the hello's random and behind the flight. Whether they come back is the verdict."""
RUN = secrets.token_bytes(8)
"""Begins every marker of this process: what a sniffer looks for."""
_SEGMENT = 1_400

Pieces = Sequence[tuple[int, bytes]]
Cut = Callable[[bytes], Pieces]


def new_marker() -> bytes:
    """A marker that nothing else has."""
    return RUN + secrets.token_bytes(MARKER - len(RUN))


def cut(data: bytes, size: int, start: int = 0) -> list[tuple[int, bytes]]:
    """Segments of that size; the marker at the end has one of its own."""
    end = len(data) - MARKER
    flight = data[:end]
    return [*((at, flight[at : at + size]) for at in range(start, end, size)), (end, data[end:])]


def whole(data: bytes) -> Pieces:
    """As few segments as Ethernet takes."""
    return cut(data, _SEGMENT)


def halves(data: bytes) -> Pieces:
    return cut(data, len(data) // 2 + 1)


def in_the_name(data: bytes) -> Pieces:
    """Cut in the middle of the name, where there is one."""
    at = data.find(b".vendor.")
    at = at if at > 0 else data.find(b".elsewhere.")
    return [(0, data[:at]), *cut(data, _SEGMENT, at)] if at > 0 else halves(data)


def byte_by_byte(data: bytes) -> Pieces:
    """The first 300 bytes: the gate holds 512 segments of all connections."""
    return [*cut(data, 1)[:300], *cut(data, _SEGMENT, 300)]


def sixteens(data: bytes) -> Pieces:
    return cut(data, 16)


def backwards(data: bytes) -> Pieces:
    return cut(data, 100)[::-1]


def marker_first(data: bytes) -> Pieces:
    return [*whole(data)[-1:], *whole(data)[:-1]]


def shuffled(data: bytes) -> Pieces:
    pieces = cut(data, 50)
    random.Random(len(data)).shuffle(pieces)
    return pieces


def twice(data: bytes) -> Pieces:
    """Each segment sent again at once, and all of them at the end."""
    pieces = cut(data, 200)
    return [piece for piece in pieces for _ in (1, 2)] + pieces


def cut_anew(data: bytes) -> Pieces:
    """What comes again is cut otherwise, as when a kernel collapses its queue."""
    return [(0, data[:90]), (150, data[150:200]), (40, data[40:180]), (0, data[:150]), *whole(data)]


SHAPES: dict[str, tuple[Cut, int | None]] = {
    "whole": (whole, None),
    "halves": (halves, None),
    "in the name": (in_the_name, None),
    "byte by byte": (byte_by_byte, None),
    "sixteens": (sixteens, None),
    "backwards": (backwards, None),
    "marker first": (marker_first, None),
    "shuffled": (shuffled, None),
    "twice": (twice, None),
    "cut anew": (cut_anew, None),
    "two records": (whole, 160),
    "many records": (whole, 16),
    "records of one byte": (whole, 1),
    "records and segments": (lambda data: cut(data, 37), 50),
}
"""How a flight is cut into segments, and how large the TLS records of its hello are (None: as recorded)."""
NAMES: dict[str, tuple[str | None, str, str]] = {
    "allowed": (ALLOWED, "echo", "tls_name_allowed"),
    "not listed": (UNLISTED, "reset", "tls_name_not_allowed"),
    "listed for another address": (OTHER, "reset", "tls_name_elsewhere"),
    "absent": (None, "reset", "tls_name_missing"),
}
NEAR_NAMES = {
    "API.Vendor.EXAMPLE": True,
    "api.vendor.example.": True,
    "xapi.vendor.example": False,
    "api.vendor.example.elsewhere.example": False,
    "vendor.example": False,
    "sub.api.vendor.example": False,
    "api.vendor.example\0.elsewhere.example": None,
    "api.vendor.example:8446": None,
    "20.92.0.1": False,
    "*.vendor.example": None,
    "api..vendor.example": None,
    "": None,
}
"""Spellings close to the listed name: fine, not listed, or (None) no server name at all by RFC 6066."""


@dataclass(frozen=True, slots=True)
class Row:
    """One connection of the table."""

    label: str
    server: str
    pieces: Pieces
    stream: bytes
    marker: bytes
    outcome: str
    reason: str
    first: int | None = None
    """The SYN's sequence number, when it matters."""

    def call(self) -> Call:
        """The connection to be made."""
        return Call(self.server, PORT, self.pieces, len(self.stream), first=self.first)


def flights() -> dict[str, Flight]:
    """The recorded first flights by client."""
    return {client: take_apart(data) for client, data in recorded("tls")}


def table(only: str | None = None) -> Iterator[Row]:
    """Every client (or one) in every shape, with every name, over both families."""
    for client, flight in flights().items():
        if only not in (None, client):
            continue
        for case in NAMES:
            for shape in SHAPES:
                for family in ADDRESSES:
                    yield row(client, flight, case, shape, family)


def encrypted() -> Iterator[Row]:
    """Encrypted hellos: a real one names its provider in the open, a decoy the site itself."""
    for client, flight in flights().items():
        if not flight.hidden:
            for case in NAMES:
                for family in ADDRESSES:
                    yield row(f"{client} with ECH", flight, case, "whole", family, ech(payload=b"p" * 239))


def near_names() -> Iterator[Row]:
    """Names close to the listed one."""
    flight = flights()["openssl_default"]
    for name, fine in NEAR_NAMES.items():
        outcome = "echo" if fine else "reset"
        reason = {True: "tls_name_allowed", False: "tls_name_not_allowed", None: "tls_unreadable"}[fine]
        yield _row(f"named {name!r}", flight.named(name), "whole", 4, outcome, reason)


def rewritten_on_the_way() -> Iterator[Row]:
    """Two hellos over each other: whichever the server reads, it may only be one that was judged."""
    for client, flight in flights().items():
        marker = new_marker()
        fine = flight.named(ALLOWED).marked(marker).render() + marker
        # The same length, so that only the name differs.
        bad = fine.replace(ALLOWED.encode(), b"evil.hidden.exampl")
        name = fine.find(b".vendor")
        for server in ADDRESSES.values():
            for how, first, then in (("bad first", bad, fine), ("good first", fine, bad)):
                orders = {
                    "ahead": [(60, first[60:400]), *whole(then)],
                    "half a name": [(0, first[: name + 4]), *whole(then)],
                    "the name": [(0, first[: name + 16]), *whole(then)],
                }
                for order, pieces in orders.items():
                    label = f"{client}, {how}, {order}, {server}"
                    yield Row(label, server, pieces, then, marker, "reset", "tcp_overlap")


def wrapping() -> Iterator[Row]:
    """Sequence numbers that wrap around inside the hello."""
    for client, flight in flights().items():
        for case in NAMES:
            for shape in ("whole", "shuffled", "twice"):
                each = row(client, flight, case, shape, 4)
                yield replace(each, label=f"{each.label}, wrapping", first=(1 << 32) - 60)


def unsound() -> Iterator[Row]:
    """An allowed hello with something before it or in it that servers may read in two ways."""
    for client, flight in flights().items():
        fine = flight.named(ALLOWED)
        second = (0, fine.extensions[0][1].replace(ALLOWED.encode(), UNLISTED[: len(ALLOWED)].encode()))
        wrong = {
            "an alert before": b"\x15\3\1\0\2\1\0" + fine.render(),
            "a change of cipher before": b"\x14\3\1\0\1\1" + fine.render(),
            "an empty record before": b"\x16\3\1\0\0" + fine.render(),
            "a hello request before": b"\x16\3\1\0\4" + bytes(4) + fine.render(),
            "a line before": b"\r\n" + fine.render(),
            "two names": fine.named(ALLOWED, second).render(),
            "two names, the other first": replace(fine, extensions=(second, *fine.extensions)).render(),
            "SSL 2": b"\x80\x2e\1\3\1" + bytes(43),
        }
        for what, data in wrong.items():
            marker = new_marker()
            stream = data + marker
            pieces = whole(stream)
            yield Row(f"{client}, {what}", ADDRESSES[4], pieces, stream, marker, "reset", "tls_unreadable")


def row(client: str, flight: Flight, case: str, shape: str, family: int, *more: Extension) -> Row:
    """One cell of the table."""
    name, outcome, reason = NAMES[case]
    named = flight.named(name, *more)
    if named.hidden and case == "not listed":
        reason = "tls_ech_refused"
    return _row(f"{client}, {case}, {shape}, v{family}", named, shape, family, outcome, reason)


def _row(label: str, flight: Flight, shape: str, family: int, outcome: str, reason: str) -> Row:
    cutter, record = SHAPES[shape]
    marker = new_marker()
    stream = flight.marked(marker).render(record) + marker
    return Row(label, ADDRESSES[family], cutter(stream), stream, marker, outcome, reason)


def batches(rows: Iterable[Row], segments: int = 300) -> Iterator[list[Row]]:
    """Rows to be called at the same time: their segments together stay below what the gate holds."""
    batch: list[Row] = []
    size = 0
    for each in rows:
        if batch and size + len(each.pieces) > segments:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each.pieces)
    if batch:
        yield batch
