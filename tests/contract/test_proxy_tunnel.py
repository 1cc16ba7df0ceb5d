"""The proxy step against loopback servers of every shape, and against real proxies where they are installed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trustme

from connectivity_check.failure import Seen
from connectivity_check.model import Observation, ProxyAuth, ProxyScheme, ProxyServer
from connectivity_check.ports import Stream, Tried
from connectivity_check.probes.proxy import ProxyTunnel
from connectivity_check.probes.tcp import TcpProbe
from connectivity_check.probes.tls import TlsProbe
from connectivity_check.probes.trust import Trust

USER, PASSWORD = "sensor", "pa55-wort/é"
Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Clock:
    def now(self) -> float:
        return time.monotonic()

    def utc(self) -> float:
        return time.time()


async def no_tls(stream: Stream, server_name: str, *, budget_s: float) -> Tried:
    raise AssertionError("no TLS with a plain proxy")


async def dial(
    proxy: ProxyServer, host: str, port: int = 443, *, budget_s: float = 3.0, trust: Trust | None = None
) -> tuple[Tried, Stream]:
    clock = _Clock()
    opened = await TcpProbe(clock).connect("127.0.0.1", proxy.port, budget_s=3)
    assert opened.stream is not None, opened.observation
    handshake = TlsProbe(trust, clock).handshake if trust else no_tls
    tunnel = ProxyTunnel(clock, handshake)
    tried = await tunnel.tunnel(opened.stream, proxy, host, port, budget_s=budget_s)
    return tried, opened.stream


def ask(
    server: Server,
    *,
    scheme: ProxyScheme = ProxyScheme.HTTP,
    host: str = "service.example.com",
    port: int = 443,
    auth: ProxyAuth | None = None,
    user: str = "",
    budget_s: float = 3.0,
    after: Callable[[Stream], Awaitable[None]] | None = None,
) -> Observation:
    """One tunnel through a scripted proxy; `after` goes on with the stream of a tunnel that stands."""

    async def run() -> Observation:
        handlers: list[asyncio.Task[None]] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            handlers.append(task)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await server(reader, writer)
            writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with listening:
            proxy = ProxyServer(
                "127.0.0.1",
                listening.sockets[0].getsockname()[1],
                scheme,
                user,
                PASSWORD if user else "",
                auth,
            )
            tried, raw = await dial(proxy, host, port, budget_s=budget_s)
            assert (tried.stream is None) == (tried.observation.seen is not None)
            if tried.stream is not None:
                assert tried.stream.via == proxy.url
                assert tried.stream.address == "127.0.0.1"
                if after is not None:
                    await after(tried.stream)
                tried.stream.close()
            with pytest.raises(OSError, match="closed"):
                await raw.receive()
            for handler in handlers:
                handler.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)
        return tried.observation

    observation = asyncio.run(run())
    assert_no_secret(observation)
    return observation


def assert_no_secret(observation: Observation) -> None:
    shown = json.dumps(dict(observation.evidence), ensure_ascii=False) + observation.via
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, pair, PASSWORD.encode().hex()):
        assert secret not in shown


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def says(answer: bytes, *, then_close: bool = True) -> Server:
    """A server that reads one request head and says this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(answer)
        await writer.drain()
        if not then_close:
            await asyncio.sleep(30)

    return serve


