"""Readers as the gate drives them: errors come back as values."""

from __future__ import annotations

from isolator.model.first_bytes import Garbled
from isolator.model.tls import Hello
from isolator.wire.first_bytes import Hellos, Requests
from tests.corpus.hellos import hello


def test_hellos() -> None:
    reader = Hellos()
    data = hello()
    assert reader.feed(data[:9]) is None
    assert isinstance(reader.feed(data[9:]), Hello)
    assert Hellos().feed(b"GET") == Garbled("tls_not_a_hello")


def test_requests() -> None:
    reader = Requests()
    assert reader.feed(b"CONNECT a.test:443 HTTP/1.0\r\n") == ()
    assert (reader.between, reader.tunnel) == (False, None)
    found = reader.feed(b"\r\n\x16")
    assert not isinstance(found, Garbled)
    assert len(found) == 1
    assert (reader.between, reader.tunnel) == (True, b"\x16")
    assert Requests().feed(b"\x16") == Garbled("http_line")
