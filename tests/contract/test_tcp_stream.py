"""TcpStream over loopback: it can be ended at any moment, and leaves nothing open."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from connectivity_check.failure import Seen
from connectivity_check.ports import Stream
from connectivity_check.probes.stream import TunnelStream
from connectivity_check.probes.tcp import TcpProbe


class _Clock:
    def now(self) -> float:
        return time.monotonic()

    def utc(self) -> float:
        return time.time()


def with_stream(work: Callable[[Stream, socket.socket], Awaitable[None]]) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            tried = await TcpProbe(_Clock()).connect("127.0.0.1", port, budget_s=2)
            assert tried.stream is not None
            peer, _ = listening.accept()
            with peer:
                peer.setblocking(False)
                await work(tried.stream, peer)
            tried.stream.close()

    asyncio.run(run())


def test_bytes_both_ways_and_the_end() -> None:
    async def work(stream: Stream, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await stream.send(b"ping")
        assert await loop.sock_recv(peer, 10) == b"ping"
        await loop.sock_sendall(peer, b"pong")
        assert await stream.receive(2) == b"po"
        assert await stream.receive() == b"ng"
        peer.shutdown(socket.SHUT_WR)
        assert await stream.receive() == b""

    with_stream(work)


@pytest.mark.parametrize("wrapped", [False, True])
def test_closing_wakes_whoever_waits(wrapped: bool) -> None:
    async def work(stream: Stream, peer: socket.socket) -> None:
        used = TunnelStream(stream, "http://p:1") if wrapped else stream
        receiving = asyncio.ensure_future(used.receive())
        sending = asyncio.ensure_future(used.send(b"x" * 50_000_000))
        await asyncio.sleep(0.05)
        assert not receiving.done()
        assert not sending.done()
        used.close()
        used.close()
        for waiting in (receiving, sending):
            with pytest.raises(OSError, match="closed") as caught:
                await asyncio.wait_for(waiting, 1)
            assert caught.value.errno == errno.ECONNABORTED
        with pytest.raises(OSError, match="closed"):
            await used.receive()
        with pytest.raises(OSError, match="closed"):
            await used.send(b"x")

    with_stream(work)


def test_cancelling_a_receive_leaves_the_stream_usable() -> None:
    async def work(stream: Stream, peer: socket.socket) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.receive()
        peer.send(b"later")
        assert await stream.receive() == b"later"

    with_stream(work)


def test_a_receive_that_is_cancelled_late_does_not_take_the_next_ones_turn() -> None:
    async def work(stream: Stream, peer: socket.socket) -> None:
        first = asyncio.ensure_future(stream.receive())
        await asyncio.sleep(0.01)
        next_one = asyncio.ensure_future(stream.receive())
        first.cancel()  # it ends when the next one waits already
        peer.send(b"later")
        assert await asyncio.wait_for(next_one, 5) == b"later"
        assert first.cancelled()

    with_stream(work)


def test_what_came_before_the_close_is_not_given_after_it() -> None:
    async def work(stream: Stream, peer: socket.socket) -> None:
        receiving = asyncio.ensure_future(stream.receive())
        await asyncio.sleep(0)
        peer.send(b"late")
        stream.close()
        with pytest.raises(OSError, match="closed meanwhile"):
            await receiving

    with_stream(work)


def test_a_peer_that_never_stops_holds_up_nobody() -> None:
    async def work(stream: Stream, peer: socket.socket) -> None:
        peer.send(b"x" * 100_000)
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(other())
        for _ in range(500):
            assert await stream.receive(100)
        beside.cancel()
        assert turns >= 500

    with_stream(work)


def test_a_reset_is_an_error_of_the_socket() -> None:
    async def work(stream: Stream, peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.close()
        with pytest.raises(ConnectionResetError):
            await stream.receive()

    with_stream(work)


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_nothing_stays_open() -> None:
    async def run() -> None:
        probe = TcpProbe(_Clock())
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
            port = listening.getsockname()[1]
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(20):
                tried = await probe.connect("127.0.0.1", port, budget_s=2)
                assert tried.stream is not None
                waiting = asyncio.ensure_future(tried.stream.receive())
                await asyncio.sleep(0)
                tried.stream.close()
                # The same descriptor number comes back here at once, and must not inherit anything.
                again = await probe.connect("127.0.0.1", port, budget_s=2)
                assert again.stream is not None
                with pytest.raises(OSError, match="closed"):
                    await waiting
                again.stream.close()
                refused = await probe.connect("127.0.0.1", 1, budget_s=2)
                assert refused.observation.seen is Seen.CONNECTION_REFUSED
                cancelled = asyncio.ensure_future(probe.connect("127.0.0.1", port, budget_s=2))
                await asyncio.sleep(0)
                cancelled.cancel()
                await asyncio.gather(cancelled, return_exceptions=True)
            assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())
