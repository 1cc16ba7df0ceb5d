"""The whole content of one database into another: backups, and the move from SQLite to PostgreSQL.

A backup is an SQLite file, whatever the database is: it can be opened by anybody's tools and restored into
either. The copy is taken in one read transaction, so it is of one moment.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from api.store import schema
from api.store.database import Database, DatabaseError
from api.store.tables import Base

PORTION = 500
Progress = Callable[[str, int], None]
"""Table name and rows copied so far."""


def copy_all(source: Database, target: Database, progress: Progress = lambda table, rows: None) -> int:
    """Copy every row of every table; gives how many. The target must be empty but for its shape.

    All or nothing: the target's transaction commits at the end. DatabaseError when the shapes differ, the
    target holds anything, or either refuses.
    """
    schema.upgrade(target)
    if schema.current(source) != schema.current(target):
        raise DatabaseError(
            "the two databases are of different versions; start the controller once on the old one"
        )
    try:
        return _copy(source, target, progress)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise DatabaseError(f"the copy failed and nothing was kept: {reason}") from error


def _copy(source: Database, target: Database, progress: Progress) -> int:
    copied = 0
    tables = Base.metadata.sorted_tables
    isolation = {} if source.is_sqlite else {"isolation_level": "REPEATABLE READ"}
    with source.engine.connect().execution_options(**isolation) as reader, target.engine.begin() as writer:
        for table in tables:
            if writer.scalar(select(func.count()).select_from(table)):
                raise DatabaseError(f"the target is not empty: it has rows in {table.name}")
        for table in tables:
            rows = reader.execution_options(yield_per=PORTION).execute(select(table))
            for portion in rows.mappings().partitions(PORTION):
                writer.execute(insert(table), [dict(each) for each in portion])
                copied += len(portion)
                progress(table.name, copied)
        if not target.is_sqlite:
            _continue_counting(writer)
    return copied


def _continue_counting(writer: object) -> None:
    """PostgreSQL counts in sequences, which know nothing of rows that came with their numbers."""
    for table in Base.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None or column.table is not table:
            continue
        statement = text(
            f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608
            f'GREATEST((SELECT COALESCE(MAX("{column.name}"), 0) FROM {table.name}), 1))'
        )
        writer.execute(statement)  # type: ignore[attr-defined]


def back_up(source: Database, file: Path, progress: Progress = lambda table, rows: None) -> int:
    """Write a backup; gives the number of rows. The file is whole or not there, readable by its owner only.

    DatabaseError when the file exists or cannot be written.
    """
    if file.exists():
        raise DatabaseError(f"{file} exists already; choose another name")
    fresh = file.with_name(file.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise DatabaseError(f"{file} cannot be written: {error.strerror}") from None
    target = Database(f"sqlite:///{fresh.absolute()}")
    try:
        rows = copy_all(source, target, progress)
        with target.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.commit()
    except BaseException:
        target.close()
        _remove(fresh)
        raise
    target.close()
    for suffix in ("-wal", "-shm"):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    with fresh.open("rb") as written:
        os.fsync(written.fileno())
    fresh.rename(file)
    return rows


def restore(file: Path, target: Database, progress: Progress = lambda table, rows: None) -> int:
    """Fill an empty database from a backup; gives the number of rows. DatabaseError as in `copy_all`."""
    if not file.is_file():
        raise DatabaseError(f"{file} is no backup: there is no such file")
    with file.open("rb") as opened:
        if opened.read(16) != b"SQLite format 3\0":
            raise DatabaseError(f"{file} is no backup of this controller")
    with tempfile.TemporaryDirectory(prefix="isolator-restore-") as directory:
        # A copy: opening it, and bringing an older one up to date, must not change the backup itself.
        copy = Path(directory) / "backup.db"
        shutil.copyfile(file, copy)
        source = Database(f"sqlite:///{copy}")
        try:
            if _revision(source) is None:
                raise DatabaseError(f"{file} is no backup of this controller")
            schema.upgrade(source)
            return copy_all(source, target, progress)
        finally:
            source.close()


def _revision(source: Database) -> str | None:
    try:
        return schema.current(source)
    except SQLAlchemyError:
        return None  # damaged, or no database at all


def _remove(file: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
