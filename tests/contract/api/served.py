"""The real server: uvicorn over TLS on loopback, and the forwarder that leads Microsoft's names to it."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
import uvicorn
from fastapi import FastAPI

from tools.connect_forwarder import NAMES, Forwarder


@dataclass(frozen=True, slots=True)
class Served:
    """Where the server is, and the file with the authority its certificate comes from."""

    port: int
    ca: Path

    @property
    def url(self) -> str:
        """Under the name the certificate has."""
        return f"https://localhost:{self.port}"


@contextmanager
def served(app: FastAPI, directory: Path) -> Iterator[Served]:
    """Serve the application over TLS with a certificate for localhost and Microsoft's names."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", *sorted(NAMES))
    ca, chain = directory / "ca.pem", directory / "server.pem"
    authority.cert_pem.write_to_path(str(ca))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(chain))
    config = uvicorn.Config(
        app,
        ssl_certfile=str(chain),
        log_config=None,
        http="httptools",
        loop="asyncio",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.01)
            assert server.started
            yield Served(listener.getsockname()[1], ca)
        finally:
            _end(server, thread)


def _end(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + 3
    while server.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.01)  # the clients are gone; their goodbyes may still be on the way
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()
    with warnings.catch_warnings():
        # asyncio.run ends without the sockets of TLS connections that said no goodbye.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A running forwarder: its address as a proxy, and what it was asked for."""

    url: str
    forwarder: Forwarder


@contextmanager
def forwarding(port: int) -> Iterator[Forwarding]:
    """A CONNECT forwarder in a thread, leading every known name to this port of loopback."""
    forwarder = Forwarder(("127.0.0.1", port))
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(forwarder.serve(("127.0.0.1", 0)))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield Forwarding(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", forwarder)
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
