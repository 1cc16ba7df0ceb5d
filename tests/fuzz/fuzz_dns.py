"""DNS: any bytes give a message or ParseError, and a message of a stream is the same however it is cut.

How one begins is read from as much of it as the reader asks for, and is the same as in the whole message.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["isolator"]):
    from isolator.model.dns import addresses_in
    from isolator.wire.dns_message import LONGEST_HEAD, parse_dns, parse_dns_head
    from isolator.wire.dns_stream import DnsFrames
    from isolator.wire.parse_error import ParseError


def frames(pieces: list[bytes]) -> tuple[list[bytes], str]:
    reader = DnsFrames()
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
    except ParseError as error:
        return [], error.kind.value
    return found, ""


def one(data: bytes) -> None:
    with suppress(ParseError):
        message = parse_dns(data)
        addresses_in(message)
        head = parse_dns_head(data[:LONGEST_HEAD])
        assert head is not None
        assert (head.id, head.flags) == (message.id, message.flags)
        assert head.questions == (message.questions if len(message.questions) == 1 else ())
    with suppress(ParseError):
        assert parse_dns_head(data) is not None or len(data) < LONGEST_HEAD, "it is known by then"
    cut = len(data) // 2
    assert frames([data[:cut], data[cut:]]) == frames([data])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
