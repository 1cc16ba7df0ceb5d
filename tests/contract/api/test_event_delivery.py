"""Events on their way to real receivers on loopback: signed, in order, at least once, each on its own."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import func, select

from api.services import delivery
from api.services.context import Services
from api.services.delivery import Delivery, Line
from api.services.events import emit
from api.services.keys import create_keys
from api.services.metrics import Metrics
from api.services.receivers import (
    SIGNATURE_HEADER,
    AuditFile,
    Event,
    NotTaken,
    Syslog,
    Webhook,
    open_receivers,
    signature,
)
from api.settings import Settings, SettingsError
from api.store.database import Database
from api.store.tables import Outgoing
from tests.contract.api.controller import SilentWake, StillClock
from tests.contract.api.process import until

SECRET = b"0123456789abcdef0123"


@dataclass
class Hook:
    """A webhook receiver: what it got, and what it answers next."""

    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    heads: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    elsewhere: str = ""


@contextmanager
def hook(context: ssl.SSLContext | None = None) -> Iterator[Hook]:
    found = Hook()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.answers.pop(0) if found.answers else 204
            if 200 <= status < 300:
                found.got.append(json.loads(body))
            found.bodies.append(body)
            found.heads.append(self.headers)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", found.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    found.url = f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    settings = Settings(state_dir=tmp_path, webhook_url="x", syslog="x", audit_file=tmp_path / "audit.jsonl")
    clock = StillClock()
    return Services(settings, database, clock, create_keys(tmp_path / "keys", clock.now()), SilentWake())


def put(services: Services, *numbers: int) -> None:
    for number in numbers:
        with services.database.write() as session:
            emit(session, services, "tenant", "audit", {"n": number, "text": "日本\n語"})


def waiting(services: Services, receiver: str) -> int:
    with services.database.read() as session:
        return session.scalar(select(func.count()).where(Outgoing.receiver == receiver)) or 0


def pass_time(services: Services, seconds: float) -> None:
    clock = services.clock
    assert isinstance(clock, StillClock)
    clock.at += timedelta(seconds=seconds)


@contextmanager
def line(services: Services, receiver: Any) -> Iterator[Line]:
    yield Line(services, receiver, Metrics(services))
    receiver.close()


def numbers(documents: list[dict[str, Any]]) -> list[int]:
    return [each["body"]["n"] for each in documents]


# --- webhook -------------------------------------------------------------------------------------------


def test_a_webhook_gets_every_event_in_order_and_signed(services: Services) -> None:
    put(services, *range(5))
    with hook() as found, line(services, Webhook(found.url, SECRET)) as events:
        events.step()
    assert numbers(found.got) == [0, 1, 2, 3, 4]
    assert waiting(services, "webhook") == 0
    assert waiting(services, "syslog") == 5
    head = found.heads[0]
    said = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", head[SIGNATURE_HEADER])
    assert said
    assert abs(int(said[1]) - time.time()) < 30
    assert hmac.new(SECRET, said[1].encode() + b"." + found.bodies[0], hashlib.sha256).hexdigest() == said[2]
    assert (head["X-Isolator-Event"], head["X-Isolator-Delivery"]) == ("audit", str(found.got[0]["id"]))
    assert SECRET.decode() not in str(head)


def test_the_signature_is_of_time_and_body() -> None:
    assert signature(SECRET, 1, b"x") != signature(SECRET, 2, b"x") != signature(SECRET, 2, b"y")


def test_the_code_in_the_documentation_verifies_what_is_sent(services: Services) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/controller-operations.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    is_ours = names["is_ours"]
    put(services, 1)
    with hook() as found, line(services, Webhook(found.url, SECRET)) as events:
        events.step()
    header, body = found.heads[0][SIGNATURE_HEADER], found.bodies[0]
    assert is_ours(SECRET, header, body)
    assert not is_ours(b"another secret 16", header, body)
    assert not is_ours(SECRET, header, body + b" ")
    assert not is_ours(SECRET, header, body, within_s=-1)
    for bad in ("", "t=,v1=", "t=x,v1=y", header.replace("v1=", "v1=0"), header.split(",")[0]):
        assert not is_ours(SECRET, bad, body)


def test_a_failure_is_tried_again_and_nobody_overtakes(services: Services) -> None:
    put(services, 1, 2, 3)
    with hook() as found, line(services, Webhook(found.url, SECRET)) as events:
        found.answers = [204, 500]
        assert not events.step()
        assert numbers(found.got) == [1]
        events.step()  # it is not due yet
        assert numbers(found.got) == [1]
        pass_time(services, 2)
        events.step()
    assert numbers(found.got) == [1, 2, 3]


def test_the_wait_grows_and_has_a_limit(services: Services) -> None:
    put(services, 1)
    waits = []
    with hook() as found, line(services, Webhook(found.url, SECRET)) as events:
        for _ in range(14):
            found.answers = [503]
            events.step()
            with services.database.read() as session:
                due = session.scalars(
                    select(Outgoing.next_attempt_at).where(Outgoing.receiver == "webhook")
                ).one()
            waits.append((due - services.clock.now()).total_seconds())
            pass_time(services, waits[-1] + 0.001)
    assert 0.7 < waits[0] < 1.3
    assert waits[5] > 20
    assert 200 < waits[-1] < 400


def test_an_event_that_nobody_can_take_does_not_block_for_ever(services: Services) -> None:
    put(services, 1, 2)
    with hook() as found, line(services, Webhook(found.url, SECRET)) as events:
        for _ in range(delivery.HOPELESS_AFTER):
            found.answers = [422]
            events.step()
            pass_time(services, 1000)
        events.step()
    assert numbers(found.got) == [2]


def test_a_redirect_is_not_followed(services: Services) -> None:
    put(services, 1)
    with hook() as other, hook() as found, line(services, Webhook(found.url, SECRET)) as events:
        found.answers, found.elsewhere = [307], other.url
        events.step()
        assert (other.bodies, waiting(services, "webhook")) == ([], 1)


def test_tls_is_verified(services: Services, tmp_path: Path) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    put(services, 1)
    with hook(server) as found:
        with line(services, Webhook(found.url, SECRET)) as events:
            events.step()
            assert (found.got, waiting(services, "webhook")) == ([], 1)
        pass_time(services, 10)
        with line(services, Webhook(found.url, SECRET, trusting)) as events:
            events.step()
    assert numbers(found.got) == [1]


def test_what_goes_wrong_names_no_secret_path(services: Services) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    receiver = Webhook(f"http://127.0.0.1:{port}/T0KEN", SECRET)
    with pytest.raises(NotTaken) as refusal:
        receiver.take([Event(1, "t", "audit", services.clock.now(), {})])
    assert "T0KEN" not in str(refusal.value)


# --- syslog --------------------------------------------------------------------------------------------

RFC_5424 = re.compile(
    rb"<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z [!-~]{1,255} isolator-api \d+ audit - \xef\xbb\xbf(\{.*\})",
    re.DOTALL,
)


def test_syslog_over_udp(services: Services) -> None:
    put(services, 1, 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        with line(services, Syslog("127.0.0.1", server.getsockname()[1], tcp=False)) as events:
            events.step()
        for number in (1, 2):
            found = RFC_5424.fullmatch(server.recv(65536))
            assert found
            assert json.loads(found[2])["body"] == {"n": number, "text": "日本\n語"}
    assert waiting(services, "syslog") == 0


def test_syslog_over_tcp_counts_octets_and_comes_back(services: Services) -> None:
    put(services, 1, 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        with line(services, Syslog("127.0.0.1", server.getsockname()[1], tcp=True)) as events:
            events.step()
            first, _ = server.accept()
            with first:
                assert [json.loads(each)["body"]["n"] for each in framed(first, 2)] == [1, 2]
            put(services, 3)
            time.sleep(0.1)
            events.step()  # the server has closed; this must not vanish into the old connection
            second, _ = server.accept()
            with second:
                assert [json.loads(each)["body"]["n"] for each in framed(second, 1)] == [3]


def framed(connection: socket.socket, count: int) -> list[bytes]:
    connection.settimeout(10)
    with connection.makefile("rb") as stream:
        found = []
        for _ in range(count):
            digits = b""
            while (each := stream.read(1)) != b" ":
                digits += each
            parsed = RFC_5424.fullmatch(stream.read(int(digits)))
            assert parsed
            found.append(parsed[2])
    return found


def test_a_kind_cannot_break_the_head(services: Services) -> None:
    message = Syslog("h", 1, tcp=False, hostname="a b\nc").message(
        Event(1, "t", "x y\n<1>z" * 9, services.clock.now(), {})
    )
    head = message.split(b"\xef\xbb\xbf")[0]
    assert len(head.split(b" ")) == 8
    assert b"\n" not in head


# --- file ----------------------------------------------------------------------------------------------


def test_the_file_gets_whole_lines_and_is_closed_to_others(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_bytes(b'{"cut": ')
    put(services, 1, 2)
    with line(services, AuditFile(file)) as events:
        events.step()
        file.rename(tmp_path / "audit.1")  # rotated
        put(services, 3)
        events.step()
    lines = (tmp_path / "audit.1").read_bytes().split(b"\n")
    assert lines[0] == b'{"cut": '
    assert numbers([json.loads(each) for each in lines[1:-1]]) == [1, 2]
    assert numbers([json.loads(file.read_bytes())]) == [3]
    assert os.stat(file).st_mode & 0o007 == 0


def test_a_file_that_cannot_be_written_keeps_the_events(services: Services, tmp_path: Path) -> None:
    put(services, 1)
    with line(services, AuditFile(tmp_path / "no" / "such" / "file")) as events:
        events.step()
    assert waiting(services, "file") == 1


# --- all together --------------------------------------------------------------------------------------


def test_a_dead_receiver_stops_nobody_and_nothing_is_lost_at_an_end(
    services: Services, tmp_path: Path
) -> None:
    services = replace(services, clock=RealClock())
    with socket.create_server(("127.0.0.1", 0), backlog=1) as mute, hook() as found:  # accepts, never answers
        receivers = [
            Webhook(found.url, SECRET),
            Syslog(*closed_port(), tcp=True),
            AuditFile(tmp_path / "audit.jsonl"),
        ]
        running = Delivery(services, receivers, Metrics(services))
        running.start()
        try:
            put(services, *range(20))
            until(lambda: len(found.got) == 20 and waiting(services, "file") == 0)
        finally:
            running.stop()
        assert mute
    assert numbers(found.got) == list(range(20))
    assert waiting(services, "syslog") == 20


def test_two_workers_deliver_each_event_once_and_in_order(services: Services) -> None:
    if services.database.is_sqlite:
        pytest.skip("workers.one_with_sqlite")
    services = replace(services, clock=RealClock())
    with hook() as found:
        both = [Delivery(services, [Webhook(found.url, SECRET)], Metrics(services)) for _ in range(2)]
        for each in both:
            each.start()
        try:
            put(services, *range(60))
            until(lambda: waiting(services, "webhook") == 0)
        finally:
            for each in both:
                each.stop()
    assert numbers(found.got) == list(range(60))


def test_the_queue_has_a_limit(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "KEEP", 10)
    put(services, *range(25))
    with line(services, AuditFile(Path("/no/such/place"))) as events:
        events.step()
    assert waiting(services, "file") == 10
    assert waiting(services, "syslog") == 25
    with services.database.read() as session:
        kept = session.scalars(
            select(Outgoing.body).where(Outgoing.receiver == "file").order_by(Outgoing.id)
        ).all()
    assert [each["n"] for each in kept] == list(range(15, 25))


class RealClock:
    def now(self) -> Any:
        from datetime import UTC, datetime

        return datetime.now(UTC)


def closed_port() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return "127.0.0.1", int(closed.getsockname()[1])


# --- settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"webhook_url": "http://example.com/x"}, "use https"),
        ({"webhook_url": "ftp://example.com/x"}, "https address"),
        ({"webhook_url": "https://[::1"}, "no address"),
        ({"webhook_url": "https://example.com/x"}, "needs one"),
        ({"webhook_url": "https://example.com/x", "webhook_secret_file": Path("/no/file")}, "cannot be read"),
        ({"syslog": "loghost"}, "HOST:PORT"),
        ({"syslog": "tls://loghost:6514"}, "HOST:PORT"),
        ({"syslog": "loghost:0"}, "HOST:PORT"),
        ({"syslog": "loghost:99999"}, "HOST:PORT"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        open_receivers(Settings(**settings))


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("short\n")
    with pytest.raises(SettingsError, match="at least 16"):
        open_receivers(Settings(webhook_url="https://example.com/", webhook_secret_file=tmp_path / "s"))


def test_all_receivers_at_once(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(SECRET)
    found = open_receivers(
        Settings(
            webhook_url="http://[::1]:80/",
            webhook_secret_file=tmp_path / "s",
            syslog="tcp://[2001:db8::1]:601",
            audit_file=tmp_path / "a",
        )
    )
    assert [each.name for each in found] == ["webhook", "syslog", "file"]
