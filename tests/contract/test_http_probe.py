"""HttpProbe over real sockets: early refusals, resets in mid-body, slow bodies, TLS below."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from connectivity_check.failure import Seen
from connectivity_check.model import Expectation, Observation
from connectivity_check.ports import HttpRequest, Stream
from connectivity_check.probes.http import HttpProbe
from connectivity_check.probes.stream import TcpStream
from connectivity_check.probes.tls import TlsProbe
from connectivity_check.probes.trust import Trust

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANY = Expectation()


class MachineClock:
    """The machine's clock."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since 1970."""
        return time.time()


@asynccontextmanager
async def serving(peer: Peer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on loopback; gives the port."""

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(quiet, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.sleep(0.01)


async def stream_to(port: int) -> TcpStream:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return TcpStream(sock, "127.0.0.1", port, rtt_s=0.0, mss=None)


def ask(
    peer: Peer, request: HttpRequest | None = None, expectation: Expectation = ANY, budget_s: float = 3.0
) -> Observation:
    async def run() -> Observation:
        async with serving(peer) as port:
            stream = await stream_to(port)
            try:
                wanted = request or HttpRequest("http://x.example/")
                return await HttpProbe(MachineClock()).exchange(
                    stream, wanted, expectation, budget_s=budget_s
                )
            finally:
                stream.close()

    return asyncio.run(run())


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def abort(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


def test_a_body_is_sent_whole() -> None:
    got: list[int] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        got.append(len(await reader.readexactly(65536)))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    seen = ask(peer, HttpRequest("http://x.example/", method="POST", body_size=65536))
    assert (seen.seen, seen.evidence["status"], seen.evidence["sent_bytes"]) == (None, 201, 65536)
    assert got == [65536]


def test_a_refusal_before_the_body_was_read_is_read() -> None:
    """Body limits of proxies answer 413 at once; who sends first and reads then may see a reset instead."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await writer.drain()
        await asyncio.sleep(0.3)
        abort(writer)

    request = HttpRequest("http://x.example/", method="POST", body_size=8 * 1024 * 1024)
    seen = ask(peer, request, Expectation(statuses=(200,)))
    assert (seen.seen, seen.evidence["status"]) == (Seen.HTTP_STATUS, 413)


def test_a_peer_that_never_reads_a_body_ends_with_the_budget() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    request = HttpRequest("http://x.example/", method="POST", body_size=32 * 1024 * 1024)
    seen = ask(peer, request, budget_s=0.3)
    assert seen.seen is Seen.TIMEOUT
    assert seen.took_s < 1


def test_a_reset_instead_of_an_answer() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        abort(writer)

    seen = ask(peer)
    assert (seen.seen, seen.evidence["errno"]) == (Seen.CONNECTION_RESET, "ECONNRESET")


def test_a_reset_in_the_body_keeps_the_status() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        abort(writer)

    seen = ask(peer)
    assert (seen.seen, seen.evidence["status"], seen.evidence["length"]) == (Seen.CONNECTION_RESET, 200, 4)


def test_the_rate_of_a_slow_body() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 40960\r\n\r\n")
        for _ in range(10):
            writer.write(b"x" * 4096)
            await writer.drain()
            await asyncio.sleep(0.03)

    seen = ask(peer)
    rate = seen.evidence["slow_bytes_per_s"]
    assert isinstance(rate, int)
    assert 20_000 < rate < 200_000


def test_through_tls_and_an_alert_instead_of_an_answer(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("x.example").configure_cert(context)

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nOK")

    async def run(context: ssl.SSLContext) -> Observation:
        trust = Trust(ca_file=str(tmp_path / "ca.pem"), public_file=str(tmp_path / "ca.pem"))
        async with serving(peer, context) as port:
            tried = await TlsProbe(trust, MachineClock()).handshake(
                await stream_to(port), "x.example", budget_s=3
            )
            stream: Stream | None = tried.stream
            assert stream is not None
            try:
                return await HttpProbe(MachineClock()).exchange(
                    stream, HttpRequest("https://x.example/"), Expectation(body_contains="OK"), budget_s=3
                )
            finally:
                stream.close()

    assert asyncio.run(run(context)).seen is None


def test_a_client_certificate_that_is_demanded_is_an_alert(tmp_path: Path) -> None:
    """TLS 1.3 tells it only after our handshake is done: the alert comes where the answer was due."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("x.example").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                connection.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
            except ssl.SSLError:
                writer.write(outgoing.read())
                await writer.drain()
                return

    async def run() -> Observation:
        trust = Trust(ca_file=str(tmp_path / "ca.pem"), public_file=str(tmp_path / "ca.pem"))
        async with serving(peer) as port:
            tried = await TlsProbe(trust, MachineClock()).handshake(
                await stream_to(port), "x.example", budget_s=3
            )
            assert tried.observation.seen is None
            assert tried.stream is not None
            try:
                request = HttpRequest("https://x.example/")
                return await HttpProbe(MachineClock()).exchange(tried.stream, request, ANY, budget_s=3)
            finally:
                tried.stream.close()

    seen = asyncio.run(run())
    assert seen.seen is Seen.TLS_ALERT
    assert seen.evidence["alert"] == 116


def test_cancelling_leaves_nothing_behind() -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)

    async def run() -> None:
        async with serving(peer) as port:
            stream = await stream_to(port)
            probe = HttpProbe(MachineClock())
            task = asyncio.create_task(probe.exchange(stream, HttpRequest("http://x/"), ANY, budget_s=9))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            stream.close()

    asyncio.run(run())
