"""What an administrator does at the console: every command, and everything that can be in its way."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.main import main, parser
from api.services import audit, isolation
from api.services.isolation import OrderRequest
from api.services.keys import KeysError, load_keys
from api.settings import Settings
from api.store import schema
from api.store.database import Database
from api.store.tables import Action, AuditRow, Base, Tenant
from api.wiring import build_services, console_actor
from isolator.core.signed import decode_envelope, key_id_of, open_envelope
from isolator.model.signed import Kind
from tests.contract.api import postgresql
from tests.contract.api.process import API, command
from tests.fleet.agent import Agent

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """One command on the test's database: exit code, standard output, standard error."""

    def ran(*words: str) -> tuple[int, str, str]:
        given = [*words, "--database", database_url, "--state-dir", str(tmp_path / "state")]
        try:
            code = main(given)
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return ran


def ok(result: tuple[int, str, str]) -> Any:
    """The JSON that a command which worked has printed."""
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def one_sentence(result: tuple[int, str, str], code: int, words: str) -> None:
    """Nothing printed, one line said, this exit code."""
    assert (result[0], result[1]) == (code, ""), result
    assert result[2].count("\n") == 1, result[2]
    assert result[2].startswith("isolator-api: ")
    assert words in result[2], result[2]


def enrolled(run: Run, database_url: str, tmp_path: Path, name: str = "pc-1") -> Agent:
    """A machine, through the service as an agent would."""
    from api.services import enrolment

    token = ok(run("enrolment", "create", "--json"))["enrolment_token"]
    services = build_services(settings(database_url, tmp_path))
    agent = Agent(name)
    enrolment.enrol(services, agent.enrol(token), "192.0.2.1")
    services.database.close()
    return agent


def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", database=database_url)


# --- each command --------------------------------------------------------------------------------------


def test_clients(run: Run) -> None:
    made = ok(run("client", "create", "--name", "soar", "--role", "operator", "--json"))
    assert len(made["client_secret"]) >= 40
    listed = ok(run("client", "list", "--json"))["clients"]
    assert [(each["name"], each["role"], each["revoked"]) for each in listed] == [("soar", "operator", False)]
    assert made["client_secret"] not in json.dumps(listed)
    assert ok(run("client", "revoke", made["client_id"], "--json"))["revoked"]
    assert "revoked" in run("client", "list")[1]
    code, out, err = run("client", "create", "--name", "two", "--role", "reader")
    assert (code, out.count("\n")) == (0, 3)
    assert "not shown again" in err
    one_sentence(run("client", "create", "--name", "two", "--role", "reader"), 2, "two")
    one_sentence(run("client", "revoke", "no-such-id"), 2, "not found")


def test_users(run: Run) -> None:
    made = ok(run("user", "create", "--name", "tanaka", "--role", "administrator", "--json"))
    assert len(made["password"]) >= 16
    one_sentence(run("user", "create", "--name", "tanaka", "--role", "reader"), 2, "exists already")
    one_sentence(run("user", "create", "--name", "", "--role", "reader"), 2, "name")
    one_sentence(run("user", "create", "--name", "x", "--role", "reader", "--group", "none"), 2, "no group")


def test_enrolment_tokens(run: Run) -> None:
    made = ok(run("enrolment", "create", "--uses", "3", "--for", "2h", "--json"))
    (row,) = ok(run("enrolment", "list", "--json"))["tokens"]
    assert (row["uses_left"], row["revoked"]) == (3, False)
    assert made["enrolment_token"].startswith(row["hint"])
    assert made["enrolment_token"] not in json.dumps(row)
    assert ok(run("enrolment", "revoke", row["id"], "--json"))["revoked"]
    one_sentence(run("enrolment", "revoke", "no-such-id"), 2, "not found")
    for uses in ("0", "-1", "99999999999"):
        assert run("enrolment", "create", f"--uses={uses}")[0] == 2


def test_forced_release(run: Run, database_url: str, tmp_path: Path) -> None:
    agent = enrolled(run, database_url, tmp_path)
    file = tmp_path / "pc-1.release"
    made = ok(run("forced-release", "pc-1", "--comment", "INC", "-o", str(file), "--json"))
    assert made["machine_id"] == agent.machine_id
    assert file.stat().st_mode & 0o077 == 0
    keys = load_keys(tmp_path / "state" / "keys")
    document = open_envelope(
        decode_envelope(json.loads(file.read_text())), Kind.FORCED_RELEASE, keys.order_keys
    )
    assert document["machine_id"] == agent.machine_id
    before = file.read_bytes()
    assert run("forced-release", "pc-1", "-o", str(file))[0] == 2
    assert file.read_bytes() == before
    one_sentence(run("forced-release", "nobody", "-o", str(tmp_path / "x")), 2, "not found")
    assert not (tmp_path / "x").exists()
    one_sentence(run("forced-release", "pc-1", "-o", "/proc/no/such"), 1, "/proc/no/such")
    assert run("forced-release", "pc-1", "--for", "99d", "-o", str(tmp_path / "x"))[0] == 2
    assert not (tmp_path / "x").exists()


