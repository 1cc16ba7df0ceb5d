"""Callers that hang up, drip, lie or talk nonsense, at the real server over TLS."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.app import body_limit
from api.core.roles import Role
from api.store.database import Database
from tests.contract.api.controller import Controller, controller
from tests.contract.api.served import Served, served


@dataclass(frozen=True, slots=True)
class World:
    """A served controller."""

    controller: Controller
    served: Served

    @contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        """A TLS connection to it."""
        context = ssl.create_default_context(cafile=str(self.served.ca))
        with (
            socket.create_connection(("127.0.0.1", self.served.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            yield secure


@pytest.fixture
def world(sqlite_shape: Path, tmp_path: Path) -> Iterator[World]:
    file = tmp_path / "controller.db"
    file.write_bytes(sqlite_shape.read_bytes())
    database = Database(f"sqlite:///{file}")
    try:
        with (
            controller(database, tmp_path, {"max_body_bytes": 50_000}) as made,
            served(made.app, tmp_path) as server,
        ):
            yield World(made, server)
    finally:
        database.close()


def request(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "Host: localhost", "", ""]).encode() + body


def answer(connection: ssl.SSLSocket) -> bytes:
    """Everything until the server ends the connection or has nothing more to say."""
    got = b""
    try:
        while portion := connection.recv(65_536):
            got += portion
            if b"\r\n\r\n" in got and got.endswith(b"}"):
                break
    except (TimeoutError, ConnectionError):
        pass
    return got


def test_hanging_up_in_the_middle_is_no_error(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    token = world.controller.token(Role.OPERATOR)
    for path in (
        "/api/machines/1/isolate",
        "/Acme/oauth2/v2.0/token",
        "/agent/v1/checkin",
        "/portal/sign-in",
    ):
        for _ in range(3):
            with world.connected() as connection:
                connection.sendall(
                    request(
                        f"POST {path} HTTP/1.1",
                        f"Authorization: Bearer {token}",
                        "Content-Type: application/json",
                        "Content-Length: 1000",
                        body=b'{"Comment": "',
                    )
                )
                time.sleep(0.05)
    time.sleep(0.5)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    with world.connected() as connection:
        connection.sendall(request("GET /openapi.json HTTP/1.1"))
        assert b" 200 " in connection.recv(100)


def test_a_body_that_drips(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "BODY_WAIT_S", 1.0)
    token = world.controller.token(Role.OPERATOR)
    with world.connected() as connection:
        connection.sendall(
            request(
                "POST /api/machines/1/isolate HTTP/1.1",
                f"Authorization: Bearer {token}",
                "Content-Type: application/json",
                "Content-Length: 1000",
            )
        )
        for _ in range(4):
            connection.sendall(b" ")
            time.sleep(0.2)
        got = answer(connection)
    assert b" 408 " in got
    assert b'"RequestTimeout"' in got


def test_too_much_of_everything(world: World) -> None:
    token = world.controller.token(Role.OPERATOR)
    head = (f"Authorization: Bearer {token}", "Content-Type: application/json")
    with world.connected() as connection:
        connection.sendall(
            request("POST /api/machines/1/isolate HTTP/1.1", *head, "Content-Length: 99999999999999999999")
        )
        assert b" 400 " in (got := answer(connection)) or b" 413 " in got
    with world.connected() as connection:
        connection.sendall(
            request("POST /api/machines/1/isolate HTTP/1.1", *head, "Transfer-Encoding: chunked")
        )
        try:
            for _ in range(100):
                connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        except (ConnectionError, ssl.SSLError):
            pass  # it had enough
        got = answer(connection)
    assert got == b"" or b" 413 " in got
    for nonsense in (b"\x16\x03\x01" * 100, b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50_000, b"X" * 200_000):
        with world.connected() as connection:
            try:
                connection.sendall(nonsense)
                connection.settimeout(3)
                connection.recv(100)
            except (TimeoutError, ConnectionError, ssl.SSLError):
                pass
    with world.connected() as connection:
        connection.sendall(request("GET /openapi.json HTTP/1.1"))
        assert b" 200 " in connection.recv(100)


def test_a_length_that_lies(world: World) -> None:
    """What comes after the declared end is the next request, not more of this one (request smuggling)."""
    token = world.controller.token(Role.OPERATOR)
    with world.connected() as connection:
        connection.sendall(
            request(
                "POST /api/machines/1/isolate HTTP/1.1",
                f"Authorization: Bearer {token}",
                "Content-Type: application/json",
                "Content-Length: 4",
                "Transfer-Encoding: chunked",
                body=b"0\r\n\r\nGET /api/machines HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            )
        )
        got = answer(connection)
    assert got.count(b"HTTP/1.1 200") == 0
