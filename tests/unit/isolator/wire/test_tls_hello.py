"""ClientHellos: recorded ones, put-together ones, and what is refused."""

from __future__ import annotations

import pytest

from isolator.model.tls import Ech
from isolator.wire import tls_hello
from isolator.wire.parse_error import ParseError, Unreadable
from isolator.wire.tls_hello import MAX_HELLO, HelloReader, parse_hello
from tests.corpus import hellos
from tests.corpus.hellos import alpn, ech, hello, message, records, server_name, vector, versions

RECORDED = dict(hellos.recorded("tls"))
SERVER_NAME = server_name(b"www.listed.test")


@pytest.mark.parametrize("client", RECORDED)
def test_real_clients_are_read(client: str) -> None:
    found = parse_hello(RECORDED[client])
    assert found is not None
    named = {"openssl_no_name": None, "chromium_ech": "public.provider.test"}
    assert found.server_name == named.get(client, "www.listed.test")
    assert found.records == (2 if client.endswith("fragments") else 1)
    assert found.resumes == client.startswith(("openssl_resumed", "openssl_early"))
    assert found.early_data == client.startswith("openssl_early")
    assert (found.size < len(RECORDED[client])) == found.early_data
    assert (found.ech is Ech.OUTER) == client.startswith("chromium")
    assert not any(version & 0x0F0F == 0x0A0A for version in found.versions)


def test_the_corpus_has_the_shapes_that_matter() -> None:
    assert len(RECORDED) >= 18
    assert max(map(len, RECORDED.values())) > 1_700, "a post-quantum hello does not fit into one segment"
    found = [parse_hello(data) for data in RECORDED.values()]
    assert {0x0301, 0x0302, 0x0303, 0x0304} <= {max(each.versions) for each in found if each}


@pytest.mark.parametrize("client", RECORDED)
def test_byte_by_byte_gives_the_same(client: str) -> None:
    data = RECORDED[client]
    whole = parse_hello(data)
    assert whole is not None
    reader = HelloReader()
    for at in range(whole.size - 1):
        assert reader.feed(data[at : at + 1]) is None
    assert reader.feed(data[whole.size - 1 : whole.size]) == whole


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 16_384])
def test_records_of_any_size(size: int) -> None:
    data = hello(size=size)
    found = parse_hello(data)
    assert found is not None
    assert found.server_name == "www.listed.test"
    assert found.records == -(-len(hellos.message(SERVER_NAME)) // size)
    assert found.size == len(data)


def test_a_hello_over_16_kib() -> None:
    found = parse_hello(hello("big.test", (51, bytes(20_000))))
    assert found is not None
    assert (found.server_name, found.records) == ("big.test", 2)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"WWW.Listed.TEST", "www.listed.test"),
        (b"www.listed.test.", "www.listed.test"),
        (b"xn--bcher-kva.test", "xn--bcher-kva.test"),
        (b"_x-1.test", "_x-1.test"),
        (b"a." * 126 + b"b", "a." * 126 + "b"),
    ],
)
def test_names(written: bytes, read: str) -> None:
    found = parse_hello(records(message(server_name(written))))
    assert found is not None
    assert found.server_name == read


@pytest.mark.parametrize(
    "written",
    [b"", b".", b"a..b", b".a", b"a..", b"b\xc3\xbccher.test", b"www.listed.test\0.evil.test", b"a b", b"*.test",
     b"a:443", b"[::1]", b"a\\.b", b"a/b", b"x" * 64 + b".test", b"a." * 127 + b"b", b"a\r\n", b"\xff"],
)  # fmt: skip
def test_odd_names(written: bytes) -> None:
    assert refused(records(message(server_name(written)))) is Unreadable.HOST_NAME


def test_versions_and_alpn_without_grease() -> None:
    found = parse_hello(
        hello(
            "a.test",
            versions(0x2A2A, 0x0304, 0x0303),
            alpn(b"\x0a\x0a", b"h2", b"zy", b"\x1a\x2a"),
            (0x4A4A, b""),
        )
    )
    assert found is not None
    assert found.versions == (0x0304, 0x0303)
    assert found.alpn == (b"h2", b"zy", b"\x1a\x2a")


def test_a_hello_without_extensions() -> None:
    found = parse_hello(records(message(bare=True, legacy=0x0301)))
    assert found is not None
    assert (found.server_name, found.versions) == (None, (0x0301,))


@pytest.mark.parametrize(
    ("extension", "resumes"),
    [((35, b""), False), ((35, b"ticket"), True), ((41, b""), True), ((42, b""), False)],
)
def test_resumption(extension: hellos.Extension, resumes: bool) -> None:
    found = parse_hello(hello("a.test", extension))
    assert found is not None
    assert found.resumes is resumes
    assert found.early_data is (extension[0] == 42)


