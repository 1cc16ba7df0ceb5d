"""A real PostgreSQL of the tests' own: in a temporary directory, on a Unix socket, gone afterwards.

It sorts text by ICU's English rules and lives in an odd time zone on purpose: no query may depend on either.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root; as root the tests run it under Debian's account for it."""
START_S = 60.0
_SETTINGS = (
    "listen_addresses=",  # the Unix socket only
    "fsync=off",  # the directory is thrown away
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "timezone=Asia/Kathmandu",
)


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no PostgreSQL to test with."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; everybody on its socket is its superuser."""

    directory: Path

    def url(self, name: str) -> str:
        """The address of one of its databases, as `Database` takes it."""
        return f"postgresql://{ACCOUNT}@/{name}?host={self.directory}"

    def create(self, name: str, template: str = "template0") -> None:
        """A new database, as a copy of `template`."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop(self, name: str) -> None:
        """End whoever is connected, and delete it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


def probe() -> Path | Missing:
    """Where PostgreSQL's programs are (the newest, 15 or later), or what is missing."""
    found = sorted(
        (int(each.parent.parent.name), each.parent)
        for each in Path("/usr/lib/postgresql").glob("*/bin/postgres")
        if each.parent.parent.name.isdigit() and (each.parent / "initdb").exists()
    )
    if not found or found[-1][0] < 15:
        return Missing("postgresql_missing", "no PostgreSQL 15 or later under /usr/lib/postgresql")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(ACCOUNT)
        except KeyError:
            return Missing("postgresql_no_account", f"root needs the account {ACCOUNT} to run it")
        if shutil.which("setpriv") is None:
            return Missing("setpriv_missing", "root needs setpriv (util-linux) to run it as another account")
    return found[-1][1]


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server for the length of the block. It also ends when this process dies."""
    # Not pytest's temporary directory: that one is closed to other accounts, and too long for a socket.
    directory = Path(tempfile.mkdtemp(prefix="isolator-pg-", dir="/tmp"))
    data = directory / "data"
    if os.geteuid() == 0:
        shutil.chown(directory, ACCOUNT, ACCOUNT)
    try:
        initialise(programs, data)
        log = directory / "log"
        with log.open("wb") as written:
            process = subprocess.Popen(
                [*as_account(), f"{programs}/postgres", "-D", str(data), "-k", str(directory), *_options()],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                cwd="/",
            )
        try:
            _wait(process, Server(directory), log)
            yield Server(directory)
        finally:
            _end(process)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def initialise(programs: Path, data: Path) -> None:
    """Make a new data directory. CalledProcessError when it cannot be."""
    command = [
        *as_account(),
        f"{programs}/initdb",
        "-D",
        str(data),
        "-U",
        ACCOUNT,
        "--auth=trust",
        "--no-sync",
    ]
    locale = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
    subprocess.run([*command, *locale], check=True, capture_output=True, cwd="/")


def as_account() -> list[str]:
    """What a command begins with so that it runs under an account that PostgreSQL accepts."""
    if os.geteuid() != 0:
        return []
    setpriv = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups"]
    return [*setpriv, "--pdeathsig=INT"]


def _options() -> list[str]:
    return [part for each in _SETTINGS for part in ("-c", each)]


def _wait(process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}") from None
            time.sleep(0.05)
        else:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # fast shutdown: whoever is connected is put out
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # immediate; its children end too, which SIGKILL would not do
        process.wait(timeout=20)