def greets(banner: bytes) -> Server:
    """A server that speaks first and then waits."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        await asyncio.sleep(30)

    return serve


# --- HTTP CONNECT


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("service.example.com", b"service.example.com:443"),
        ("2001:db8::1", b"[2001:db8::1]:443"),
        ("[2001:db8::1]", b"[2001:db8::1]:443"),
        ("192.0.2.1", b"192.0.2.1:443"),
        ("bücher.example", b"xn--bcher-kva.example:443"),
    ],
)
def test_the_request_names_the_target(host: str, authority: bytes) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await head(reader))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await reader.read()

    observation = ask(serve, host=host)
    assert observation.ok
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"CONNECT " + authority + b" HTTP/1.1"
    assert lines[1] == b"Host: " + authority
    assert observation.evidence["target"] == authority.decode()
    assert observation.evidence["status"] == 200
    assert observation.evidence["stage"] == "answered"
    assert not [line for line in lines if line.lower().startswith(b"proxy-authorization")]


@pytest.mark.parametrize(
    "host",
    [
        "a\r\nX-Evil: 1",
        "a b",
        "a\tb",
        "a\0b",
        "a/b",
        "a@b",
        "a:80",
        "a?b",
        "a#b",
        "",
        ".",
        "a..b",
        "-a.example",
        "x" * 64 + ".example",
        "a." * 130 + "example",
        "fe80::1%eth0",
        "\N{FULLWIDTH SOLIDUS}.example",
        "a\u2028b",
        "a\x85b",
    ],
)
@pytest.mark.parametrize("scheme", [ProxyScheme.HTTP, ProxyScheme.SOCKS5H])
def test_a_name_that_would_write_into_the_request_is_not_sent(host: str, scheme: ProxyScheme) -> None:
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())

    observation = ask(serve, host=host, scheme=scheme)
    assert observation.seen is Seen.OTHER
    assert observation.evidence["error"]
    assert got in ([b""], [])


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_out_of_range_is_not_sent(port: int) -> None:
    assert ask(greets(b""), port=port).seen is Seen.OTHER


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 204 Fine\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 30000 + b"\r\n\r\n",
    ],
)
def test_bytes_behind_a_good_answer_belong_to_the_far_end(answer: bytes) -> None:
    early = b"\x16\x03\x03hello"

    async def goes_on(stream: Stream) -> None:
        got = await stream.receive(3)
        assert got == early[:3]
        while len(got) < len(early) + 4:
            got += await stream.receive()
        assert got == early + b"ping"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(answer + early)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"ping")
        await reader.read()

    assert ask(serve, after=goes_on).ok


def test_an_answer_that_comes_byte_by_byte() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        for byte in b"HTTP/1.1 200 OK\r\nVia: 1.1 box\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    observation = ask(serve)
    assert observation.ok
    assert observation.evidence["headers"] == {"via": "1.1 box"}


def test_a_refusal_gives_what_the_proxy_said() -> None:
    page = (
        b"<html><head><title>ERROR:\n Access &amp; policy</title><style>p{}</style></head><body><p>Access "
        b"Denied.</p><script>alert(1)</script></body></html>"
    )
    observation = ask(
        says(
            b"HTTP/1.1 403 Forbidden\r\nServer: squid/5.7\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n"
            b"Via: 1.1 a\r\nVia: 1.1 b\r\nX-Secret: no\r\nContent-Type: text/html\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(page), page)
        )
    )
    assert observation.seen is Seen.PROXY_STATUS
    evidence = observation.evidence
    assert (evidence["status"], evidence["reason"]) == (403, "Forbidden")
    assert evidence["headers"] == {
        "via": "1.1 a, 1.1 b",
        "server": "squid/5.7",
        "x-squid-error": "ERR_ACCESS_DENIED 0",
        "content-type": "text/html",
    }
    assert evidence["title"] == "ERROR: Access & policy"
    assert evidence["body_start"] == "Access Denied."


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\nhalf a page",
        b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk",
        b"HTTP/1.1 403 Forbidden\r\n\r\nno length",
        b"HTTP/1.1 403 Forbidden\r\nbad header line\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 403 Forbidden\r\nServer: cut in the mid",
    ],
)
def test_a_refusal_counts_however_badly_it_is_written(answer: bytes) -> None:
    observation = ask(says(answer))
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["status"] == 403


@pytest.mark.parametrize("budget_s", [0.4, 3.0])
def test_a_page_that_never_ends_does_not_hide_the_status(budget_s: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 503 Unavailable\r\n\r\nfirst words ")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    observation = ask(serve, budget_s=budget_s)
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["status"] == 503
    assert str(observation.evidence["body_start"]).startswith("first words")
    assert observation.took_s < min(budget_s, 1.5)


def test_a_flood_of_a_page_is_cut_off() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 403 No\r\n\r\n")
        while True:
            writer.write(b"<a" * 32768)
            await writer.drain()

    observation = ask(serve)
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.took_s < 0.9


@pytest.mark.parametrize(
    "banner",
    [
        b"220 mail.example.com ESMTP ready\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        b"<html>hello</html>",
        b"+OK POP3 ready\r\n",
        b"\r\n\r\n",
        b"http/1.1 200 ok\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
    ],
)
def test_what_is_no_proxy_is_known_by_its_first_bytes(banner: bytes) -> None:
    observation = ask(greets(banner), budget_s=2.0)
    assert observation.seen is Seen.PROXY_PROTOCOL
    assert observation.evidence["first_bytes"] == banner[:32].hex()
    assert observation.took_s < 1.0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000,
    ],
)
def test_an_answer_that_breaks_the_rules_is_not_believed(answer: bytes) -> None:
    observation = ask(says(answer, then_close=False), budget_s=2.0)
    assert observation.seen is Seen.PROXY_PROTOCOL
    assert observation.evidence["first_bytes"] == answer[:32].hex()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nVia: x"])
def test_an_end_before_the_answer(answer: bytes) -> None:
    observation = ask(says(answer))
    assert observation.seen is Seen.EOF
    assert observation.evidence["stage"] == "sent"


def test_a_reset_instead_of_an_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert ask(serve).seen is Seen.CONNECTION_RESET


@pytest.mark.parametrize("scheme", [ProxyScheme.HTTP, ProxyScheme.SOCKS5H])
def test_silence_takes_the_budget_and_no_more(scheme: ProxyScheme) -> None:
    observation = ask(greets(b""), scheme=scheme, budget_s=0.3)
    assert observation.seen is Seen.TIMEOUT
    assert observation.evidence["stage"] == "sent"
    assert 0.25 < observation.took_s < 0.8


def test_cancelling_closes_the_connection() -> None:
    async def run() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            ended.set()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            proxy = ProxyServer("127.0.0.1", listening.sockets[0].getsockname()[1])
            asking = asyncio.ensure_future(dial(proxy, "service.example.com"))
            await asyncio.sleep(0.1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(ended.wait(), 2)

    asyncio.run(run())


# --- logins


def test_a_proxy_that_asks_for_a_login_names_its_schemes() -> None:
    observation = ask(
        says(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate, NTLM\r\n"
            b'Proxy-Authenticate: Basic realm="the \\"inner\\", net", charset="UTF-8"\r\n'
            b"Content-Length: 0\r\n\r\n"
        )
    )
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["status"] == 407
    assert observation.evidence["schemes"] == ["negotiate", "ntlm", "basic"]
    assert observation.evidence["realm"] == 'the "inner", net'
    assert "auth" not in observation.evidence


def test_basic_is_sent_in_utf8_and_an_echo_of_it_is_blotted_out() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await head(reader)
        writer.write(
            b"HTTP/1.1 407 "
            + PASSWORD.encode("latin-1")
            + b'\r\nProxy-Authenticate: Basic realm="'
            + PASSWORD.encode("latin-1")
            + b'"\r\nLocation: http://x/?p='
            + PASSWORD.encode("latin-1")
            + b"\r\nContent-Type: text/html\r\n\r\n<title>"
            + PASSWORD.encode()
            + b"</title><pre>"
            + b"x" * 280
            + b" "
            + request
            + b" user sensor, password "
            + PASSWORD.encode()
            + b" or pa55-wort%2F%C3%A9</pre>"
        )

    observation = ask(serve, user=USER)
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["auth"] == "basic"
    shown = json.dumps(dict(observation.evidence), ensure_ascii=False)
    assert "***" in shown
    for part in ("pa55", "sensor"):
        assert part not in shown


def test_basic_opens_the_tunnel() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        good = b"Proxy-Authorization: Basic " + expected in await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if good else b"HTTP/1.1 407 No\r\n\r\n")
        await reader.read()

    observation = ask(serve, user=USER, auth=ProxyAuth.BASIC)
    assert observation.ok
    assert observation.evidence["auth"] == "basic"


def test_a_user_with_a_colon_is_not_sent_with_basic() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await head(reader))
        writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")

    observation = ask(serve, user="a:b")
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["auth_error"]
    assert b"authorization" not in heads[0].lower()


def login_proxy(scheme: str, *, closes: bool = False) -> Server:
    """A proxy that checks NTLM or Negotiate for real, with the acceptor of pyspnego."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import spnego

        context = spnego.server(protocol=scheme.lower())
        while True:
            request = await head(reader)
            given = [
                line.split(b" ")[2]
                for line in request.split(b"\r\n")
                if line.lower().startswith(b"proxy-authorization: " + scheme.lower().encode())
            ]
            token = ""
            if given:
                try:
                    out = context.step(base64.b64decode(given[0]))
                except spnego.exceptions.SpnegoError:
                    out = None
                token = base64.b64encode(out).decode() if out else ""
            if given and context.complete:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await reader.read()
                return
            page = b"<p>please log in</p>"
            writer.write(
                b"HTTP/1.1 407 Log in\r\nProxy-Authenticate: %b\r\nProxy-Authenticate: Basic realm=x\r\n"
                b"%bContent-Length: %d\r\n\r\n%b"
                % (
                    f"{scheme} {token}".strip().encode(),
                    b"Connection: close\r\n" if closes else b"",
                    len(page),
                    page,
                )
            )
            if closes:
                return

    return serve


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user file that pyspnego's NTLM acceptor reads."""
    file = tmp_path / "users"
    file.write_text(f"LAB:{USER}:{PASSWORD}\n", encoding="utf-8")
    monkeypatch.setenv("NTLM_USER_FILE", str(file))