def test_audit(run: Run, database_url: str, tmp_path: Path) -> None:
    run("client", "create", "--name", "soar", "--role", "operator")
    verdict = ok(run("audit", "verify", "--json"))["tenants"]["default"]
    assert (verdict["whole"], verdict["rows"]) == (True, 1)
    rows = [json.loads(each) for each in run("audit", "export")[1].splitlines()]
    assert [each["content"]["action"] for each in rows] == ["client.create"]
    database = Database(database_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE audit_heads SET seq = 2")
    database.close()
    code, out, _ = run("audit", "verify")
    assert code == 1
    assert "BROKEN at row" in out


@pytest.mark.parametrize("words", [
    (), ("nonsense",), ("client",), ("client", "create"), ("client", "create", "--name", "x", "--role", "king"),
    ("serve", "--port", "x"), ("serve", "--port", "99999"), ("enrolment", "create", "--for", "1y"),
    ("enrolment", "create", "--for", "9999999999d"), ("enrolment", "create", "--for", "-1h"), ("backup",),
    ("backup", ""), ("client", "list", "--tenant", "other"), ("client", "list", "--config", "/no/such"),
])  # fmt: skip
def test_usage(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*words, "--state-dir", str(tmp_path)] if len(words) > 1 else list(words)
    try:
        code = main(given)
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.count("\n") == 1, said.err


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    assert "forced-release" in capsys.readouterr().out


# --- what is in the way --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["postgresql://nobody@127.0.0.1:1/none", "sqlite:////proc/no/such/x.db", "sqlite://", "mysql://x/y", "?"],
)
def test_a_database_that_cannot_be_used(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["client", "list", "--database", url, "--state-dir", str(tmp_path)])
    said = capsys.readouterr()
    one_sentence((code, said.out, said.err), 2, "")


def test_a_password_does_not_belong_on_a_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["client", "list"], ["move", "--to", "postgresql://u:hunter2hunter2@h/d"]):
        given = [*words, "--state-dir", str(tmp_path)]
        if words[0] == "client":
            given += ["--database", "postgresql://u:hunter2hunter2@h/d"]
        code = main(given)
        said = capsys.readouterr()
        one_sentence((code, said.out, said.err), 2, "password")
        assert "hunter2" not in said.err


@pytest.mark.parametrize("name", ["order.key", "token.key", "root.pub", "keys.json", "retired.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00rubbish", b"{}", b'{"keys": [{"public": 1}]}'])
def test_damaged_keys(name: str, content: bytes, tmp_path: Path) -> None:
    command_in(tmp_path, "client", "list")
    (tmp_path / "keys" / name).write_bytes(content)
    with pytest.raises(KeysError) as error:
        load_keys(tmp_path / "keys")
    assert "\n" not in str(error.value)
    assert main(["client", "list", "--state-dir", str(tmp_path)]) == 2


def command_in(directory: Path, *words: str) -> None:
    assert main([*words, "--state-dir", str(directory)]) == 0


@pytest.mark.parametrize("file", ["/proc/no/such/backup.db", "/dev/null/backup.db"])
def test_a_backup_that_cannot_be_written(run: Run, file: str) -> None:
    one_sentence(run("backup", file), 2, "cannot be written")


def test_a_state_directory_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    code = main(["client", "list", "--state-dir", str(tmp_path / "file" / "state")])
    said = capsys.readouterr()
    one_sentence((code, said.out, said.err), 2, "")


def test_a_full_disk_leaves_no_half_backup(run: Run, tmp_path: Path) -> None:
    """Every write beyond 64 KiB fails, as on a disk that fills up meanwhile."""
    command_in(tmp_path / "s", "client", "list")
    with build_database(tmp_path / "s") as services:
        actor = console_actor(services, None)
        with services.database.write() as session:
            for number in range(200):
                audit.record(session, services, actor, "test.fill", str(number), {"x": "y" * 1000})
    done = subprocess.run(
        [*API, "backup", str(tmp_path / "b.db"), "--state-dir", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)),
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert sorted(each.name for each in tmp_path.glob("b.db*")) == []


