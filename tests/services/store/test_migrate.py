"""Migrations: what they make is what the models say, on both databases, whoever else does it at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from services.store import migrate
from services.store.config import parse_url
from services.store.database import Store
from services.store.engines import make_engine
from services.store.errors import StoreError
from services.store.models import Base
from tests.services.crashing import ROOT
from tests.services.store.conftest import KEY

MIGRATE = (
    "import sys; from services.store.config import parse_url; from services.store.engines import make_engine; "
    "from services.store import migrate; print(*migrate.upgrade(make_engine(parse_url(sys.argv[1]), 30.0)))"
)


def test_migrated_tables_are_those_of_the_models(database_url: str) -> None:
    engine = make_engine(parse_url(database_url), 10.0)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        # What alembic does not compare: keys, and what is deleted with what.
        for table in Base.metadata.sorted_tables:
            inspector = sqlalchemy.inspect(connection)
            keys = inspector.get_pk_constraint(table.name)
            assert keys["constrained_columns"] == [column.name for column in table.primary_key.columns]
            found = {
                (key["constrained_columns"][0], key["referred_table"], key["options"].get("ondelete"))
                for key in inspector.get_foreign_keys(table.name)
            }
            wanted = {(key.parent.name, key.column.table.name, key.ondelete) for key in table.foreign_keys}
            assert found == wanted, table.name
    engine.dispose()


def test_an_empty_database_is_brought_up_once(empty_url: str) -> None:
    engine = make_engine(parse_url(empty_url), 10.0)
    assert migrate.current(engine) == migrate.BASE
    assert migrate.upgrade(engine) == (migrate.BASE, migrate.newest())
    assert migrate.upgrade(engine) == (migrate.newest(), migrate.newest())
    assert migrate.current(engine) == migrate.newest()
    engine.dispose()


def test_several_processes_may_bring_it_up_at_once(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        Path(str(parse_url(empty_url).database)).parent.mkdir(exist_ok=True)
    command = [sys.executable, "-c", MIGRATE, empty_url]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert {after for _, after in said} == {migrate.newest()}
    assert [before for before, _ in said].count(migrate.BASE) == 1


def test_a_database_from_a_newer_version_is_refused_in_one_sentence(database_url: str, tmp_path: Path) -> None:
    engine = make_engine(parse_url(database_url), 10.0)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for upgrade in (True, False):
        with pytest.raises(
            StoreError, match=r"revision 9999, which this version does not know: a newer Dengar"
        ) as error:
            Store.open(database_url, key=KEY, state=str(tmp_path), migrate=upgrade)
        assert "\n" not in str(error.value)


def test_without_migrating_an_older_one_is_refused_and_left_alone(empty_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is at revision empty and .* run: dengar store migrate"):
        Store.open(empty_url, key=KEY, state=str(tmp_path), migrate=False)
    engine = make_engine(parse_url(empty_url), 10.0)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()
