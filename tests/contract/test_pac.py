"""PAC files for real: the worker process against scripts that misbehave, and servers that do."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from connectivity_check.model import PathKind, Route
from connectivity_check.settings import pac_source
from connectivity_check.settings.consumers import Wish, find_way
from connectivity_check.settings.machine import Machine
from connectivity_check.settings.pac import STRIKES, PacEngine
from connectivity_check.settings.pac_source import NoPacError, fetch_pac
from connectivity_check.settings.ways import PacWay

GOOD = "function FindProxyForURL(url, host) { return 'PROXY p.example:3128; DIRECT'; }"
HOSTS = [f"h{n}.example" for n in range(98)]


async def routes(pac: str, hosts: list[str], *, call_s: float = 0.4, ask_s: float = 15.0) -> list[Route]:
    way = PacWay(PacEngine(pac, call_s=call_s, ask_s=ask_s), "p.pac")
    try:
        await way.load()
        return await asyncio.gather(*(way.route(f"https://{host}/", host) for host in hosts))
    finally:
        await way.close()


def children() -> set[str]:
    if sys.platform != "linux":
        return set()
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_whole_list_is_asked_in_half_a_second() -> None:
    async def timed() -> float:
        way = PacWay(
            PacEngine(GOOD.replace("return", "if (isInNet('10.1.2.3', '10.0.0.0', '255.0.0.0')) return")), "p"
        )
        await way.load()
        began = time.monotonic()
        found = await asyncio.gather(*(way.route(f"https://{host}/", host) for host in HOSTS))
        took = time.monotonic() - began
        await way.close()
        assert all(str(route.proxy) == "http://p.example:3128" for route in found)
        return took

    assert min(asyncio.run(timed()) for _ in range(3)) < 0.5


def test_an_endless_loop_costs_its_own_target_only() -> None:
    pac = "function FindProxyForURL(url, host) { if (host === 'h7.example') for (;;); return 'DIRECT'; }"
    before = children()
    found = asyncio.run(routes(pac, HOSTS))
    errors = {host for host, route in zip(HOSTS, found, strict=True) if route.error}
    assert errors == {"h7.example"}
    assert "does not come to an end: stopped after 0.4 s" in found[7].error
    assert children() == before


def test_a_file_that_always_loops_is_asked_a_few_times_only() -> None:
    began = time.monotonic()
    found = asyncio.run(routes("function FindProxyForURL(url, host) { while (true) {} }", HOSTS, call_s=0.2))
    assert all(route.error for route in found)
    assert sum("it is not asked again" in route.error for route in found) == len(HOSTS) - STRIKES
    assert time.monotonic() - began < 10


def test_a_loop_in_the_files_own_statements() -> None:
    found = asyncio.run(routes(GOOD + "\nfor (;;);", HOSTS[:3], call_s=0.2))
    assert {route.error for route in found} == {
        "The PAC file p.pac cannot be used: it does not come to an end: stopped after 0.2 s."
    }


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
def test_a_script_that_hoards_memory_is_stopped() -> None:
    pac = (
        "function FindProxyForURL(url, host) { if (host !== 'h1.example') return 'DIRECT'; "
        "var hoard = []; for (;;) hoard.push(new ArrayBuffer(8 * 1024 * 1024)); }"
    )
    found = asyncio.run(routes(pac, HOSTS[:3], call_s=10))
    assert [bool(route.error) for route in found] == [False, True, False]
    assert "memory" in found[1].error


def test_a_syntax_error_is_told_for_every_target() -> None:
    found = asyncio.run(routes("\n\nfunction FindProxyForURL(url, host) { return 'DIRECT'", HOSTS[:5]))
    assert len({route.error for route in found}) == 1
    assert "SyntaxError" in found[0].error
    assert "near line 3" in found[0].error


def test_a_process_that_cannot_start() -> None:
    async def run(command: list[str]) -> str:
        engine = PacEngine(GOOD, command=command)
        fault = await engine.load()
        assert (await engine.ask("https://a/", "a")).error == fault
        await engine.close()
        return fault

    assert "cannot be started" in asyncio.run(run(["/nonexistent/python"]))
    assert "died" in asyncio.run(run([sys.executable, "-c", "pass"]))
    assert "died" in asyncio.run(run([sys.executable, "-c", "print('x' * 3000000)"]))


def test_an_answer_that_does_not_come_in_time() -> None:
    pac = "function FindProxyForURL(url, host) { var until = Date.now() + 300; while (Date.now() < until); return 'DIRECT'; }"
    found = asyncio.run(routes(pac, HOSTS[:8], call_s=5, ask_s=0.7))
    assert not found[0].error
    assert "no answer within 0.7 s" in found[-1].error


def test_closing_while_questions_wait_answers_them() -> None:
    async def run() -> Route:
        way = PacWay(PacEngine("function FindProxyForURL(url, host) { for (;;); }", call_s=30), "p.pac")
        await way.load()
        question = asyncio.create_task(way.route("https://a/", "a"))
        await asyncio.sleep(0.1)
        await way.close()
        return await question

    before = children()
    assert "the run is over" in asyncio.run(run()).error
    assert children() == before


def test_the_worker_sees_neither_environment_nor_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not the one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://u:hunter2@p:1")
    pac = "function FindProxyForURL(url, host) { return 'PROXY x' + (typeof process) + ':1'; }"
    found = asyncio.run(routes(pac, ["a.example"]))
    assert str(found[0].proxy) == "http://xundefined:1"


def test_names_by_the_systems_look_up() -> None:
    pac = (
        "function FindProxyForURL(url, host) { return 'PROXY ' + dnsResolve('localhost') + ':1; PROXY x'"
        " + isResolvable('nothing.invalid') + ':1; PROXY ' + myIpAddress() + ':1'; }"
    )
    route = asyncio.run(routes(pac, ["a.example"], call_s=5))[0]
    assert str(route.proxy) == "http://127.0.0.1:1"
    assert str(route.fallbacks[0]) == "http://xfalse:1"
    assert len(route.fallbacks) == 2


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
    await asyncio.sleep(0.05)  # for connections that were cut while TLS began


def answering(head: str, body: bytes = b"") -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            f"HTTP/1.1 {head}\r\n\r\n".replace("\n", "\r\n").replace("\r\r", "\r").encode("latin-1") + body
        )
        await writer.drain()

    return handler


def fetched(handler: Handler, path: str = "/p.pac", budget_s: float = 3.0) -> str:
    async def run() -> str:
        async with server(handler) as port:
            return await fetch_pac(f"http://127.0.0.1:{port}{path}", budget_s)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("200 OK\nContent-Type: application/x-ns-proxy-autoconfig", GOOD.encode()),
        ("200 OK\nContent-Length: 80", GOOD.encode() + b" " * (80 - len(GOOD))),
        ("200 OK\nTransfer-Encoding: chunked", f"{len(GOOD):x}\r\n{GOOD}\r\n0\r\n\r\n".encode()),
        ("200 OK\nContent-Encoding: gzip", gzip.compress(GOOD.encode(), mtime=0)),
        ("200 OK", GOOD.encode("utf-16")),
    ],
)
def test_servers_that_have_one(head: str, body: bytes) -> None:
    assert fetched(answering(head, body)).strip() == GOOD


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        ("200 OK\nContent-Type: text/html", b"<html>sign in</html>", "web page"),
        ("200 OK\nContent-Type: text/plain", b"<!DOCTYPE html>", "web page"),
        ("200 OK", b"", "empty"),
        ("404 Not Found", b"no", "status 404"),
        ("407 Proxy Authentication Required", b"", "status 407"),
        ("200 OK", b"//" + b"x" * (1 << 20), "1 MiB"),
        ("200 OK\nContent-Encoding: gzip", gzip.compress(b"/" * (64 << 20), mtime=0), "1 MiB"),
        ("200 OK\nContent-Encoding: gzip", b"no gzip", "Content-Encoding"),
        ("200 OK\nContent-Length: 500", GOOD.encode(), "does not speak HTTP"),
        ("what?", b"", "does not speak HTTP"),
        ("302 Found\nLocation: /p.pac", b"", "redirects more than 5 times"),
        ("302 Found\nLocation: file:///etc/passwd", b"", "redirects to 'file:///etc/passwd'"),
    ],
)
def test_servers_that_have_none(head: str, body: bytes, reason: str) -> None:
    with pytest.raises(NoPacError) as caught:
        fetched(answering(head, body))
    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason


def test_a_server_that_says_nothing() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.raises(NoPacError, match=r"no answer within 0\.2 s"):
        fetched(mute, budget_s=0.2)


def test_a_server_that_drips() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"/")
            await writer.drain()
            await asyncio.sleep(0.02)

    with pytest.raises(NoPacError, match=r"no answer within 0\.3 s"):
        fetched(drip, budget_s=0.3)


def test_nobody_listens_and_nobody_is_called_so() -> None:
    with pytest.raises(NoPacError, match=r"127\.0\.0\.1 cannot be reached on port 9"):
        asyncio.run(fetch_pac("http://127.0.0.1:9/p.pac", 3))
    with pytest.raises(NoPacError, match=r"nothing\.invalid does not resolve|no answer within"):
        asyncio.run(fetch_pac("http://nothing.invalid/p.pac", 3))


def test_a_certificate_that_nobody_trusts() -> None:
    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        async with server(answering("200 OK", GOOD.encode()), context) as port:
            await fetch_pac(f"https://127.0.0.1:{port}/p.pac", 3)

    with pytest.raises(NoPacError, match="certificate is not trusted"):
        asyncio.run(run())


def test_from_the_option_to_the_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Machine({}, tmp_path, "host", pac_source.fetch_pac)

    async def run() -> Route:
        async with server(answering("200 OK", GOOD.encode())) as port:
            url = f"http://127.0.0.1:{port}/p.pac"
            settings, way = await find_way(Wish(pac=url), here)
            assert (settings.kind, settings.proxy, way.fault) == (PathKind.PAC, url, "")
            try:
                return await way.route("https://bücher.example/", "bücher.example")
            finally:
                await way.close()

    route = asyncio.run(run())
    assert str(route.proxy) == "http://p.example:3128"
    assert route.fallbacks == (None,)


def test_wpad_by_a_lease(tmp_path: Path) -> None:
    async def run() -> tuple[str, Route]:
        async with server(answering("200 OK", GOOD.encode())) as port:
            lease = tmp_path / "run/systemd/netif/leases/2"
            lease.parent.mkdir(parents=True)
            lease.write_text("OPTION_252=" + f"http://127.0.0.1:{port}/wpad.dat".encode().hex())
            settings, way = await find_way(Wish(wpad=True), Machine({}, tmp_path, "host", fetch_pac))
            try:
                return settings.source, await way.route("https://a.example/", "a.example")
            finally:
                await way.close()

    source, route = asyncio.run(run())
    assert source == "--wpad, by DHCP"
    assert str(route.proxy) == "http://p.example:3128"