class build_database:
    def __init__(self, state: Path) -> None:
        self.services = build_services(Settings(state_dir=state))

    def __enter__(self) -> Any:
        return self.services

    def __exit__(self, *_: object) -> None:
        self.services.database.close()


# --- backup, restore, move -----------------------------------------------------------------------------


def content(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with database.engine.connect() as connection:
        return {
            table.name: sorted((dict(each) for each in connection.execute(select(table)).mappings()), key=str)
            for table in Base.metadata.sorted_tables
        }


def content_of(url: str) -> dict[str, list[dict[str, Any]]]:
    database = Database(url)
    try:
        return content(database)
    finally:
        database.close()


def test_a_backup_is_whole_and_restores_into_an_empty_database_only(
    run: Run, database_url: str, tmp_path: Path
) -> None:
    agent = enrolled(run, database_url, tmp_path)
    services = build_services(settings(database_url, tmp_path))
    isolation.place(services, console_actor(services, None), OrderRequest(agent.machine_id, "日本語"))
    services.database.close()
    file = tmp_path / "backup.db"
    assert ok(run("backup", str(file), "--json"))["rows"] > 5
    assert file.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob("backup.db?*"))
    one_sentence(run("backup", str(file)), 2, "exists already")
    one_sentence(run("restore", str(file)), 2, "not empty")
    before = file.read_bytes()
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    assert main(["restore", str(file), "--database", fresh, "--state-dir", str(tmp_path / "state")]) == 0
    assert content_of(fresh) == content_of(database_url)
    assert file.read_bytes() == before
    assert main(["audit", "verify", "--database", fresh, "--state-dir", str(tmp_path / "state")]) == 0


@pytest.mark.parametrize(
    "spoil", [b"", b"SQLite format 3\x00", b"SQLite format 3\x00" + b"x" * 5000, b"no database at all"]
)
def test_what_is_no_backup(run: Run, tmp_path: Path, spoil: bytes) -> None:
    file = tmp_path / "b.db"
    file.write_bytes(spoil)
    code, out, err = run("restore", str(file))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    one_sentence(run("restore", str(tmp_path / "none.db")), 2, "no such file")


def test_move_there_and_back_changes_nothing(tmp_path: Path, postgresql_server: postgresql.Server) -> None:
    postgresql_server.create("moved")
    first = f"sqlite:///{tmp_path / 'first.db'}"
    state = ["--state-dir", str(tmp_path)]
    try:
        for number in range(3):
            assert (
                main(
                    [
                        "client",
                        "create",
                        "--name",
                        f"n{number}",
                        "--role",
                        "reader",
                        "--database",
                        first,
                        *state,
                    ]
                )
                == 0
            )
        there, back = postgresql_server.url("moved"), f"sqlite:///{tmp_path / 'back.db'}"
        assert main(["move", "--to", there, "--database", first, *state]) == 0
        assert main(["move", "--to", back, "--database", there, *state]) == 0
        assert content_of(back) == content_of(there) == content_of(first)
        assert main(["move", "--to", there, "--database", first, *state]) == 2  # not empty any more
        assert (
            main(["client", "create", "--name", "after", "--role", "reader", "--database", there, *state])
            == 0
        )
        assert main(["audit", "verify", "--database", there, *state]) == 0
    finally:
        postgresql_server.drop("moved")


def test_a_backup_while_orders_run_is_of_one_moment(run: Run, database_url: str, tmp_path: Path) -> None:
    agents = [enrolled(run, database_url, tmp_path, f"pc-{number}") for number in range(3)]
    services = build_services(settings(database_url, tmp_path))
    actor = console_actor(services, None)
    stop, placed = threading.Event(), [0]

    def order() -> None:
        while not stop.is_set():
            for each in agents:
                for isolate in (True, False):
                    request = OrderRequest(
                        each.machine_id, "x", isolate=isolate, overrides=frozenset({"cap"})
                    )
                    isolation.place(services, actor, request)
                    placed[0] += 1

    thread = threading.Thread(target=order)
    thread.start()
    try:
        files = [tmp_path / f"b{number}.db" for number in range(4)]
        for each in files:
            assert ok(run("backup", str(each), "--json"))["rows"] > 0
    finally:
        stop.set()
        thread.join()
        services.database.close()
    assert placed[0] > 10
    for each in files:
        copied = Database(f"sqlite:///{each}")
        with copied.read() as session:
            tenant = session.scalars(select(Tenant.id)).one()
            assert audit.verify(session, services, tenant).whole
            words = [json.loads(row)["action"] for row in session.scalars(select(AuditRow.content))]
            orders = sum(word in ("machine.isolate", "machine.release") for word in words)
            assert orders == len(session.scalars(select(Action.id)).all())
        copied.close()


