"""Brings a database to the tables of this version, through alembic; refuses one that is from a newer version.

Revisions lie in ``services/store/migrations/versions``, each with the tables as they were then. To add one: change
`services.store.models`, write the next file after the pattern of the last, and the test that compares the migrated
tables with the models says what is still missing.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from services.store.engines import store_error
from services.store.errors import StoreError

FOLDER = Path(__file__).parent / "migrations"
BASE = "empty"


def newest() -> str:
    """The revision of this version."""
    head = _scripts().get_current_head()
    if head is None:
        raise StoreError(f"{FOLDER}: the migrations are missing; install dengar again")
    return head


def current(engine: Engine) -> str:
    """The revision that a database is at, or ``empty``."""
    try:
        with engine.connect() as connection:
            return _revision(connection)
    except sqlalchemy.exc.DBAPIError as error:
        raise store_error(error, _name(engine)) from error


def upgrade(engine: Engine) -> tuple[str, str]:
    """Brings a database to the newest revision, in one transaction; of several processes one does it.

    Returns:
        The revision before and after.

    Raises:
        StoreError: the database cannot be reached or is from a newer version.
    """
    before = current(engine)
    if before == newest():
        return before, before
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('dengar migrate', 0))"))
            before = _revision(connection)
            _refuse_newer(before, engine)
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
            command.upgrade(config, "head")
    except sqlalchemy.exc.DBAPIError as error:
        raise store_error(error, _name(engine)) from error
    return before, newest()


def check(engine: Engine) -> None:
    """Raises `StoreError` unless a database is at the newest revision."""
    found = current(engine)
    _refuse_newer(found, engine)
    if found != newest():
        raise StoreError(
            f"the store {_name(engine)} is at revision {found} and this version wants {newest()}; "
            "run: dengar store migrate"
        )


def _refuse_newer(revision: str, engine: Engine) -> None:
    if revision != BASE and revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise StoreError(
            f"the store {_name(engine)} is at revision {revision}, which this version does not know: a newer Dengar "
            "wrote it; install that version or a newer one"
        )


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or BASE


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(FOLDER))


def _name(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)
