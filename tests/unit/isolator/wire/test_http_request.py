"""HTTP/1 requests in a connection: what is found, what is refused."""

from __future__ import annotations

import pytest

from isolator.model.http import Form, Request
from isolator.wire.http_request import MAX_HEAD, MAX_LINE, RequestReader
from isolator.wire.parse_error import ParseError, Unreadable
from tests.corpus import hellos

RECORDED = dict(hellos.recorded("http"))
GET = b"GET /pki/a.crl HTTP/1.1\r\nHost: crl.test\r\n\r\n"
FOUND = Request("GET", Form.ORIGIN, "crl.test", None, "/pki/a.crl")


def read(data: bytes, step: int = 0) -> list[Request]:
    reader = RequestReader()
    pieces = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    return [request for piece in pieces for request in reader.feed(piece)]


def refused(data: bytes) -> Unreadable | None:
    try:
        read(data)
    except ParseError as error:
        return error.kind
    return None


@pytest.mark.parametrize("client", RECORDED)
@pytest.mark.parametrize("step", [0, 1, 7])
def test_real_clients_are_read(client: str, step: int) -> None:
    (found,) = read(RECORDED[client], step)
    assert found.host == "www.listed.test"
    if RECORDED[client].startswith(b"CONNECT"):
        assert (found.form, found.port) == (Form.AUTHORITY, 443)
    else:
        assert found.form is (Form.ABSOLUTE if b" http://" in RECORDED[client] else Form.ORIGIN)


@pytest.mark.parametrize(
    ("body", "head"),
    [
        (b"", b""),
        (b"", b"Content-Length: 0\r\n"),
        (b"GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n", b"content-length: 43\r\n"),
        (b"3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\n", b"Transfer-Encoding:\tChunked \r\n"),
        (b"0\r\n\r\n", b"Transfer-Encoding: chunked\r\n"),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_the_request_after_a_body_is_found(body: bytes, head: bytes, step: int) -> None:
    first = b"POST /x HTTP/1.1\r\nHost: a.test:80\r\n" + head + b"\r\n"
    assert read(first + body + GET, step) == [Request("POST", Form.ORIGIN, "a.test", 80, "/x"), FOUND]


def test_between_says_whether_a_head_is_begun() -> None:
    reader = RequestReader()
    assert reader.between
    reader.feed(GET[:1])
    assert not reader.between
    reader.feed(GET[1:])
    assert reader.between
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
    assert reader.between
    reader.feed(b"y" + GET[:30])
    assert not reader.between


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"GET http://CRL.test HTTP/1.0\r\n", Request("GET", Form.ABSOLUTE, "crl.test", 80, "/")),
        (b"GET http://crl.test:81/a HTTP/1.1\r\nHost: crl.test:81\r\n", Request("GET", Form.ABSOLUTE, "crl.test", 81, "/a")),
        (b"GET HTTP://crl.test/?q HTTP/1.1\r\nHost: CRL.test.\r\n", Request("GET", Form.ABSOLUTE, "crl.test", 80, "/")),
        (b"GET https://crl.test/ HTTP/1.1\r\nHost: crl.test\r\n", Request("GET", Form.ABSOLUTE, "crl.test", 443, "/")),
        (b"CONNECT a.test:443 HTTP/1.0\r\n", Request("CONNECT", Form.AUTHORITY, "a.test", 443, "")),
        (b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n", Request("CONNECT", Form.AUTHORITY, "a.test", 443, "")),
        (b"CONNECT [2001:DB8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n", Request("CONNECT", Form.AUTHORITY, "2001:db8::1", 443, "")),
        (b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n", Request("OPTIONS", Form.ASTERISK, "a.test", None, "*")),
        (b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nX:\r\nY: \xff \t z\r\n", Request("GET", Form.ORIGIN, "192.0.2.1", None, "/")),
        (b"GET / HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Negotiate abc==\r\n", Request("GET", Form.ORIGIN, "a", None, "/")),
    ],
)  # fmt: skip
def test_forms(head: bytes, found: Request) -> None:
    assert read(head + b"\r\n") == [found]
    assert read(head + b"\r\n", 1) == [found]


HOST = b"Host: a.test\r\n"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\r\n" + GET, Unreadable.HTTP_LINE),
        (b"\x16\x03\x01", Unreadable.HTTP_LINE),
        (b" GET / HTTP/1.1\r\n", Unreadable.HTTP_LINE),
        (b"GET  / HTTP/1.1\r\n", Unreadable.HTTP_LINE),
        (b"GET / HTTP/1.1 \r\n", Unreadable.HTTP_LINE),
        (b"GET /\r\n", Unreadable.HTTP_LINE),
        (b"GET / HTTP/1.2\r\n", Unreadable.HTTP_LINE),
        (b"GET / HTTP/2.0\r\n", Unreadable.HTTP_LINE),
        (b"GET / http/1.1\r\n", Unreadable.HTTP_LINE),
        (b"G\0T / HTTP/1.1\r\n", Unreadable.HTTP_LINE),
        (b"G(T / HTTP/1.1\r\n", Unreadable.HTTP_LINE),
        (b"GET /\xc3\xbc HTTP/1.1\r\n", Unreadable.HTTP_LINE),
        (b"GET /a\tb HTTP/1.1\r\n", Unreadable.HTTP_LINE),
        (b"GET / HTTP/1.1\r\r\n", Unreadable.HTTP_LINE),
        (b"GET / HTTP/1.1\n", Unreadable.HTTP_LINE_END),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Unreadable.HTTP_VERSION),
        (b"GET / HTTP/1.1\r\nHost: a.test\n\r\n", Unreadable.HTTP_LINE_END),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", Unreadable.HTTP_LINE_END),
        (b"GET / HTTP/1.1\r\nX: a\rHost: b\r\n\r\n", Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\n" + HOST + b"\tfolded: x\r\n\r\n", Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\n: a.test\r\n\r\n", Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 101, Unreadable.HTTP_HEADER),
        (b"GET / HTTP/1.1\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.0\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET http://a.test/ HTTP/1.1\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\n" + HOST + b"hOST: b.test\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost: a.test:0\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost: a.test:65536\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost: u@a.test\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost: [1:2]\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", Unreadable.HOST_NAME),
        (b"GET / HTTP/1.1\r\nHost: a.test b.test\r\n\r\n", Unreadable.HOST_NAME),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test:81\r\n\r\n", Unreadable.HTTP_HOST),
        (b"GET http://u:p@a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_HOST),
        (b"GET ftp://a.test/ HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET a.test/x HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET http://a.test?q HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET http://a.test?@evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET /#f HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"GET /%7F HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"CONNECT a.test HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_TARGET),
        (b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HOST_NAME),
        (b"CONNECT b.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", Unreadable.HTTP_HOST),
        (b"CONNECT a.test:443 HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\n", Unreadable.HTTP_FRAMING),
        (b"CONNECT a.test:443 HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", Unreadable.HTTP_FRAMING),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\n\r\n", Unreadable.HTTP_UPGRADE),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\n\r\n", Unreadable.HTTP_UPGRADE),
        (b"GET /" + b"a" * MAX_LINE, Unreadable.HTTP_TOO_LONG),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 8_000 + b"\r\n") * 4 + b"X: " + b"a" * 800, Unreadable.HTTP_TOO_LONG),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, kind: Unreadable) -> None:
    assert refused(data) is kind


