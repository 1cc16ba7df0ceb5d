"""TLS: any bytes give a hello, a wish for more, or ParseError; and the same however they are cut."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["isolator"]):
    from isolator.model.tls import Hello
    from isolator.wire.parse_error import ParseError
    from isolator.wire.tls_hello import HelloReader


def outcome(pieces: list[bytes]) -> Hello | str | None:
    reader = HelloReader()
    try:
        for piece in pieces:
            hello = reader.feed(piece)
            if hello is not None:
                return hello
    except ParseError as error:
        return error.kind.value
    return None


def one(data: bytes) -> None:
    whole = outcome([data])
    cut = len(data) // 2
    assert outcome([data[:cut], data[cut:]]) == whole
    if len(data) < 600:
        assert outcome([data[at : at + 1] for at in range(len(data))]) == whole


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
