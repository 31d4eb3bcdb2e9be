"""Databases for tests: SQLite files, and a PostgreSQL of Debian's package, started for the tests alone.

The server runs without TCP, on a socket in a folder of its own, as another user where the tests run as root (PostgreSQL
refuses root), and dies with the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asr import debian
from services.store import migrate
from services.store.config import parse_url
from services.store.engines import make_engine
from services.store.models import Base

PROGRAM = "usr/lib/postgresql/*/bin/postgres"
SHARED = "shared"


class PostgresServer:
    """A PostgreSQL server with an empty cluster.

    Args:
        folder: for its data and socket; another user must be able to come there.
    """

    def __init__(self, folder: Path) -> None:
        found = debian.find(PROGRAM)
        if found is None:
            pytest.skip("there is no PostgreSQL here; tools/setup.sh gets it from Debian")
        self.folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        self._use(found, debian.ROOT)
        if not self._runs() and found.is_relative_to(debian.ROOT):
            # The other user does not come to where they lie, such as root's home.
            ignored = shutil.ignore_patterns("libLLVM*", "bitcode", "doc", "man", "locale")
            shutil.copytree(debian.ROOT / "usr", folder / "programs" / "usr", ignore=ignored, symlinks=True)
            self._use(folder / "programs" / found.relative_to(debian.ROOT), folder / "programs")
        options = ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        made = self._run("initdb", "-D", str(self._data), *options)
        if made.returncode:
            pytest.skip(f"PostgreSQL does not run here: {made.stderr.decode(errors='replace')[-300:]}")

    def _use(self, program: Path, root: Path) -> None:
        self._programs = program.parent
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        if program.is_relative_to(root):
            libraries = {str(path.parent) for top in ("lib", "usr/lib") for path in (root / top).rglob("*.so*")}
            self._environment["LD_LIBRARY_PATH"] = ":".join(sorted(libraries))

    def _runs(self) -> bool:
        try:
            return self._run("postgres", "--version").returncode == 0
        except OSError:
            return False

    def start(self) -> None:
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off", "shared_buffers=16MB")
        # Whatever becomes of us, it does not outlive us.
        guard = [shutil.which("setpriv") or "", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
        command = [*guard, str(self._programs / "postgres"), "-D", str(self._data)]
        for setting in (*settings, "max_connections=60", "max_wal_size=64MB", "jit=off"):
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment, cwd="/", **self._as
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends it at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(f"host={self.folder} user=postgres dbname={database}", autocommit=True) as connection:
            connection.execute(statement.encode())

    def new_database(self) -> str:
        """The URL of a new database."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def emptied(self, name: str) -> str:
        """The URL of a store's database after what it held is gone: quicker than a new one."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
        self.execute(f"TRUNCATE {tables} RESTART IDENTITY", name)
        self.execute(f"UPDATE alembic_version SET version_num = '{migrate.newest()}'", name)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self._programs / program), *arguments]
        return subprocess.run(
            command, env=self._environment, cwd="/", capture_output=True, timeout=120, check=False, **self._as
        )


def _migrate(url: str) -> None:
    engine = make_engine(parse_url(url), 10.0)
    migrate.upgrade(engine)
    engine.dispose()


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server; skips the test if there can be none."""
    folder = Path(tempfile.mkdtemp(prefix="dengar-pg-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        server.execute(f"CREATE DATABASE {SHARED}")
        _migrate(server.url(SHARED))
        yield server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "dengar.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/dengar.db"
    return request.getfixturevalue("postgres_server").new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "store" / "dengar.db"
        path.parent.mkdir()
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.emptied(SHARED)