@pytest.mark.parametrize(("scheme", "auth"), [("NTLM", ProxyAuth.NTLM), ("Negotiate", ProxyAuth.NEGOTIATE)])
@pytest.mark.usefixtures("accounts")
def test_a_login_in_several_legs_on_one_connection(scheme: str, auth: ProxyAuth) -> None:
    observation = ask(login_proxy(scheme), user=f"LAB\\{USER}", auth=auth)
    assert observation.ok, observation
    assert observation.evidence["auth"] == auth.value
    assert observation.evidence["status"] == 200


@pytest.mark.parametrize(("scheme", "auth"), [("NTLM", ProxyAuth.NTLM), ("Negotiate", ProxyAuth.NEGOTIATE)])
@pytest.mark.usefixtures("accounts")
def test_a_login_that_is_refused(scheme: str, auth: ProxyAuth) -> None:
    observation = ask(login_proxy(scheme), user="LAB\\nobody", auth=auth)
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["status"] == 407
    assert observation.evidence["schemes"] == [auth.value, "basic"]
    assert observation.evidence["auth"] == auth.value


@pytest.mark.usefixtures("accounts")
def test_a_proxy_that_closes_between_the_legs() -> None:
    observation = ask(login_proxy("NTLM", closes=True), user=f"LAB\\{USER}", auth=ProxyAuth.NTLM)
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["status"] == 407
    assert "connection" in dict(observation.evidence["headers"])  # type: ignore[arg-type,call-overload]