# --- the shape -----------------------------------------------------------------------------------------


def test_migrations_make_what_the_tables_say(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_a_newer_database_is_refused_and_left_alone(run: Run, database_url: str) -> None:
    database = Database(database_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    one_sentence(run("client", "list"), 2, "newer version (9999)")
    assert schema.current(database) == "9999"
    database.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET content = 'x'", "DELETE FROM audit", "UPDATE audit SET seq = 7"]
)
def test_the_audit_log_is_only_ever_added_to(run: Run, database_url: str, statement: str) -> None:
    from sqlalchemy.exc import DBAPIError

    run("client", "create", "--name", "soar", "--role", "operator")
    database = Database(database_url)
    try:
        with pytest.raises(DBAPIError), database.engine.begin() as connection:
            connection.exec_driver_sql(statement)
        with database.read() as session:
            assert len(session.scalars(select(AuditRow.seq)).all()) == 1
    finally:
        database.close()


# --- keys ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("retire", [True, False])
def test_a_rotated_key_leaves_the_audit_log_whole(run: Run, tmp_path: Path, times: int, retire: bool) -> None:
    run("client", "create", "--name", "soar", "--role", "operator")
    directory = tmp_path / "state" / "keys"
    first = load_keys(directory)
    for _ in range(times):
        ok(run("keys", "rotate", "--json", *(["--retire"] if retire else [])))
    ring = load_keys(directory)
    assert ring.order_key_id != first.order_key_id
    assert (first.order_key_id in ring.order_keys) is (not retire and times == 1)
    assert run("audit", "verify")[0] == 0
    rows = [json.loads(each)["content"]["action"] for each in run("audit", "export")[1].splitlines()]
    assert rows == ["client.create", *["keys.rotate"] * times]


def test_a_head_signed_by_a_retired_key_counts_if_it_was_written_before(
    run: Run, database_url: str, tmp_path: Path
) -> None:
    run("client", "create", "--name", "soar", "--role", "operator")
    directory = tmp_path / "state" / "keys"
    old = build_services(settings(database_url, tmp_path))  # a controller that still runs with the old key
    from datetime import UTC, datetime

    from api.services.keys import rotate_order_key

    rotate_order_key(directory, directory / "root.key", datetime.now(UTC), retire=True)
    assert run("audit", "verify")[0] == 0
    with old.database.write() as session:
        audit.record(session, old, console_actor(old, None), "test.late", "x")
    old.database.close()
    code, out, _ = run("audit", "verify")
    assert (code, "signature" in out) == (1, True)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_rotation_that_is_cut_short_leaves_keys_that_work(
    run: Run, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.services import keys

    run("client", "list")
    directory = tmp_path / "state" / "keys"
    write, left = keys._write, [after]

    def fails(*given: Any, **options: Any) -> None:
        if left[0] == 0:
            raise OSError(28, "No space left on device", str(directory))
        left[0] -= 1
        write(*given, **options)

    monkeypatch.setattr(keys, "_write", fails)
    one_sentence(run("keys", "rotate", "--retire"), 1, "No space left")
    monkeypatch.undo()
    assert load_keys(directory).order_key_id
    assert ok(run("keys", "rotate", "--retire", "--json"))["key_id"] == load_keys(directory).order_key_id


def test_the_root_may_lie_elsewhere(run: Run, tmp_path: Path) -> None:
    run("client", "list")
    directory = tmp_path / "state" / "keys"
    offline = tmp_path / "usb.key"
    (directory / "root.key").rename(offline)
    assert run("client", "list")[0] == 0
    one_sentence(run("keys", "rotate"), 2, "cannot be read")
    before = load_keys(directory).order_key_id
    ok(run("keys", "rotate", "--root", str(offline), "--json"))
    assert load_keys(directory).order_key_id != before
    one_sentence(run("keys", "rotate", "--root", str(directory / "order.key")), 2, "is not the root key")
    one_sentence(run("keys", "rotate", "--root", str(directory / "keys.json")), 2, "holds no private key")


def test_the_installed_command_starts(tmp_path: Path) -> None:
    done = command("client", "list", "--state-dir", str(tmp_path), "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"clients": []})
    assert key_id_of(load_keys(tmp_path / "keys").root_public)
    assert os.stat(tmp_path / "keys").st_mode & 0o077 == 0
