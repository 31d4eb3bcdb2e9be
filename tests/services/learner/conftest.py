"""An open store in each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.store.database import Store


@pytest.fixture
def store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(database_url, key=bytes(range(32)), state=str(tmp_path / "state"))
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    """For what does not depend on the database."""
    path = tmp_path / "only.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    opened = Store.open(f"sqlite:///{path}", key=bytes(range(32)), state=str(tmp_path / "state"))
    yield opened
    opened.close()
