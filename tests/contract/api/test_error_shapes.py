"""Whatever goes wrong, the caller gets one envelope, and the log has the line that its target finds."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.core.roles import Role
from api.deps import Operator, ServicesOf
from api.store.database import Database
from api.store.tables import Group, Tenant
from tests.contract.api.controller import ACME, Controller, controller

probes = APIRouter()


class Body(BaseModel):
    Comment: str = Field(min_length=1)
    count: int = 0
    nested: list[dict[str, int]] = []


@probes.post("/probe/body")
def body(body: Body, actor: Operator) -> dict[str, Any]:
    return {"comment": body.Comment}


@probes.get("/probe/number/{number}")
def number(number: int, actor: Operator) -> dict[str, Any]:
    return {"number": number}


@probes.post("/probe/stream")
async def stream(request: Request) -> dict[str, Any]:
    return {"bytes": len(await request.body())}


@probes.get("/probe/defect")
def defect() -> None:
    raise RuntimeError("the secret is hunter2")


@probes.get("/probe/slow-defect")
async def slow_defect() -> None:
    raise KeyError("hunter2")


@probes.get("/probe/wrong-answer", response_model=Body)
def wrong_answer() -> Any:
    return {"password": "hunter2"}


@probes.post("/probe/group/{name}")
def make_group(name: str, services: ServicesOf) -> dict[str, Any]:
    with services.database.write() as session:
        session.add(Group(tenant_id=ACME, name=name))
    return {}


@probes.get("/probe/tenant/{name}")
def tenant(name: str, services: ServicesOf) -> dict[str, Any]:
    with services.database.read() as session:
        session.query(Tenant).filter_by(name=name).first()
    return {}


@probes.get("/probe/huge")
def huge(services: ServicesOf) -> dict[str, Any]:
    with services.database.read() as session:
        session.query(Group).filter_by(id=2**70).first()
    return {}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[Controller]:
    with controller(database, tmp_path, {"max_body_bytes": 20_000}) as made:
        made.app.include_router(probes)
        yield made


def check(answer: Any, status: int, code: str, log: str) -> dict[str, Any]:
    """The envelope, its target in the log, and nothing of the framework's own shape."""
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert {"code", "message", "target"} <= set(error)
    assert str(uuid.UUID(error["target"])) == error["target"]
    assert error["message"]
    assert error["target"] in log
    for word in ("detail", "Traceback", "hunter2", "sqlalchemy", "psycopg", "sqlite"):
        assert word not in answer.text
    return error


BODIES: list[tuple[bytes, str, str]] = [
    (b"", "application/json", "InvalidRequestBody"),
    (b"{", "application/json", "InvalidRequestBody"),
    (b"null", "application/json", "InvalidRequestBody"),
    (b"[]", "application/json", "InvalidRequestBody"),
    (b'"text"', "application/json", "InvalidRequestBody"),
    (b"5", "application/json", "InvalidRequestBody"),
    (b'{"Comment": "\xff\xfe"}', "application/json", "InvalidRequestBody"),
    (b"\xff\xfe{\x00}\x00", "application/json", "MissingRequiredParameter"),  # an empty object in UTF-16
    (b"[" * 19_000, "application/json", "InvalidRequestBody"),
    (b'{"Comment": "x"}', "text/plain", "InvalidRequestBody"),
    (b'{"Comment": "x"}', "application/x-www-form-urlencoded", "InvalidRequestBody"),
    (b'{"Comment": "x"}', "nonsense", "InvalidRequestBody"),
    (b"{}", "application/json", "MissingRequiredParameter"),
    (b'{"comment": "x"}', "application/json", "MissingRequiredParameter"),
    (b'{"Comment": ""}', "application/json", "InvalidInput"),
    (b'{"Comment": 5}', "application/json", "InvalidInput"),
    (b'{"Comment": null}', "application/json", "InvalidInput"),
    (b'{"Comment": "\\ud800"}', "application/json", "InvalidInput"),
    (b'{"Comment": "x", "count": "many"}', "application/json", "InvalidInput"),
    (b'{"Comment": "x", "count": 1e400}', "application/json", "InvalidInput"),
    (b'{"Comment": "x", "nested": [{"a": "b"}]}', "application/json", "InvalidInput"),
]