@pytest.mark.parametrize("then", ["silence", "end"])
@pytest.mark.usefixtures("accounts")
def test_a_login_that_gets_no_second_answer_was_refused(then: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import spnego

        given = (await head(reader)).partition(b"NTLM ")[2].partition(b"\r\n")[0]
        out = spnego.server(protocol="ntlm").step(base64.b64decode(given))
        assert out is not None
        token = base64.b64encode(out)
        writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM %b\r\nContent-Length: 0\r\n\r\n" % token)
        await head(reader)
        if then == "silence":
            await asyncio.sleep(30)

    observation = ask(serve, user=f"LAB\\{USER}", auth=ProxyAuth.NTLM, budget_s=1.0)
    assert observation.seen is Seen.PROXY_STATUS
    assert (observation.evidence["status"], observation.evidence["stage"]) == (407, "sent")


@pytest.mark.parametrize("token", ["!!!", "AAAA", "TlRMTVNTUAACAAAA"])
def test_a_senseless_token_of_the_proxy(token: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            writer.write(
                f"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM {token}\r\nContent-Length: 0\r\n\r\n".encode()
            )

    observation = ask(serve, user=f"LAB\\{USER}", auth=ProxyAuth.NTLM)
    assert observation.seen is Seen.PROXY_STATUS
    assert observation.evidence["auth_error"]


def test_no_password_is_given_to_a_scheme_that_was_not_chosen() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await head(reader))
            writer.write(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")

    observation = ask(serve, user=f"LAB\\{USER}", auth=ProxyAuth.NTLM)
    assert observation.evidence["schemes"] == ["basic"]
    assert len(heads) == 1
    assert b"Basic" not in heads[0]


def test_a_login_without_credentials_says_so() -> None:
    observation = ask(
        says(b"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"), auth=ProxyAuth.NTLM
    )
    assert observation.seen is Seen.PROXY_STATUS
    assert str(observation.evidence["auth_error"]).startswith("ntlm: ")


# --- https proxies


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def ask_https(
    authority: trustme.CA, tmp_path: Path, name: str, *, plain: bool = False, trusted: bool = True
) -> tuple[Observation, list[bytes]]:
    heads: list[bytes] = []
    ca_file = tmp_path / "ca.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    async def run() -> Observation:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                heads.append(await head(reader))
                writer.write(b"HTTP/1.1 200 OK\r\n\r\nearly")
                await reader.read()
            writer.close()

        options = {} if plain else {"ssl": context}
        async with await asyncio.start_server(serve, "127.0.0.1", 0, **options) as listening:
            port = listening.sockets[0].getsockname()[1]
            proxy = ProxyServer("localhost", port, ProxyScheme.HTTPS, USER, PASSWORD)
            tried, _ = await dial(proxy, "service.example.com", trust=Trust(str(ca_file)))
            if tried.stream is not None:
                assert await tried.stream.receive() == b"early"
                tried.stream.close()
            await asyncio.sleep(0.05)
        return tried.observation

    observation = asyncio.run(run())
    assert_no_secret(observation)
    return observation, heads


def test_an_https_proxy(authority: trustme.CA, tmp_path: Path) -> None:
    observation, heads = ask_https(authority, tmp_path, "localhost")
    assert observation.ok, observation
    tls = observation.evidence["tls"]
    assert isinstance(tls, dict)
    assert tls["stage"] == "finished"
    assert heads[0].startswith(b"CONNECT service.example.com:443 ")
    assert observation.via.startswith("https://localhost:")


@pytest.mark.parametrize(
    ("name", "trusted", "seen"),
    [
        ("other.example", True, Seen.TLS_INVALID_HOSTNAME),
        ("localhost", False, Seen.TLS_UNKNOWN_AUTHORITY),
    ],
)
def test_an_https_proxy_that_cannot_be_trusted_gets_nothing(
    authority: trustme.CA, tmp_path: Path, name: str, trusted: bool, seen: Seen
) -> None:
    observation, heads = ask_https(authority, tmp_path, name, trusted=trusted)
    assert observation.seen is seen
    assert observation.evidence["stage"] == "tls"
    assert heads == []


# --- SOCKS 5


def socks(*answers: bytes, got: list[bytes], early: bytes = b"") -> Server:
    """A SOCKS server that gives one answer for each thing it reads."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for n, answer in enumerate(answers):
            got.append(await reader.read(4096))
            writer.write(answer + (early if n == len(answers) - 1 else b""))
            await writer.drain()
        if answers and len(answers[-1]) > 4:
            await reader.read()

    return serve


GRANTED4 = b"\x05\x00\x00\x01" + bytes(6)


@pytest.mark.parametrize(
    "reply", [GRANTED4, b"\x05\x00\x00\x04" + bytes(18), b"\x05\x00\x00\x03\x03box" + bytes(2)]
)
def test_socks_asks_by_name_and_keeps_what_comes_early(reply: bytes) -> None:
    got: list[bytes] = []

    async def goes_on(stream: Stream) -> None:
        assert await stream.receive() == b"early"

    observation = ask(
        socks(b"\x05\x00", reply, got=got, early=b"early"), scheme=ProxyScheme.SOCKS5H, after=goes_on
    )
    assert observation.ok
    assert got == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x13service.example.com\x01\xbb"]
    assert observation.evidence["socks_method"] == 0
    assert observation.evidence["socks_reply"] == 0


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x04" + socket.inet_pton(socket.AF_INET6, "2001:db8::1")),
    ],
)
def test_socks_asks_for_addresses_as_addresses(host: str, sent: bytes) -> None:
    got: list[bytes] = []
    assert ask(socks(b"\x05\x00", GRANTED4, got=got), scheme=ProxyScheme.SOCKS5H, host=host).ok
    assert got[1] == b"\x05\x01\x00" + sent + b"\x01\xbb"


@pytest.mark.parametrize("reply", range(1, 10))
@pytest.mark.parametrize("short", [True, False])
def test_socks_replies_are_given_as_they_are(reply: int, short: bool) -> None:
    answer = bytes([5, reply]) + (b"" if short else b"\x00\x01" + bytes(6))
    observation = ask(socks(b"\x05\x00", answer, got=[]), scheme=ProxyScheme.SOCKS5H)
    assert observation.seen is Seen.SOCKS_REPLY
    assert observation.evidence["socks_reply"] == reply


def test_socks_with_a_password() -> None:
    got: list[bytes] = []
    observation = ask(
        socks(b"\x05\x02", b"\x01\x00", GRANTED4, got=got), scheme=ProxyScheme.SOCKS5H, user=USER
    )
    assert observation.ok
    word = PASSWORD.encode()
    assert got[0] == b"\x05\x02\x00\x02"
    assert got[1] == b"\x01\x06sensor" + bytes([len(word)]) + word
    assert observation.evidence["auth"] == "password"


def test_socks_refuses_the_password() -> None:
    observation = ask(socks(b"\x05\x02", b"\x01\x01", got=[]), scheme=ProxyScheme.SOCKS5H, user=USER)
    assert observation.seen is Seen.SOCKS_REPLY
    assert (observation.evidence["socks_method"], observation.evidence["socks_auth"]) == (2, 1)
    assert "socks_reply" not in observation.evidence


def test_socks_accepts_no_method() -> None:
    observation = ask(socks(b"\x05\xff", got=[]), scheme=ProxyScheme.SOCKS5H)
    assert observation.seen is Seen.SOCKS_REPLY
    assert observation.evidence["socks_method"] == 255


@pytest.mark.parametrize(
    ("answers", "first"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ([b"\x04\x5a\x00\x00\x00\x00\x00\x00"], b"\x04\x5a\x00\x00\x00\x00\x00\x00"),
        ([b"\x05\x02"], b"\x05\x02"),
        ([b"\x05\x00", b"\x01\x02\x03\x04"], b"\x01\x02\x03\x04"),
        ([b"\x05\x00", b"\x05\x00\x00\x09"], b"\x05\x00\x00\x09"),
    ],
)
def test_what_is_no_socks_server(answers: list[bytes], first: bytes) -> None:
    observation = ask(socks(*answers, got=[]), scheme=ProxyScheme.SOCKS5H)
    assert observation.seen is Seen.PROXY_PROTOCOL
    assert observation.evidence["first_bytes"] == first[:32].hex()


@pytest.mark.parametrize("answers", [[b""], [b"\x05"], [b"\x05\x00", b""], [b"\x05\x00", b"\x05\x00\x00"]])
def test_socks_ends_before_the_answer(answers: list[bytes]) -> None:
    assert ask(socks(*answers, got=[]), scheme=ProxyScheme.SOCKS5H).seen is Seen.EOF


@pytest.mark.parametrize("scheme", [ProxyScheme.HTTP, ProxyScheme.SOCKS5H])
def test_an_echo_server_is_no_proxy_and_reveals_nothing(scheme: ProxyScheme) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)

    observation = ask(serve, scheme=scheme, user=USER)
    assert observation.seen in (Seen.PROXY_PROTOCOL, Seen.SOCKS_REPLY)


# --- real proxies


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def _running(argv: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None, f"{argv[0]} ended with {process.returncode}"
                assert time.monotonic() < until, f"{argv[0]} does not listen"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _needs(program: str) -> str:
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def through(proxy: ProxyServer, host: str, port: int) -> Observation:
    """Ask a real proxy, and when it agrees send a word to the far end and get it back."""

    async def run() -> Observation:
        tried, _ = await dial(proxy, host, port, budget_s=8)
        if tried.stream is not None:
            await tried.stream.send(b"word")
            assert await tried.stream.receive() == b"word"
            tried.stream.close()
        return tried.observation

    observation = asyncio.run(run())
    assert_no_secret(observation)
    return observation


@pytest.fixture
def echo() -> Iterator[int]:
    """A far end on loopback that says what it hears."""
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        while data := connection.recv(4096):
                            connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(2)


def test_tinyproxy(tmp_path: Path, echo: int) -> None:
    program, port, closed = _needs("tinyproxy"), _free_port(), _free_port()
    config = tmp_path / "tinyproxy.conf"
    config.write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 10\nMaxClients 20\nBasicAuth {USER} secret-word\n"
        f"ConnectPort {echo}\nConnectPort {closed}\n"
    )
    with _running([program, "-d", "-c", str(config)], port):
        good = ProxyServer("127.0.0.1", port, username=USER, password="secret-word")
        assert through(good, "127.0.0.1", echo).ok
        refused = through(good, "127.0.0.1", closed)
        assert (refused.seen, refused.evidence["status"]) == (Seen.PROXY_STATUS, 500)
        denied = through(good, "127.0.0.1", 1)
        assert denied.evidence["status"] == 403
        asked = through(ProxyServer("127.0.0.1", port), "127.0.0.1", echo)
        assert (asked.evidence["status"], asked.evidence["schemes"]) == (407, ["basic"])


def test_microsocks(echo: int) -> None:
    program, port, closed = _needs("microsocks"), _free_port(), _free_port()
    with _running([program, "-i", "127.0.0.1", "-p", str(port), "-u", USER, "-P", "secret-word"], port):
        good = ProxyServer("127.0.0.1", port, ProxyScheme.SOCKS5H, USER, "secret-word")
        assert through(good, "127.0.0.1", echo).ok
        assert through(good, "localhost", echo).ok
        refused = through(good, "127.0.0.1", closed)
        assert (refused.seen, refused.evidence["socks_reply"]) == (Seen.SOCKS_REPLY, 5)
        wrong = ProxyServer("127.0.0.1", port, ProxyScheme.SOCKS5H, USER, "other")
        assert through(wrong, "127.0.0.1", echo).seen is Seen.SOCKS_REPLY
        without = through(ProxyServer("127.0.0.1", port, ProxyScheme.SOCKS5H), "127.0.0.1", echo)
        assert (without.seen, without.evidence["socks_method"]) == (Seen.SOCKS_REPLY, 255)


def test_squid(tmp_path: Path, echo: int) -> None:
    program, port, closed = _needs("squid"), _free_port(), _free_port()
    tmp_path.chmod(0o777)
    config = tmp_path / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port}\npid_filename {tmp_path}/squid.pid\ncache_log {tmp_path}/cache.log\n"
        f"access_log none\ncache deny all\ncache_mem 8 MB\nshutdown_lifetime 0 seconds\nvisible_hostname box\n"
        "acl forbidden dstdomain .forbidden.example\nhttp_access deny forbidden\nhttp_access allow all\n"
        f"coredump_dir {tmp_path}\n"
    )
    with _running([program, "-N", "-n", f"t{os.getpid()}", "-f", str(config)], port):
        proxy = ProxyServer("127.0.0.1", port)
        assert through(proxy, "127.0.0.1", echo).ok
        denied = through(proxy, "www.forbidden.example", 443)
        assert (denied.seen, denied.evidence["status"]) == (Seen.PROXY_STATUS, 403)
        headers = denied.evidence["headers"]
        assert isinstance(headers, dict)
        assert headers["x-squid-error"] == "ERR_ACCESS_DENIED 0"
        assert "body_start" in denied.evidence
        refused = through(proxy, "127.0.0.1", closed)
        headers = refused.evidence["headers"]
        assert isinstance(headers, dict)
        assert headers["x-squid-error"] == "ERR_CONNECT_FAIL 111"
