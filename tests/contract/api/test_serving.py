"""The served controller: what it refuses to start with, whom it believes, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from api.serving.edge import Edge
from api.settings import Settings, SettingsError
from tests.contract.api import postgresql
from tests.contract.api.process import Running, command, refused, running, until
from tests.fleet.agent import Agent


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Path]:
    """Certificate and key files for 127.0.0.1, and their authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return {**issue(authority, tmp_path, "127.0.0.1"), "ca": tmp_path / "ca.pem"}


def issue(authority: trustme.CA, directory: Path, *names: str) -> dict[str, Path]:
    leaf = authority.issue_cert(*names)
    leaf.cert_chain_pems[0].write_to_path(str(directory / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(directory / "key.pem"))
    return {"tls_cert": directory / "cert.pem", "tls_key": directory / "key.pem"}


# --- refusals ------------------------------------------------------------------------------------------


def test_a_port_in_use_is_one_sentence_and_nothing_is_begun(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused(tmp_path, port=taken.getsockname()[1])
    assert (code, said.count("\n")) == (2, 1)
    assert "somebody else listens there already" in said
    assert not (tmp_path / "state").exists()


def test_no_plain_http_to_the_network(tmp_path: Path) -> None:
    code, said = refused(tmp_path, host="0.0.0.0")
    assert (code, said.count("\n")) == (2, 1)
    assert "tls_cert" in said
    assert not (tmp_path / "state").exists()


def test_a_proxy_for_everybody_is_refused(tmp_path: Path) -> None:
    code, said = refused(tmp_path, trusted_proxies=["0.0.0.0/0"])
    assert (code, said.count("\n")) == (2, 1), said
    assert "let anybody say" in said


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda pair: pair["tls_cert"].unlink(), "cannot be read"),
        (lambda pair: pair["tls_key"].unlink(), "cannot be read"),
        (lambda pair: pair["tls_key"].write_text("no key"), "holds no private key"),
        (lambda pair: pair["tls_cert"].write_text("no certificate"), "no certificate chain"),
        (
            lambda pair: trustme.CA().issue_cert("x").private_key_pem.write_to_path(str(pair["tls_key"])),
            "is not the key",
        ),
        (lambda pair: pair["tls_key"].write_bytes(encrypted_key()), "is encrypted"),
    ],
)
def test_a_bad_certificate_is_one_sentence(
    tmp_path: Path, pair: dict[str, Path], spoil: Any, sentence: str
) -> None:
    spoil(pair)
    code, said = refused(tmp_path, tls_cert=pair["tls_cert"], tls_key=pair["tls_key"])
    assert (code, said.count("\n")) == (2, 1), said
    assert sentence in said
    assert not (tmp_path / "state").exists()


def encrypted_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"pw"),
    )


@pytest.mark.parametrize(
    "url",
    ["postgresql://nobody@127.0.0.1:1/none", "sqlite:////dev/null/x.db", "mysql://x/y", "no url"],
)
def test_a_database_that_cannot_be_used_is_one_sentence(tmp_path: Path, url: str) -> None:
    code, said = refused(tmp_path, database=url)
    assert (code, said.count("\n")) == (2, 1), said
    assert not (tmp_path / "state" / "keys").exists()


def test_two_controllers_do_not_share_an_sqlite_database(tmp_path: Path) -> None:
    with running(tmp_path):
        code, said = refused(tmp_path)
    assert (code, said.count("\n")) == (2, 1)
    assert "another controller runs" in said


def test_a_damaged_key_is_one_sentence(tmp_path: Path) -> None:
    command("client", "list", "--state-dir", str(tmp_path / "state"))
    (tmp_path / "state/keys/order.key").write_text("-----BEGIN PRIVATE KEY-----\nbroken\n")
    code, said = refused(tmp_path)
    assert (code, said.count("\n")) == (2, 1), said
    assert "damaged" in said


# --- ending --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(tmp_path: Path, how: signal.Signals) -> None:
    with running(tmp_path) as controller:
        started = time.monotonic()
        assert controller.end(how) == 0
        assert time.monotonic() - started < 5
        assert controller.lines()[-1]["message"] == "ended"


def test_a_request_in_flight_is_answered_and_a_new_one_refused(tmp_path: Path) -> None:
    with running(tmp_path) as controller, socket.create_connection(("127.0.0.1", controller.port)) as slow:
        slow.sendall(b"POST /t/oauth2/v2.0/token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                     b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=")  # fmt: skip
        time.sleep(0.3)
        controller.tell(signal.SIGTERM)
        until(lambda: not accepts(controller.port))
        slow.sendall(b"1")
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 4")
        assert b"connection: close" in answer.lower()
        assert controller.process.wait(20) == 0


