"""Health, readiness, figures; and that the log of a busy controller has no secret in it."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from api.app import create_app
from api.core.roles import Role
from api.services import enrolment, users
from api.services.isolation import OrderRequest, place
from api.services.metrics import Metrics
from api.serving.logs import configure_logs, without_secrets
from api.settings import Settings
from api.store.database import Database
from tests.contract.api.controller import OTHER, URL, Controller, TestClient, console, controller
from tests.fleet.agent import Agent

HERE = ("127.0.0.1", 4711)
AFAR = ("192.0.2.1", 4711)


@pytest.fixture
def running(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path) as found:
        yield found


@contextmanager
def called_from(running: Controller, address: tuple[str, int], **settings: Any) -> Iterator[TestClient]:
    services = replace(running.services, settings=replace(running.services.settings, **settings))
    with TestClient(create_app(services), base_url=URL, client=address) as http:
        yield http


def figures(content: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(content)
        for sample in family.samples
    }


# --- health --------------------------------------------------------------------------------------------


def test_healthy_and_ready(running: Controller) -> None:
    assert running.http.get("/healthz").json() == {"status": "ok"}
    answer = running.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": {}})


def test_not_ready_without_database_but_healthy(running: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    database = running.services.database
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE tenants RENAME TO gone"))
    try:
        answer = running.http.get("/readyz")
        assert (answer.status_code, set(answer.json()["reasons"])) == (503, {"database"})
        assert "gone" not in answer.text
        assert running.http.get("/healthz").status_code == 200
    finally:
        with database.engine.begin() as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO tenants"))


def test_not_ready_without_a_disk(running: Controller) -> None:
    nowhere = replace(running.services.settings, state_dir=Path("/no/such/place"))
    services = replace(running.services, settings=nowhere)
    if services.database.is_sqlite:
        pytest.skip("disk.is_where_the_database_is")
    with TestClient(create_app(services), base_url=URL) as http:
        answer = http.get("/readyz")
    assert (answer.status_code, set(answer.json()["reasons"])) == (503, {"disk"})


def test_not_ready_when_the_key_set_is_over(running: Controller) -> None:
    running.clock.advance(3 * 365 * 86_400 - 60)
    assert running.http.get("/readyz").status_code == 200
    running.clock.advance(120)
    answer = running.http.get("/readyz")
    assert (answer.status_code, set(answer.json()["reasons"])) == (503, {"keys"})


def test_not_ready_while_it_ends(running: Controller) -> None:
    with called_from(running, HERE) as http:
        http.app.state.agents.polls.draining = True  # type: ignore[attr-defined]
        answer = http.get("/readyz")
    assert (answer.status_code, set(answer.json()["reasons"])) == (503, {"process"})


# --- figures -------------------------------------------------------------------------------------------


def test_figures_are_for_this_host_or_a_token(running: Controller) -> None:
    with called_from(running, HERE) as http:
        assert http.get("/metrics").status_code == 200
    proxied = {"trusted_proxies": (ip_network("127.0.0.0/8"),)}
    with called_from(running, HERE, **proxied) as http:
        assert http.get("/metrics").status_code == 401
    with called_from(running, AFAR) as http:
        assert http.get("/metrics").status_code == 401
        assert http.get("/metrics", headers={"Authorization": "Bearer x"}).status_code == 401
        assert http.get("/metrics", headers=running.headers(Role.READER)).status_code == 200
        assert http.get("/metrics", headers=running.headers(Role.AUDITOR)).status_code == 403
    with called_from(running, AFAR, metrics_public=True) as http:
        assert http.get("/metrics").status_code == 200


def test_what_the_figures_say(running: Controller) -> None:
    machine = running.machine("pc-1")
    running.machine("pc-9", tenant=OTHER)
    place(running.services, console(), OrderRequest(machine.id, "because"))
    with called_from(running, HERE) as http:
        http.post("/agent/v1/checkin", content=b"{}")
        http.post("/agent/v1/checkin", content=forged_check_in())
        http.get("/api/machines/abc", headers=running.headers(Role.READER))
        found = figures(http.get("/metrics").text)
    assert found["isolator_actions", "status=Pending", "type=Isolate"] == 1
    assert found["isolator_machines", "desired=isolated", "observed=unknown"] == 1
    assert found["isolator_machines", "desired=connected", "observed=unknown"] == 1
    assert found["isolator_refused_documents_total", "refusal=malformed"] == 1
    assert found["isolator_polls_waiting",] == 0
    assert found["isolator_audit_rows",] >= 2
    assert found["isolator_build_info", "version=0.1.0"] == 1
    counted = ("isolator_http_requests_total", "method=GET", "route=/api/machines/{machine_id}", "status=404")
    assert found[counted] == 1
    assert found["isolator_http_request_seconds_count", "method=GET", "route=/api/machines/{machine_id}"] == 1


def forged_check_in() -> bytes:
    return Agent("nobody").check_in()


def test_a_tenant_sees_its_own_figures_only(running: Controller) -> None:
    running.machine("pc-1")
    running.machine("pc-9", tenant=OTHER)
    with called_from(running, AFAR) as http:
        found = figures(http.get("/metrics", headers=running.headers(Role.READER, tenant=OTHER)).text)
    assert sum(value for name, value in found.items() if name[0] == "isolator_machines") == 1


def test_callers_cannot_make_figures_grow(running: Controller) -> None:
    with called_from(running, HERE) as http:
        before = len(figures(http.get("/metrics").text))
        for number in range(60):
            http.get(f"/nothing/{number}")
            http.get(f"/portal/nothing/{number}")
            http.get(f"/api/machines/{number}")
            http.get(f"/{number}/oauth2/token")
            http.request(f"X{number}", "/api/machines")
        text = http.get("/metrics").text
    assert len(figures(text)) - before < 120
    assert "/nothing/7" not in text
    assert "X7" not in text


def test_workers_add_up(running: Controller, tmp_path: Path) -> None:
    """Prometheus asks whichever worker answers; it must hear of all of them."""
    import subprocess
    import sys

    count = (
        "import sys; from pathlib import Path; from api.services.metrics import Metrics;"
        "m = Metrics(None); m.request('GET', '/x', 200, 0.1); m.waiting(3)"
    )
    directory = tmp_path / "figures"
    directory.mkdir()
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", f"{count}; print(1, flush=True); input()"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    try:
        assert [each.stdout.readline() for each in both if each.stdout] == [b"1\n", b"1\n"]
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        try:
            found = figures(Metrics(running.services).text().decode())
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
    finally:
        for each in both:
            each.communicate(b"\n")
    assert found["isolator_http_requests_total", "method=GET", "route=/x", "status=200"] == 2
    assert found["isolator_polls_waiting",] == 6


# --- the log -------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the process would log, everything down to DEBUG; the handlers are put back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    configure_logs(Settings(), written)
    root.setLevel(logging.DEBUG)
    yield written
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_finds_the_refusal(running: Controller, log: io.StringIO) -> None:
    token = running.headers(Role.READER)
    answer = running.http.get("/api/machines/abc?$filter=secret%20eq%20'hunter2'", headers=token)
    target = answer.json()["error"]["target"]
    lines = [json.loads(each) for each in log.getvalue().splitlines()]
    found = next(each for each in lines if each["logger"] == "api.requests" and each["target"] == target)
    assert found["client"].startswith("reader ")
    assert (found["method"], found["route"], found["status"]) == (
        "GET",
        "/api/machines/{machine_id}",
        answer.status_code,
    )
    assert found["ms"] > 0
    assert "hunter2" not in log.getvalue()


def test_nobody_forges_a_line(log: io.StringIO) -> None:
    logging.getLogger("x").warning("one\n%s", '{"level": "error"}\r\nmore')
    assert len(log.getvalue().splitlines()) == 1
    text_log = io.StringIO()
    configure_logs(Settings(log_format="text"), text_log)
    logging.getLogger("x").warning("one\n%s", "two\r\nthree", extra={"name2": "a\nb"})
    assert len(text_log.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefghijklmnop.qrs",
        "GET /x?client_secret=abcdefghijklmnop.qrs&y=1",
        "postgresql://user:abcdefghijklmnop.qrs@host/db",
        "token=abcdefghijklmnop.qrs",
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text: str) -> None:
    assert "abcdefghijklmnop" not in without_secrets(text)


def test_a_busy_run_leaves_no_secret(running: Controller, log: io.StringIO, tmp_path: Path) -> None:
    secrets = list(_busy(running))
    assert len(secrets) > 8
    lines = log.getvalue()
    assert len(lines.splitlines()) > 15
    database = running.services.database
    if database.is_sqlite:
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        stored = b"".join(each.read_bytes() for each in tmp_path.glob("controller.db*"))
    else:
        stored = _dump(database)
    shown = _command_lines()
    for secret in secrets:
        assert secret not in lines
        assert secret.encode() not in stored
        assert secret.encode() not in shown


def _busy(running: Controller) -> Iterator[str]:
    """Everything that makes or takes a secret; gives each."""
    new = running.client(Role.OPERATOR)
    yield new.secret
    token = running.token_answer(new).json()["access_token"]
    yield token
    wrong = "wr0ng-secret-of-a-client"
    running.token_answer(new, client_secret=wrong)
    yield wrong
    enrolment_token = enrolment.create_token(running.services, console(), uses=5).text
    yield enrolment_token
    agent = Agent("pc-secret")
    answer = running.http.post("/agent/v1/enrol", json=agent.enrol(enrolment_token, sent_at=_now(running)))
    assert answer.status_code == 201, answer.text
    running.http.post("/agent/v1/enrol", json=agent.enrol("guess-of-an-enrolment-token"))
    yield "guess-of-an-enrolment-token"
    headers = {"Authorization": f"Bearer {token}"}
    running.http.post(f"/api/machines/{agent.machine_id}/isolate", json={"Comment": "x"}, headers=headers)
    running.http.get("/api/machines", headers={"Authorization": "Bearer stolen-token-of-somebody"})
    yield "stolen-token-of-somebody"
    running.http.get("/api/machines?access_token=token-in-a-query", headers=headers)
    yield "token-in-a-query"
    made = users.create(running.services, console(), "tanaka", Role.OPERATOR, None)
    yield made.password
    for password in (made.password, "pass-word-that-is-wrong"):
        page = running.http.get("/portal/sign-in")
        form = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', page.text))
        form |= {"name": "tanaka", "password": password}
        running.http.post("/portal/sign-in", data=form, headers={"Origin": URL})
        yield password
        for cookie in running.http.cookies.jar:
            if cookie.value and len(cookie.value) > 16:
                yield cookie.value
    running.http.get("/portal/machines")


def _now(running: Controller) -> str:
    return running.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _dump(database: Database) -> bytes:
    from api.store.tables import Base

    with database.engine.connect() as connection:
        return "\n".join(
            str(list(row))
            for table in Base.metadata.sorted_tables
            for row in connection.execute(table.select())
        ).encode()


def _command_lines() -> bytes:
    found = b""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += each.read_bytes()
        except OSError:
            continue
    return found
