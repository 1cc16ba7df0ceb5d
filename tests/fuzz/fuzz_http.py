"""HTTP: any bytes give requests or ParseError, and the same however they are cut."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["isolator"]):
    from isolator.model.http import Request
    from isolator.wire.http_request import RequestReader
    from isolator.wire.parse_error import ParseError


def outcome(pieces: list[bytes]) -> tuple[list[Request], str, bytes, bool]:
    reader = RequestReader()
    found: list[Request] = []
    tunnel = b""
    try:
        for piece in pieces:
            found += reader.feed(piece)
            tunnel += reader.tunnel or b""
    except ParseError as error:
        # Requests of the piece with the error are lost to the caller, who ends the connection anyway.
        return [], error.kind.value, b"", False
    return found, "", tunnel, reader.between


def one(data: bytes) -> None:
    whole = outcome([data])
    cut = len(data) // 2
    assert outcome([data[:cut], data[cut:]]) == whole
    if len(data) < 600:
        assert outcome([data[at : at + 1] for at in range(len(data))]) == whole
    for request in whole[0]:
        assert request.host
        assert "/../" not in request.path
        assert request.host == request.host.lower()


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