@pytest.mark.parametrize(
    "fields",
    [b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
     b"Content-Length: 1\r\nContent-Length: 1\r\n", b"Content-Length: 1, 1\r\n", b"Content-Length: +1\r\n",
     b"Content-Length: -1\r\n", b"Content-Length: 0x1\r\n", b"Content-Length:\r\n", b"Content-Length: 1 1\r\n",
     b"Content-Length: " + b"9" * 16 + b"\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: xchunked\r\n",
     b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"],
)  # fmt: skip
def test_doubtful_framing_is_refused(fields: bytes) -> None:
    assert refused(b"POST / HTTP/1.1\r\n" + HOST + fields + b"\r\n") is Unreadable.HTTP_FRAMING


def test_chunks_in_http_1_0_are_refused() -> None:
    assert (
        refused(b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        is Unreadable.HTTP_FRAMING
    )


@pytest.mark.parametrize(
    "body",
    [b"3;ext=1\r\n", b" 3\r\n", b"3 \r\n", b"0x3\r\n", b"+3\r\n", b"\r\n", b"g\r\n", b"3\r\nabcd\r\n",
     b"1" * 13 + b"\r\n", b"0\r\nTrailer: x\r\n\r\n", b"3\r\nabcX\r\n"],
)  # fmt: skip
def test_odd_chunks_are_refused(body: bytes) -> None:
    assert (
        refused(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        is Unreadable.HTTP_CHUNK
    )


def test_chunk_lines_end_with_cr_lf_only() -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert refused(head + b"3\nabc") is Unreadable.HTTP_LINE_END


CONNECT = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"


@pytest.mark.parametrize("step", [0, 1])
def test_a_tunnel_begins_after_connect(step: int) -> None:
    reader = RequestReader()
    data = CONNECT + b"\x16\x03\x01GET / HTTP/1.1\r\n"
    tunnel = b""
    for at in range(0, len(data), step or len(data)):
        reader.feed(data[at : at + (step or len(data))])
        tunnel += reader.tunnel or b""
    assert tunnel == data[len(CONNECT) :]


def test_after_a_refused_connect_comes_the_next_request() -> None:
    reader = RequestReader()
    assert [each.host for each in reader.feed(CONNECT)] == ["a.test"]
    assert reader.tunnel is None
    assert [each.host for each in reader.feed(CONNECT.replace(b"a.test", b"b.test"))] == ["b.test"]
    assert reader.feed(b"\x16") == ()
    assert reader.tunnel == b"\x16"


def test_a_tunnel_does_not_begin_after_another_request() -> None:
    assert refused(CONNECT + GET + b"\x16\x03\x01") is Unreadable.HTTP_LINE


def test_long_heads_that_are_within_the_bounds() -> None:
    line = b"X: " + b"a" * 8_000 + b"\r\n"
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + line * 4 + b"\r\n"
    assert len(data) < MAX_HEAD
    assert len(read(data)) == 1
    assert len(read(data * 3, 1)) == 3


def test_work_is_linear_in_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is taken once, however many pieces it comes in."""
    taken = 0
    take = RequestReader._take_line

    def counted(reader: RequestReader, line: bytes) -> Request | None:
        nonlocal taken
        taken += len(line)
        return take(reader, line)

    monkeypatch.setattr(RequestReader, "_take_line", counted)
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"a" * 8_000 + b"\r\n") * 4 + b"\r\n"
    read(data, 1)
    assert taken <= len(data)