def test_bad_bodies(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    headers = world.headers(Role.OPERATOR)
    for content, kind, code in BODIES:
        answer = world.http.post("/probe/body", content=content, headers={**headers, "Content-Type": kind})
        assert answer.status_code == 400, (content[:40], answer.text)
        check(answer, 400, code, caplog.text)


def test_the_bad_value_is_not_repeated(world: Controller) -> None:
    answer = world.http.post(
        "/probe/body", json={"Comment": {"p": "hunter2"}}, headers=world.headers(Role.OPERATOR)
    )
    assert "hunter2" not in answer.text
    assert answer.json()["error"]["message"].startswith("Comment: ")


def test_without_a_token_the_body_is_not_judged(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    check(world.http.post("/probe/body", json={}), 401, "Unauthorized", caplog.text)
    check(
        world.http.get("/probe/number/x", headers=world.headers(Role.READER)), 403, "Forbidden", caplog.text
    )


def test_paths_and_methods(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for path in (
        "/api/nothing",
        "/api/machines/x/y/z",
        "/nothing/",
        "/%00",
        "/api/%ff%fe",
        "/..%2f..%2fetc/passwd",
    ):
        check(world.http.get(path), 404, "ResourceNotFound", caplog.text)
    answer = world.http.delete(f"/{ACME}/oauth2/v2.0/token")
    check(answer, 405, "MethodNotAllowed", caplog.text)
    assert answer.headers["allow"] == "GET, POST"
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        answer = world.http.request(method, "/api/machines/x/isolate")
        check(answer, 405, "MethodNotAllowed", caplog.text)
        assert answer.headers["allow"] == "POST"
    assert world.http.head("/api/machines/x/isolate").status_code == 405


def test_a_number_that_is_none(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    check(
        world.http.get("/probe/number/ten", headers=world.headers(Role.OPERATOR)),
        400,
        "InvalidInput",
        caplog.text,
    )


def test_too_much_body(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * 1000

    headers = {"Content-Type": "application/json", **world.headers(Role.OPERATOR)}
    for path in ("/probe/body", "/probe/stream"):
        check(
            world.http.post(path, content=b"x" * 20_001, headers=headers), 413, "RequestTooLarge", caplog.text
        )
        answer = world.http.post(path, content=chunks(), headers=headers)
        check(answer, 413, "RequestTooLarge", caplog.text)
        assert answer.headers["connection"] == "close"
    lying = {**headers, "Content-Length": "5", "Transfer-Encoding": "chunked"}
    check(
        world.http.post("/probe/stream", content=b"x" * 30_000, headers=lying),
        413,
        "RequestTooLarge",
        caplog.text,
    )
    assert world.http.post("/probe/stream", content=b"x" * 20_000).json() == {"bytes": 20_000}


def test_defects(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for path in ("/probe/defect", "/probe/slow-defect", "/probe/wrong-answer"):
        check(world.http.get(path), 500, "InternalServerError", caplog.text)
    assert "RuntimeError: the secret is hunter2" in caplog.text  # the traceback is ours to read


def test_values_the_database_cannot_hold(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for path in ("/probe/tenant/a%00b", "/probe/huge"):
        answer = world.http.get(path)
        if answer.status_code != 200:  # SQLite holds NUL, PostgreSQL compares 2**70
            check(answer, 400, "InvalidInput", caplog.text)


def test_the_same_twice(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert world.http.post("/probe/group/a").status_code == 200
    check(world.http.post("/probe/group/a"), 409, "Conflict", caplog.text)


def test_the_log_has_no_query_and_no_header(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="api")
    world.http.get(
        "/api/nothing?token=hunter2", headers={"Authorization": "Bearer hunter3", "Cookie": "hunter4"}
    )
    assert "/api/nothing" in caplog.text
    assert not [line for line in caplog.messages if "hunter" in line and "HTTP Request" not in line]


def test_a_path_cannot_forge_a_log_line(world: Controller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="api")
    world.http.get("/api/x%0aGET%20/api/machines%20refused")
    ours = [line for line in caplog.messages if "refused" in line]
    assert len(ours) == 1
    assert "\n" not in ours[0]


def test_full_disk(tmp_path: Path, sqlite_shape: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite says "database or disk is full" at max_page_count just as it does at ENOSPC."""
    caplog.set_level("INFO")
    file = tmp_path / "full.db"
    file.write_bytes(sqlite_shape.read_bytes())
    database = Database(f"sqlite:///{file}")
    try:
        with controller(database, tmp_path) as world:
            world.app.include_router(probes)
            headers = world.headers(Role.READER)

            @sqlalchemy.event.listens_for(database.engine, "begin")
            def no_more_pages(connection: sqlalchemy.Connection) -> None:
                connection.exec_driver_sql("PRAGMA max_page_count=1")

            answer = world.http.post("/probe/group/" + "x" * 50_000)
            check(answer, 503, "ServiceUnavailable", caplog.text)
            assert answer.headers["retry-after"] == "5"
            world.clock.advance(120)  # the client's last use is due to be written, and cannot be
            assert world.http.get("/probe/number/1", headers=headers).status_code == 403
            sqlalchemy.event.remove(database.engine, "begin", no_more_pages)
            with database.read() as session:
                assert session.query(Group).count() == 0
    finally:
        database.close()


def test_locked_database(tmp_path: Path, sqlite_shape: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "locked.db"
    file.write_bytes(sqlite_shape.read_bytes())
    database, backup = Database(f"sqlite:///{file}"), Database(f"sqlite:///{file}")
    try:
        with controller(database, tmp_path) as world, backup.write():
            world.app.include_router(probes)
            sqlalchemy.event.listen(
                database.engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=50"),
                insert=True,
            )  # fmt: skip
            check(world.http.post("/probe/group/a"), 503, "ServiceUnavailable", caplog.text)
    finally:
        database.close()
        backup.close()


def test_broken_database(tmp_path: Path, sqlite_shape: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "broken.db"
    file.write_bytes(sqlite_shape.read_bytes())
    database = Database(f"sqlite:///{file}")
    try:
        with controller(database, tmp_path) as world:
            world.app.include_router(probes)
            headers = world.headers(Role.READER)
            database.close()
            for each in tmp_path.glob("broken.db*"):
                each.write_bytes(b"no database " * 10_000)
            check(world.http.post("/probe/group/a"), 503, "ServiceUnavailable", caplog.text)
            check(world.http.get("/probe/number/1", headers=headers), 503, "ServiceUnavailable", caplog.text)
    finally:
        database.close()


def test_json_answers_stay_json(world: Controller) -> None:
    """The OpenAPI document and the errors are the only things without a token that say anything."""
    assert json.loads(world.http.get("/openapi.json").text)["openapi"]


def test_headers_of_every_answer(world: Controller) -> None:
    for path in (
        "/api/machines",
        "/nothing",
        "/openapi.json",
        "/docs",
        f"/{ACME}/v2.0/.well-known/openid-configuration",
    ):
        headers = world.http.get(path).headers
        assert headers["cache-control"] == "no-store", path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "access-control-allow-origin" not in headers
    assert "machineactions" in world.http.get("/docs").text