BODY = message(SERVER_NAME)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x80\x2e\x01\x03\x01", Unreadable.TLS_SSLV2),
        (b"GET / HTTP/1.1\r\n", Unreadable.TLS_NOT_A_HELLO),
        (b"SSH-2.0-x\r\n", Unreadable.TLS_NOT_A_HELLO),
        (records(BODY, kind=23), Unreadable.TLS_NOT_A_HELLO),
        (records(b"\2" + BODY[1:]), Unreadable.TLS_NOT_A_HELLO),
        (records(BODY, version=0x0200), Unreadable.TLS_RECORD),
        (records(BODY, version=0x0401), Unreadable.TLS_RECORD),
        (b"\x16\x03\x01\0\0", Unreadable.TLS_RECORD),
        (b"\x16\x03\x01\x40\x01", Unreadable.TLS_RECORD),
        (records(BODY[:50]) + records(BODY[50:], kind=23), Unreadable.TLS_NOT_A_HELLO),
        (records(BODY[:50]) + b"\x80\x01\x01", Unreadable.TLS_NOT_A_HELLO),
        (records(BODY + b"\x0b"), Unreadable.TLS_LENGTHS),
        (records(BODY + BODY), Unreadable.TLS_LENGTHS),
        (records(b"\1\0\0\0"), Unreadable.TLS_LENGTHS),
        (records(b"\1\0\0\1"), None),
        (records(b"\1\0\0\1\3"), Unreadable.TLS_LENGTHS),
        (records(b"\1" + (MAX_HELLO - 3).to_bytes(3, "big")), Unreadable.TLS_TOO_LONG),
        (records(b"\1" + (MAX_HELLO - 4).to_bytes(3, "big")), None),
        (records(message(legacy=0x0403)), Unreadable.TLS_NOT_A_HELLO),
        (records(message(session=bytes(33))), Unreadable.TLS_LENGTHS),
        (records(message(suites=b"")), Unreadable.TLS_LENGTHS),
        (records(message(suites=b"\1\2\3")), Unreadable.TLS_LENGTHS),
        (records(message(compressions=b"")), Unreadable.TLS_LENGTHS),
        (records(message(behind=b"x")), Unreadable.TLS_LENGTHS),
        (records(message((9, b""), bare=True, behind=b"\0\x04\0\x09\0\1")), Unreadable.TLS_LENGTHS),
        (records(message(SERVER_NAME, SERVER_NAME)), Unreadable.TLS_TWICE),
        (records(message((0x1A1A, b""), (0x1A1A, b""))), Unreadable.TLS_TWICE),
        (records(message(server_name(b"a.test", b"b.test"))), Unreadable.TLS_SERVER_NAME),
        (records(message(server_name(b"a.test", kind=1))), Unreadable.TLS_SERVER_NAME),
        (records(message(server_name())), Unreadable.TLS_SERVER_NAME),
        (records(message((0, b""))), Unreadable.TLS_LENGTHS),
        (records(message((0, vector(2, b"\0\0\x09a.test")))), Unreadable.TLS_LENGTHS),
        (records(message((0, SERVER_NAME[1] + b"x"))), Unreadable.TLS_LENGTHS),
        (records(message(versions())), Unreadable.TLS_LENGTHS),
        (records(message((43, b"\1\3"))), Unreadable.TLS_LENGTHS),
        (records(message((43, b"\2\3\4x"))), Unreadable.TLS_LENGTHS),
        (records(message(alpn(b""))), Unreadable.TLS_LENGTHS),
        (records(message((16, alpn(b"h2")[1] + b"x"))), Unreadable.TLS_LENGTHS),
        (records(message(ech(1))), Unreadable.TLS_ECH),
        (records(message(ech(payload=b""))), Unreadable.TLS_ECH),
        (records(message(ech(behind=b"x"))), Unreadable.TLS_LENGTHS),
        (records(message((0xFE0D, b"\0\0\1"))), Unreadable.TLS_LENGTHS),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, kind: Unreadable | None) -> None:
    assert refused(data) is kind


def test_every_prefix_of_a_hello_wants_more() -> None:
    data = hello()
    assert all(refused(data[:size]) is None and parse_hello(data[:size]) is None for size in range(len(data)))


def test_every_changed_length_is_refused_or_no_other_name() -> None:
    """One byte changed anywhere never gives a name with bytes that no name has."""
    data = hello("a.test", versions(0x0304), alpn(b"h2"))
    for at in range(len(data)):
        for value in (0, 1, data[at] ^ 1, data[at] ^ 0x80, 255):
            changed = data[:at] + bytes((value,)) + data[at + 1 :]
            try:
                found = parse_hello(changed)
            except ParseError:
                continue
            name = None if found is None else found.server_name
            assert name is None or set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_tiny_records_end_at_the_bound() -> None:
    tiny = records(b"\1\0\x6f\0" + bytes(9_000), 1)
    reader = HelloReader()
    bound = tls_hello.MAX_INPUT
    assert reader.feed(tiny[:bound]) is None
    with pytest.raises(ParseError, match="tls_too_long"):
        reader.feed(tiny[bound : bound + 1])


def test_work_is_linear_in_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is parsed once however it comes, and each feed handles its own bytes only."""
    bodies: list[int] = []
    parse = tls_hello._parse_body

    def counted(body: bytes, count: int, size: int) -> object:
        bodies.append(len(body))
        return parse(body, count, size)

    monkeypatch.setattr(tls_hello, "_parse_body", counted)
    checks = 0
    check = HelloReader._check_message

    def counted_check(reader: HelloReader) -> None:
        nonlocal checks
        checks += 1
        check(reader)

    monkeypatch.setattr(HelloReader, "_check_message", counted_check)
    data = hello("a.test", (51, bytes(16_000)))
    reader = HelloReader()
    for at in range(len(data)):
        reader.feed(data[at : at + 1])
    assert len(bodies) == 1
    assert checks <= len(data)


def refused(data: bytes) -> Unreadable | None:
    try:
        parse_hello(data)
    except ParseError as error:
        return error.kind
    return None
