"""Transactions: whole or not at all, as if alone where that is asked for, and clear words where the database fails."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import func, select, text

from asr.errors import ConfigError
from services.store import keys
from services.store.config import parse_url
from services.store.database import Store, lock
from services.store.errors import StoreBusyError, StoreError
from services.store.models import CatalogueEntity, Query, Setting, Span, UtcDateTime
from tests.services.databases import PostgresServer
from tests.services.store.conftest import KEY, NOW, OpenStore, put, query


def entity(name: str, weight: float = 1.0) -> CatalogueEntity:
    return CatalogueEntity(name=name, kind="", source="", weight=weight, at=NOW)


def entities(store: Store) -> set[str]:
    with store.reading() as session:
        return set(session.scalars(select(CatalogueEntity.name)))


def test_a_session_commits_all_or_nothing(store: Store) -> None:
    with store.session() as session:
        session.add(entity("anna"))
    with pytest.raises(sqlalchemy.exc.IntegrityError), store.session() as session:
        session.add_all([entity("bob"), entity("anna")])
    assert entities(store) == {"anna"}


def test_objects_stay_readable_after_their_session(store: Store) -> None:
    with store.session() as session:
        session.add(one := entity("anna"))
    assert (one.name, one.id > 0) == ("anna", True)


def test_times_come_back_in_utc_and_want_a_zone(store: Store) -> None:
    with store.session() as session:
        session.add(entity("anna"))
    with store.reading() as session:
        assert session.scalars(select(CatalogueEntity.at)).one() == NOW
    with pytest.raises(ValueError, match="carry their zone"):
        UtcDateTime().process_bind_param(NOW.replace(tzinfo=None), store.engine.dialect)


def test_what_hangs_on_a_query_goes_with_it_and_cannot_be_without(store: Store) -> None:
    put(store, query())
    with store.session() as session:
        session.execute(sqlalchemy.delete(Query))
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Span)) == 0
    with pytest.raises(sqlalchemy.exc.IntegrityError), store.session() as session:
        session.execute(
            text(
                "INSERT INTO feedback (query_id, at, kind, text, handled) "
                "VALUES ('none', '2026-01-01 00:00:00', 'accepted', '', false)"
            )
        )


def test_run_is_as_if_nobody_else_were_there(store: Store) -> None:
    with store.session() as session:
        session.add(Setting(name="counter", value={"n": 0}))
    threads, rounds = 4, 8

    def work() -> None:
        for _ in range(rounds):
            store.run(add_one, attempts=200)

    def add_one(session: sqlalchemy.orm.Session) -> None:
        counter = session.get(Setting, "counter")
        assert counter is not None
        counter.value = {"n": counter.value["n"] + 1}

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    with store.reading() as session:
        assert session.get_one(Setting, "counter").value == {"n": threads * rounds}


def test_run_gives_up_when_others_are_always_in_the_way(store: Store) -> None:
    calls = []

    def busy(_session: object) -> None:
        calls.append(1)
        raise StoreBusyError("held")

    with pytest.raises(StoreBusyError, match="held"):
        store.run(busy, attempts=3)
    assert len(calls) == 3


def test_readers_see_one_state_and_do_not_wait_for_writers(store: Store) -> None:
    with store.session() as session:
        session.add(entity("anna"))
    with store.reading() as reading:
        assert set(reading.scalars(select(CatalogueEntity.name))) == {"anna"}
        with store.session() as writing:
            writing.add(entity("bob"))
            writing.flush()
            assert entities(store) == {"anna"}
        assert set(reading.scalars(select(CatalogueEntity.name))) == {"anna"}
    assert entities(store) == {"anna", "bob"}


def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError, match=r"read.?only"), store.reading() as session:
        session.add(entity("anna"))
    with store.session() as session:
        session.add(entity("anna"))
    assert entities(store) == {"anna"}


def test_writers_who_wait_too_long_say_so(open_store: OpenStore) -> None:
    store = open_store(busy_s=0.1)

    def write(name: str) -> None:
        with store.session() as other:
            lock(other, "a thing")
            other.add(entity(name))

    with store.session() as session:
        session.add(entity("anna"))
        session.flush()
        lock(session, "a thing")
        with pytest.raises(StoreBusyError, match="is busy"):
            write("bert")


def test_a_user_is_a_keyed_hash(open_store: OpenStore) -> None:
    store = open_store()
    assert store.user_hash("ann") == store.user_hash("ann") != store.user_hash("bob")
    # RFC 2104, written out.
    import hashlib

    pad = KEY.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in pad) + b"ann").digest()
    assert store.user_hash("ann") == hashlib.sha256(bytes(b ^ 0x5C for b in pad) + inner).hexdigest()


def test_another_user_key_is_refused(open_store: OpenStore) -> None:
    open_store()
    with pytest.raises(ConfigError, match=r"hashes users \(.{16}\) is not the one this store was written with"):
        open_store(key=bytes(32))


def test_a_user_key_is_made_once_and_only_we_may_read_it(database_url: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = Store.open(database_url, state=str(state))
    again = Store.open(database_url, state=str(state))
    assert first.user_hash("ann") == again.user_hash("ann")
    assert stat.S_IMODE((state / "user.key").stat().st_mode) == 0o600
    first.close()
    again.close()


def test_the_environments_key_comes_first(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.USER_KEY, KEY.hex())
    store = Store.open(database_url, state=str(tmp_path / "state"))
    assert store.user_hash("ann") == keys.hash_user(KEY, "ann")
    assert not (tmp_path / "state" / "user.key").exists()
    store.close()


def test_sqlite_syncs_each_commit_and_keeps_others_out(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/new/dengar.db", key=KEY)
    with store.reading() as session:
        pragma = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        }
    assert pragma == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 10_000,
    }
    files = sorted((tmp_path / "new").glob("dengar.db*"))
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * len(files)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    store.close()


def test_postgresql_syncs_each_commit(postgres_server: PostgresServer, tmp_path: Path) -> None:
    url = postgres_server.new_database()
    postgres_server.execute(f"ALTER DATABASE {parse_url(url).database} SET synchronous_commit = off")
    store = Store.open(url, key=KEY, state=str(tmp_path))
    with store.reading() as session:
        assert session.execute(text("SHOW synchronous_commit")).scalar() == "on"
    store.close()


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but long enough to have a header of one hundred bytes" * 20)
    with pytest.raises(StoreError, match="file is not a database"):
        Store.open(f"sqlite:///{tmp_path}/notes.db", key=KEY)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        Store.open(f"sqlite:///{tmp_path}/file/dengar.db", key=KEY)


def test_a_server_that_is_away_is_one_sentence_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"postgresql\+psycopg://me:\*\*\*@/none.* fails") as error:
        Store.open(f"postgresql://me:secret@/none?host={tmp_path}", key=KEY, state=str(tmp_path))
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
