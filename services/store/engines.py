"""Engines of the two databases, set up so that what was committed survives kill -9 and power loss.

SQLite: write-ahead log, each commit synced to the disk, foreign keys enforced, deleted content overwritten. A
transaction that may write takes the write lock at its beginning: one that took it later could fail in the middle.
PostgreSQL: commits are synchronous whatever the server's default, times are in UTC, nobody waits for a lock for ever.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event

from asr.errors import MissingDependencyError
from services.store.errors import StoreBusyError, StoreError
from services.store.keys import sync_folder

log = logging.getLogger("dengar.store")
READS = "dengar_reads"
"""The execution option of connections that only read."""

_SQLITE_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED
_SQLITE_FULL = 13
_POSTGRES_BUSY = ("40001", "40P01", "55P03")  # serialisation failure, deadlock, lock timeout
_POSTGRES_FULL = ("53100",)


def make_engine(url: sqlalchemy.URL, busy_s: float) -> Engine:
    """An engine for a parsed URL.

    Raises:
        StoreError: the file or its folder cannot be made.
        MissingDependencyError: PostgreSQL's driver is not installed.
    """
    if url.drivername.startswith("sqlite"):
        _make_file(Path(url.database or ""))
        engine = sqlalchemy.create_engine(url, connect_args={"timeout": busy_s, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        engine = sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "a store in PostgreSQL needs the Python package psycopg; run: pip install 'dengar[postgres]'"
        ) from error

    def prepare(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = on")
            cursor.execute("SET timezone = 'UTC'")
            cursor.execute(f"SET lock_timeout = {int(busy_s * 1000)}")
        connection.commit()

    event.listen(engine, "connect", prepare)
    return engine


def _make_file(path: Path) -> None:
    """An empty database that only we may read; SQLite gives its log the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
            sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"the store {path} cannot be made: {error.strerror}") from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says, not where the driver guesses
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sqlalchemy.Connection) -> None:
    reads = connection.get_execution_options().get(READS)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def overwrite_log(engine: Engine) -> None:
    """Empties SQLite's write-ahead log, which still holds what was deleted; another time if somebody is at work."""
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        log.info("the write-ahead log stays for now: %s", error)
    finally:
        connection.close()


def store_error(error: sqlalchemy.exc.SQLAlchemyError, where: str) -> StoreError:
    """What a database's error is called here, in one sentence."""
    original = getattr(error, "orig", None) or error
    reason = (str(original).strip().splitlines() or [type(original).__name__])[0]
    if is_busy(error):
        return StoreBusyError(f"the store {where} is busy: {reason}")
    if is_full(error):
        return StoreError(f"the store {where} cannot write, its disk is full; free some space ({reason})")
    return StoreError(f"the store {where} fails: {reason}")


def is_busy(error: BaseException) -> bool:
    """Whether a transaction met another one, so that trying again helps."""
    code, state = _codes(error)
    return code in _SQLITE_BUSY or state in _POSTGRES_BUSY


def is_full(error: BaseException) -> bool:
    """Whether the disk (or what the store may take of it) is full."""
    code, state = _codes(error)
    return code == _SQLITE_FULL or state in _POSTGRES_FULL


def _codes(error: BaseException) -> tuple[int, str]:
    """SQLite's primary error code and PostgreSQL's state, 0 and empty where there is none."""
    original = getattr(error, "orig", None)
    return (getattr(original, "sqlite_errorcode", None) or 0) & 0xFF, getattr(original, "sqlstate", None) or ""