def test_agents_that_wait_are_sent_home_with_a_signed_answer(tmp_path: Path) -> None:
    with running(tmp_path) as controller, httpx.Client(base_url=controller.url, timeout=60) as http:
        agent = Agent("pc-1")
        token = console(tmp_path, "enrolment", "create")["enrolment_token"]
        agent.enrolled(http.post("/agent/v1/enrol", json=agent.enrol(token)).json())
        http.post("/agent/v1/checkin", content=agent.check_in())
        answers: list[httpx.Response] = []
        asked = agent.check_in(wait_s=50)
        waiting = threading.Thread(
            target=lambda: answers.append(http.post("/agent/v1/checkin", content=asked))
        )
        waiting.start()
        until(lambda: "isolator_polls_waiting 1.0" in httpx.get(f"{controller.url}/metrics").text)
        started = time.monotonic()
        assert controller.end() == 0
        waiting.join(10)
        assert time.monotonic() - started < 5
        assert answers[0].status_code == 200
        assert agent.believe(answers[0].content)["poll_after_s"] > 0


def console(directory: Path, *words: str) -> Any:
    done = command(*words, "--config", str(directory / "controller.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_events_go_out_while_it_runs_and_what_is_left_goes_out_next_time(tmp_path: Path) -> None:
    file = tmp_path / "there" / "audit.jsonl"
    with running(tmp_path, audit_file=file) as controller:
        console(tmp_path, "client", "create", "--name", "one", "--role", "reader")
        until(lambda: "took no events" in controller.log())
        assert controller.end() == 0
    file.parent.mkdir()
    with running(tmp_path, audit_file=file) as controller:
        until(file.exists)
        console(tmp_path, "client", "create", "--name", "two", "--role", "reader")
        until(lambda: file.read_text().count("\n") == 2)
        assert controller.end() == 0
    rows = [json.loads(each)["body"] for each in file.read_text().splitlines()]
    assert [(each["action"], each["detail"]["name"], each["seq"]) for each in rows] == [
        ("client.create", "one", 1),
        ("client.create", "two", 2),
    ]


@pytest.mark.parametrize(
    "settings", [{"webhook_url": "http://example.com/"}, {"syslog": "x"}, {"trusted_proxies": ["x"]}]
)
def test_settings_that_cannot_be_used_begin_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    code, said = refused(tmp_path, **settings)
    assert (code, said.count("\n")) == (2, 1), said
    assert not (tmp_path / "state").exists()


def test_a_caller_that_never_finishes_does_not_hold_it_up_for_ever(tmp_path: Path) -> None:
    with running(tmp_path) as controller, socket.create_connection(("127.0.0.1", controller.port)) as slow:
        slow.sendall(b"POST /t/oauth2/v2.0/token HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\na=")
        time.sleep(0.3)
        started = time.monotonic()
        assert controller.end() == 0
        assert 5 < time.monotonic() - started < 20
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"ServiceUnavailable"' in answer


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(20)
        with running(tmp_path, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as controller:
            assert told.recv(100) == b"READY=1"
            controller.end()
            assert told.recv(100) == b"STOPPING=1"


# --- TLS -----------------------------------------------------------------------------------------------


def test_a_new_certificate_is_taken_and_open_connections_stay(tmp_path: Path, pair: dict[str, Path]) -> None:
    with running(tmp_path, tls_cert=pair["tls_cert"], tls_key=pair["tls_key"]) as controller:
        assert controller.url.startswith("https://")
        first, second = presented(controller.port), None
        with connected(controller.port, pair["ca"]) as before:
            pair["tls_cert"].write_text("half written")
            controller.tell(signal.SIGHUP)
            until(lambda: "the old one stays" in controller.log())
            assert presented(controller.port) == first
            issue(trustme.CA(), tmp_path, "127.0.0.1")
            controller.tell(signal.SIGHUP)
            until(lambda: "anew" in controller.log())
            second = presented(controller.port)
            assert second != first
            before.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
            assert before.recv(100).startswith(b"HTTP/1.1 200")
        assert controller.end() == 0


def presented(port: int) -> bytes:
    with connected(port) as tls:
        return tls.getpeercert(binary_form=True) or b""


def connected(port: int, ca: Path | None = None, **limits: Any) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    for name, value in limits.items():
        setattr(context, name, value)
    plain = socket.create_connection(("127.0.0.1", port), 10)
    try:
        return context.wrap_socket(plain, server_hostname="127.0.0.1")
    except BaseException:
        plain.close()
        raise


def test_no_tls_below_1_2(tmp_path: Path, pair: dict[str, Path]) -> None:
    with running(tmp_path, tls_cert=pair["tls_cert"], tls_key=pair["tls_key"]) as controller:
        with connected(controller.port, pair["ca"], maximum_version=ssl.TLSVersion.TLSv1_2) as tls:
            assert tls.version() == "TLSv1.2"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", controller.port), 10) as plain,
            pytest.raises(ssl.SSLError),
        ):
            context.wrap_socket(plain)


# --- whom it believes ----------------------------------------------------------------------------------


async def seen(settings: Settings, peer: str, *headers: tuple[str, str], scheme: str = "http") -> Any:
    """Client and scheme as the application sees them, or the status it is refused with."""
    found: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.update(client=scope["client"][0], scheme=scope["scheme"])

    async def send(message: Any) -> None:
        found.setdefault("status", message.get("status"))

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "client": (peer, 4711),
        "scheme": scheme,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }
    await Edge(app, settings)(scope, receive, send)
    return found.get("status") or (found["client"], found["scheme"])


PROXIED = Settings(trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


@pytest.mark.parametrize(
    ("settings", "peer", "headers", "expected"),
    [
        (PROXIED, "10.0.0.1", [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")], ("192.0.2.1", "https")),
        (PROXIED, "::ffff:10.0.0.1", [("X-Forwarded-For", "192.0.2.1")], ("192.0.2.1", "http")),
        (PROXIED, "fd00::1", [("X-Forwarded-For", "[2001:db8::7]:4711")], ("2001:db8::7", "http")),
        (PROXIED, "10.0.0.1", [("X-Forwarded-For", "192.0.2.1:1234")], ("192.0.2.1", "http")),
        # The caller wrote the left part; what our proxy saw stands last.
        (PROXIED, "10.0.0.1", [("X-Forwarded-For", "127.0.0.1, 192.0.2.66")], ("192.0.2.66", "http")),
        (PROXIED, "10.0.0.1", [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-For", "192.0.2.66")], ("192.0.2.66", "http")),
        (PROXIED, "10.0.0.1", [("X-Forwarded-For", "192.0.2.1, 10.0.0.9")], ("192.0.2.1", "http")),
        (PROXIED, "10.0.0.1", [("X-Forwarded-For", "127.0.0.1, rubbish, 10.0.0.9")], ("10.0.0.9", "http")),
        (PROXIED, "10.0.0.1", [], ("10.0.0.1", "http")),
        (PROXIED, "10.0.0.1", [("X-Forwarded-Proto", "https, http")], ("10.0.0.1", "http")),
        (PROXIED, "10.0.0.1", [("X-Forwarded-Proto", "gopher")], ("10.0.0.1", "http")),
        # Nobody else is believed, whatever is configured.
        (PROXIED, "127.0.0.1", [("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Proto", "https")], ("127.0.0.1", "http")),
        (Settings(), "127.0.0.1", [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")], ("127.0.0.1", "http")),
        # Plain HTTP is for loopback and proxies.
        (PROXIED, "192.0.2.9", [("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Proto", "https")], 403),
        (Settings(), "192.0.2.9", [], 403),
    ],
)  # fmt: skip
def test_forwarded_headers(
    settings: Settings, peer: str, headers: list[tuple[str, str]], expected: Any
) -> None:
    assert asyncio.run(seen(settings, peer, *headers)) == expected


def test_over_tls_everybody_may_call_and_nobody_forwards() -> None:
    spoofed = [("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http")]
    assert asyncio.run(seen(PROXIED, "192.0.2.9", *spoofed, scheme="https")) == ("192.0.2.9", "https")


def test_a_proxy_for_everybody_cannot_be_wired() -> None:
    with pytest.raises(SettingsError, match="anybody"):
        Edge(lambda *_: None, Settings(trusted_proxies=(ip_network("::/0"),)))  # type: ignore[arg-type,return-value]


# --- callers that say nothing --------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_half_a_request_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    with running(tmp_path) as controller, socket.create_connection(("127.0.0.1", controller.port)) as slow:
        slow.sendall(sent)
        slow.settimeout(30)
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(100) == b""
        assert 15 < time.monotonic() - started < 25


# --- several workers -----------------------------------------------------------------------------------


def test_several_workers_share_a_postgresql(tmp_path: Path, postgresql_server: postgresql.Server) -> None:
    postgresql_server.create("workers")
    try:
        with running(tmp_path, workers=2, database=postgresql_server.url("workers")) as controller:
            until(lambda: controller.log().count("listening on") == 2, 60)
            pids = children(controller)
            with httpx.Client(base_url=controller.url) as http:
                assert http.get("/docs").status_code == 200
                assert (
                    'isolator_http_requests_total{method="GET",route="other",status="200"} 1.0'
                    in http.get("/metrics").text
                )
            os.kill(pids[0], signal.SIGKILL)
            until(lambda: controller.log().count("listening on") == 3, 60)
            assert "a worker died" in controller.log()
            assert len(set(children(controller)) - set(pids)) == 1
            left = children(controller)
            assert controller.end() == 0, controller.log()
            assert not [each for each in left if Path(f"/proc/{each}").exists()]
    finally:
        postgresql_server.drop("workers")


def test_an_order_taken_by_one_worker_wakes_a_poll_at_another(
    tmp_path: Path, postgresql_server: postgresql.Server
) -> None:
    """Without the notice it would take the sweep, which is far away here."""
    postgresql_server.create("woken")
    settings = {"workers": 2, "database": postgresql_server.url("woken"), "sweep_s": 300.0}
    try:
        with running(tmp_path, **settings) as controller:
            until(lambda: controller.log().count("listening on") == 2, 60)
            token = console(tmp_path, "enrolment", "create", "--uses", "16")["enrolment_token"]
            agents = [Agent(f"pc-{number}") for number in range(16)]
            for each in agents:
                each.enrolled(post(controller, "/agent/v1/enrol", json=each.enrol(token)).json())
                post(controller, "/agent/v1/checkin", content=each.check_in())
            with ThreadPoolExecutor(16) as pool:
                asked = [(each, each.check_in(wait_s=50)) for each in agents]
                polls = [
                    pool.submit(post, controller, "/agent/v1/checkin", content=body) for _, body in asked
                ]
                until(lambda: polls_waiting(controller) == 16)
                assert all(connections(controller, each) for each in children(controller)), "one has them all"
                bearer = signed_in(tmp_path, controller)
                started = time.monotonic()
                for each in agents:
                    where = f"/api/machines/{each.machine_id}/isolate"
                    answer = post(controller, where, json={"Comment": "x"}, headers=bearer)
                    assert answer.status_code == 201, answer.text
                answers = [each.result(30) for each in polls]
                assert time.monotonic() - started < 20
            assert all(
                each.order_of(each.believe(answer.content))
                for each, answer in zip(agents, answers, strict=True)
            )
            assert controller.end() == 0
    finally:
        postgresql_server.drop("woken")


def post(controller: Running, path: str, **options: Any) -> httpx.Response:
    """On a connection of its own, which any worker may take."""
    return httpx.post(f"{controller.url}{path}", timeout=60, **options)


def polls_waiting(controller: Running) -> float:
    text = httpx.get(f"{controller.url}/metrics").text
    return sum(
        float(each.split()[1]) for each in text.splitlines() if each.startswith("isolator_polls_waiting")
    )


def connections(controller: Running, worker: int) -> int:
    """How many callers' connections a worker holds (proc(5), net/tcp: local address, state 01, inode)."""
    lines = [each.split() for each in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f":{controller.port:04X}"
    inodes = {each[9] for each in lines if each[1].endswith(local) and each[3] == "01"}
    held = set()
    for each in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held.add(os.readlink(each))
    return sum(f"socket:[{each}]" in held for each in inodes)


def signed_in(directory: Path, controller: Running) -> dict[str, str]:
    made = console(directory, "client", "create", "--name", "soar", "--role", "operator")
    form = {
        "grant_type": "client_credentials",
        "client_id": made["client_id"],
        "client_secret": made["client_secret"],
        "scope": "x/.default",
    }
    answer = post(controller, f"/{made['tenant_id']}/oauth2/v2.0/token", data=form)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_workers_end_with_a_parent_that_is_killed(
    tmp_path: Path, postgresql_server: postgresql.Server
) -> None:
    postgresql_server.create("orphans")
    try:
        with running(tmp_path, workers=2, database=postgresql_server.url("orphans")) as controller:
            until(lambda: controller.log().count("listening on") == 2, 60)
            left = children(controller)
            controller.end(signal.SIGKILL)
            until(lambda: not [each for each in left if Path(f"/proc/{each}").exists()])
            assert not accepts(controller.port)
    finally:
        postgresql_server.drop("orphans")


def children(controller: Running) -> list[int]:
    """Its workers; not Python's resource tracker."""
    pid = controller.process.pid
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]
