"""The line to the controller over real TLS on loopback: kept, bounded, ended in time, and only to the right one."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from isolator.adapters import api_client
from isolator.adapters.api_client import HttpsControllerClient
from isolator.model.config import ControllerSettings
from isolator.model.failure import FailureCode, IsolatorError
from tests.fakes.controller import FakeController
from tests.fakes.controller_server import ControllerServer, OddServer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def issued(authority: trustme.CA, directory: Path, *names: str, **dates: Any) -> Path:
    path = directory / "server.pem"
    authority.issue_cert(*names, **dates).private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.fixture
def pem(authority: trustme.CA, tmp_path: Path) -> Path:
    return issued(authority, tmp_path, "127.0.0.1", "localhost")


@pytest.fixture
def server(pem: Path) -> Iterator[ControllerServer]:
    with ControllerServer(FakeController(), socket.create_server(("127.0.0.1", 0)), pem) as running:
        yield running


def client_of(port: int, ca: str | None, host: str = "127.0.0.1", path: str = "") -> HttpsControllerClient:
    return HttpsControllerClient(ControllerSettings(f"https://{host}:{port}{path}", ca))


def refusal(client: HttpsControllerClient, deadline_s: float = 5.0, path: str = "/x") -> IsolatorError:
    with pytest.raises(IsolatorError) as caught:
        client.post(path, {}, deadline_s)
    client.close()
    return caught.value


def test_one_connection_is_kept(server: ControllerServer, ca: str) -> None:
    client = client_of(server.server_address[1], ca)
    for _ in range(3):
        assert client.post("/nowhere", {"a": 1}, 5.0).status == 404
    assert server.connections == 1
    client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_address_and_name(server: ControllerServer, ca: str, host: str) -> None:
    client = client_of(server.server_address[1], ca, host)
    assert client.post("/nowhere", {}, 5.0).status == 404
    client.close()


def test_a_connection_that_the_server_ended_is_opened_anew_without_a_failure(
    server: ControllerServer, ca: str
) -> None:
    client = client_of(server.server_address[1], ca)
    client.post("/nowhere", {}, 5.0)
    server.cut()
    time.sleep(0.1)
    assert client.post("/nowhere", {}, 5.0).status == 404
    assert server.connections == 2
    client.close()


def test_a_stranger_s_certificate_is_refused(server: ControllerServer, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    error = refusal(client_of(server.server_address[1], str(other)))
    assert error.code is FailureCode.CONTROLLER_UNREACHABLE
    assert "controller.ca" in error.sentence


def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, ca: str, tmp_path: Path) -> None:
    pem = issued(authority, tmp_path, "other.example")
    with ControllerServer(FakeController(), socket.create_server(("127.0.0.1", 0)), pem) as running:
        assert "certificate" in refusal(client_of(running.server_address[1], ca)).sentence


@pytest.mark.parametrize("days", [(-20, -10), (10, 20)], ids=["expired", "not_yet"])
def test_dates_of_a_certificate_count_for_the_token_only(
    authority: trustme.CA, ca: str, tmp_path: Path, days: tuple[int, int]
) -> None:
    now = datetime.now(UTC)
    pem = issued(
        authority, tmp_path, "127.0.0.1",
        not_before=now + timedelta(days=days[0]), not_after=now + timedelta(days=days[1]),
    )  # fmt: skip
    with ControllerServer(FakeController(), socket.create_server(("127.0.0.1", 0)), pem) as running:
        client = client_of(running.server_address[1], ca)
        assert "certificate" in refusal(client, path="/agent/v1/enrol").sentence
        assert running.connections == 0
        assert client.post("/nowhere", {}, 5.0).status == 404
        client.close()


def test_wrong_name_is_refused_even_when_the_dates_do_not_count(
    authority: trustme.CA, ca: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    old = {"not_before": now - timedelta(days=20), "not_after": now - timedelta(days=10)}
    pem = issued(authority, tmp_path, "other.example", **old)
    with ControllerServer(FakeController(), socket.create_server(("127.0.0.1", 0)), pem) as running:
        assert "certificate" in refusal(client_of(running.server_address[1], ca)).sentence
        assert running.connections == 0


@pytest.mark.parametrize("content", [None, "no certificate", ""])
def test_an_unusable_ca_file_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = refusal(client_of(listener.getsockname()[1], str(path)))
    assert error.code is FailureCode.BAD_CONFIG
    assert str(path) in error.sentence


def test_nobody_listens(ca: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(client_of(port, ca)).code is FailureCode.CONTROLLER_UNREACHABLE


def test_a_server_that_says_nothing_at_all(ca: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "CONNECT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = time.monotonic()
        error = refusal(client_of(listener.getsockname()[1], ca))
    assert time.monotonic() - started < 3
    assert "in time" in error.sentence


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def _drip(wire: ssl.SSLSocket | socket.socket) -> None:
    wire.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    for _ in range(100):
        wire.sendall(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("respond", "sentence"),
    [
        (_drip, "in time"),
        (
            lambda wire: wire.sendall(HEAD + b"Content-Length: 2000000\r\n\r\n" + b"1" * 2_000_000),
            "longer than",
        ),
        (lambda wire: wire.sendall(HEAD + b"Connection: close\r\n\r\n" + b"1" * 2_000_000), "longer than"),
        (lambda wire: wire.sendall(HEAD + b"Content-Length: 10\r\n\r\nabc"), "failed"),
        (lambda wire: wire.sendall(b"SSH-2.0-OpenSSH\r\n"), "failed"),
        (lambda wire: wire.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000), "failed"),
        (lambda wire: wire.sendall(b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000), "failed"),
        (lambda wire: None, "failed"),
    ],
    ids=["drip", "long", "long_until_close", "short", "ssh", "many_headers", "long_header", "silent_end"],
)
def test_what_is_no_reply_ends_as_one_error(pem: Path, ca: str, respond: Any, sentence: str) -> None:
    with OddServer(pem, respond) as odd:
        started = time.monotonic()
        error = refusal(client_of(odd.port, ca), deadline_s=1.0)
        assert time.monotonic() - started < 3
    assert error.code is FailureCode.CONTROLLER_UNREACHABLE
    assert sentence in error.sentence


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json_is_a_reply_without_body(pem: Path, ca: str, body: bytes) -> None:
    reply_bytes = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with OddServer(pem, lambda wire: wire.sendall(reply_bytes)) as odd:
        client = client_of(odd.port, ca)
        reply = client.post("/x", {}, 5.0)
        client.close()
    assert (reply.status, reply.body) == (200, None)


def test_a_redirect_is_not_followed(pem: Path, ca: str) -> None:
    said = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: https://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
    with OddServer(pem, lambda wire: wire.sendall(said)) as odd:
        client = client_of(odd.port, ca)
        assert client.post("/x", {}, 5.0).status == 307
        client.close()


def test_close_ends_a_call_that_waits(pem: Path, ca: str) -> None:
    released = threading.Event()
    with OddServer(pem, lambda wire: released.wait(5.0) and None) as odd:
        client = client_of(odd.port, ca)
        threading.Timer(0.3, client.close).start()
        started = time.monotonic()
        error = refusal(client, deadline_s=20.0)
        released.set()
    assert error.code is FailureCode.CONTROLLER_UNREACHABLE
    assert time.monotonic() - started < 3


def test_a_path_in_the_url_comes_first(pem: Path, ca: str) -> None:
    with OddServer(pem, lambda wire: wire.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")) as odd:
        client = client_of(odd.port, ca, path="/isolation/")
        assert client.post("/agent/v1/checkin", {}, 5.0).body == {}
        client.close()
    assert odd.asked.startswith(b"POST /isolation/agent/v1/checkin HTTP/1.1\r\n")
