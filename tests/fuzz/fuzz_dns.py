"""DNS: any bytes give a message or ParseError, and a message of a stream is the same however it is cut."""

from __future__ import annotations

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["isolator"]):
    from isolator.model.dns import addresses_in
    from isolator.wire.dns_message import parse_dns
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
        addresses_in(parse_dns(data))
    cut = len(data) // 2
    assert frames([data[:cut], data[cut:]]) == frames([data])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
