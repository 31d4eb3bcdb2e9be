"""The query log: never in the way, whole queries or none, and each that is not written is counted with its cause."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy
from sqlalchemy import event, select, text

from services.store.database import Store
from services.store.engines import is_busy, is_full, store_error
from services.store.models import Forgotten, Query, Span
from services.store.queries import QueryLog
from services.store.retention import forget
from tests.services.crashing import ROOT
from tests.services.databases import running_postgres
from tests.services.store.conftest import KEY, NOW, OpenStore, noise, put, query, span


def rows(store: Store) -> dict[str, Query]:
    with store.reading() as session:
        return {row.id: row for row in session.scalars(select(Query))}


def test_a_query_is_kept_with_its_spans_and_audio(store: Store) -> None:
    record = query(snr_db=12.5, latency_s=0.2, owner="phones")
    put(store, record)
    [row] = rows(store).values()
    for name in ("id", "at", "consent", "owner", "transcript", "confidence", "nbest", "words", "bundle", "role"):
        assert getattr(row, name) == getattr(record, name), name
    assert (row.audio_s, row.snr_db, row.latency_s) == (0.5, 12.5, 0.2)
    assert row.user_hash == store.user_hash("ann")
    assert row.expires_at == record.at + timedelta(days=90)
    assert np.array_equal(store.audio.get(row.audio_ref), noise())
    with store.reading() as session:
        [found] = session.scalars(select(Span))
    assert (found.query_id, found.start_s, found.end_s, found.heard, found.before, found.after, found.score) == (
        record.id,
        0.5,
        0.9,
        "anna",
        "call",
        "",
        0.9,
    )
    assert found.spellings == [{"text": "anja", "log_prob": -0.1}, {"text": "anya", "log_prob": -2.4}]
    assert found.proposals == [{"name": "anja", "distance": 0.1, "probability": 0.8}]
    assert not found.clustered


def test_audio_is_kept_with_consent_to_it_alone(open_store: OpenStore) -> None:
    store = open_store(transcript_days=10, audio_days=20)
    spoken, written = query(consent="audio"), query(consent="transcript")
    put(store, spoken, written)
    found = rows(store)
    assert found[spoken.id].audio_ref
    assert not found[written.id].audio_ref
    assert len(list(store.audio.list())) == 1
    days = {key: (row.expires_at - row.at).days for key, row in found.items()}
    assert days == {spoken.id: 20, written.id: 10}


def test_without_consent_nothing_is_kept(store: Store) -> None:
    log = QueryLog(store)
    for consent in ("none", "", "AUDIO"):
        assert not log.put(query(consent=consent), noise(), [span()])
    log.close()
    assert log.counters().dropped == {"consent": 3}
    assert rows(store) == {}
    assert list(store.audio.list()) == []


def test_who_asked_is_nowhere_in_the_store(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    put(store, query("a-name-to-be-searched-for"))
    with store.reading() as session:
        for table in Query.metadata.sorted_tables:
            for row in session.execute(select(table)):
                assert "a-name-to-be" not in repr(row)
    store.close()
    assert all(b"a-name-to-be" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_waits_is_bounded_by_number(open_store: OpenStore) -> None:
    store = open_store(queue_size=3)
    log = QueryLog(store)
    with _held(store):
        taken = [log.put(query()) for _ in range(5)]
        assert taken == [True, True, True, False, False]
        counters = log.counters()
        assert (counters.waiting, counters.dropped) == (3, {"full": 2})
    assert log.flush(30)
    assert log.put(query())
    log.close()
    assert log.counters().written == 4 == len(rows(store))


def test_what_waits_is_bounded_by_audio(open_store: OpenStore) -> None:
    store = open_store(queue_mb=0.1, commit_ms=10_000)
    log = QueryLog(store)
    taken = [log.put(query(), noise(0.5)) for _ in range(4)]  # 32 kB each
    assert taken == [True, True, True, False]
    assert log.put(query(consent="transcript"), noise(0.5)), "its audio is not kept"
    log.close()
    assert log.counters().written == 4


def test_putting_never_waits_for_the_database(open_store: OpenStore) -> None:
    store = open_store(queue_size=100_000)
    log = QueryLog(store)
    with _held(store):
        for _ in range(2000):
            log.put(query())
        assert log.counters().written == 0
        assert log.lag_s > 0
    log.close(60)
    assert log.counters().written == 2000
    assert log.lag_s == 0


def test_wait_is_over_when_a_query_is_committed(open_store: OpenStore) -> None:
    store = open_store(commit_ms=10_000)
    log = QueryLog(store)
    record = query()
    log.put(record)
    assert log.wait(record.id, 30), "asking hurries it"
    assert record.id in rows(store)
    assert log.wait("never put", 0)
    with _held(store):
        log.put(other := query())
        assert not log.wait(other.id, 0.05)
        assert not log.flush(0.05)
    log.close()


def test_a_query_that_the_database_refuses_does_not_take_others_with_it(store: Store) -> None:
    log = QueryLog(store)
    good = [query() for _ in range(3)]
    log.put(good[0])
    log.put(query(nbest=[{"text": object()}]))  # cannot become JSON
    log.put(query(confidence=None))  # a column that may not be empty
    for record in good[1:]:
        log.put(record)
    assert not log.put(good[1]), "the same again, while it waits"
    log.close()
    assert set(rows(store)) == {record.id for record in good}
    assert log.counters().dropped == {"invalid": 3}


def test_the_same_query_twice_is_there_once(store: Store) -> None:
    record = query()
    put(store, record)
    put(store, record)
    assert list(rows(store)) == [record.id]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_full_disk_drops_queries_and_more_space_brings_new_ones(open_store: OpenStore) -> None:
    store = open_store(retry_s=0.1)

    with store.reading() as session:
        pages = [session.execute(text("PRAGMA page_count")).scalar() or 0]

    @event.listens_for(store.engine, "begin")
    def _limit(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[0]}")

    log = QueryLog(store)
    filling = [query(transcript="word " * 2000) for _ in range(20)]
    for record in filling:
        log.put(record, spans=[span()])
    assert log.flush(30)
    assert log.counters().dropped == {"disk full": 20}
    pages[0] = 1_000_000
    log.put(record := query())
    log.close()
    assert list(rows(store)) == [record.id]


def test_what_databases_call_a_full_disk_and_a_busy_one() -> None:
    """Codes from the manuals of SQLite and PostgreSQL."""

    def said(**codes: object) -> sqlalchemy.exc.DBAPIError:
        original = Exception("it says")
        for name, value in codes.items():
            setattr(original, name, value)
        return sqlalchemy.exc.OperationalError("", {}, original)

    full = [said(sqlite_errorcode=13), said(sqlstate="53100")]
    busy = [said(sqlite_errorcode=code) for code in (5, 6, 517, 262)]
    busy += [said(sqlstate=code) for code in ("40001", "40P01", "55P03")]
    other = [said(sqlite_errorcode=10), said(sqlstate="08006"), said()]
    assert [is_full(error) for error in [*full, *busy, *other]] == [True] * 2 + [False] * 10
    assert [is_busy(error) for error in [*full, *busy, *other]] == [False] * 2 + [True] * 7 + [False] * 3
    assert "its disk is full; free some space" in str(store_error(full[1], "here"))


FILL_A_DISK = """
import dataclasses, datetime, json, secrets, sys
from pathlib import Path
import numpy as np
from services.store.database import Store
from services.store.queries import QueryLog, QueryRecord
disk = Path(sys.argv[1])
store = Store.open(f"sqlite:///{disk}/dengar.db", key=bytes(32), commit_ms=1.0, retry_s=0.2)
log = QueryLog(store)
def answer(count):
    for _ in range(count):
        log.put(QueryRecord(
            id=secrets.token_hex(16), at=datetime.datetime.now(datetime.UTC), user="ann", consent="audio",
            transcript="word " * 500, confidence=0.5, nbest=[], words=[], bundle="b" * 64, audio_s=0.5,
        ), np.zeros(8000, np.float32))
    assert log.flush(60)
    print(json.dumps(dataclasses.asdict(log.counters())), flush=True)
answer(3)
with open(disk / "filler", "wb", buffering=0) as file:
    try:
        while file.write(bytes(512)):
            pass
    except OSError as error:
        assert error.errno == 28, error
answer(40)
(disk / "filler").unlink()
answer(3)
log.close()
with store.reading() as session:
    assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert session.connection().exec_driver_sql("SELECT count(*) FROM queries").scalar() == log.counters().written
assert not list(disk.rglob("*.partial"))
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """On a disk of two megabytes, in a mount namespace of its own."""
    mount = f'mount -t tmpfs -o size=2m none {tmp_path} && exec "$@"'
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, mount, "sh", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    command = [*alone, mount, "sh", sys.executable, "-c", FILL_A_DISK, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    before, full, after = (json.loads(line) for line in ran.stdout.splitlines())
    assert (before["written"], before["dropped"]) == (3, {})
    assert full["dropped"].get("disk full", 0) > 0
    assert full["written"] + full["dropped"]["disk full"] == 43
    assert full["recordings"] == 3
    assert after["written"] == full["written"] + 3
    assert after["recordings"] == 6


def test_a_failing_audio_store_costs_the_audio_alone(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    store = open_store(audio=f"{tmp_path}/taken/audio")
    put(store, record := query())
    assert rows(store)[record.id].audio_ref == ""


def test_a_database_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    with running_postgres() as server:
        store = Store.open(server.new_database(), key=KEY, state=str(tmp_path), commit_ms=1.0, retry_s=60.0)
        log = QueryLog(store)
        log.put(before := query())
        assert log.flush(30)
        server.stop()
        log.put(during := query(), noise())
        _until(lambda: log.counters().failures > 1)
        server.start()
        assert log.flush(60)
        log.put(after := query())
        log.close()
        assert set(rows(store)) == {before.id, during.id, after.id}
        assert log.counters().dropped == {}
        assert len(list(store.audio.list())) == 1
        server.stop()
        late = QueryLog(store)
        late.put(query())
        late.close(0.2)
        assert late.counters().dropped == {"closed": 1}
        store.close()


def test_after_close_nothing_is_taken(store: Store) -> None:
    log = QueryLog(store)
    log.put(query())
    log.close()
    assert not log.put(query())
    assert (log.counters().written, log.counters().dropped) == (1, {"closed": 1})
    log.close()


def test_what_was_said_before_a_user_was_forgotten_does_not_come_back(store: Store) -> None:
    before = query("ann")
    forget(store, "ann")
    after, other = query("ann"), query("bob", at=NOW)
    log = QueryLog(store)
    for record in (before, after, other):
        log.put(record, noise())
    log.close()
    assert set(rows(store)) == {after.id, other.id}
    assert log.counters().dropped == {"forgotten": 1}
    assert len(list(store.audio.list())) == 2
    with store.reading() as session:
        assert session.get(Forgotten, store.user_hash("ann")) is not None


def test_forgetting_while_queries_come_leaves_none_of_before(store: Store) -> None:
    """The writer and the forgetting race, again and again; neither order may leave a query behind."""
    log = QueryLog(store)
    for _ in range(8):
        records = [query("ann") for _ in range(5)]
        for record in records:
            log.put(record)
        forget(store, "ann")
        assert log.flush(30)
        assert set(rows(store)) == set()
    log.close()


def test_many_threads_put_at_once(store: Store) -> None:
    log = QueryLog(store)
    ids: list[str] = []

    def work(user: str) -> None:
        for _ in range(25):
            log.put(record := query(user))
            ids.append(record.id)

    threads = [threading.Thread(target=work, args=(f"user{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close(30)
    assert set(rows(store)) == set(ids)


@contextlib.contextmanager
def _held(store: Store) -> Iterator[None]:
    """Keeps others from writing queries."""
    with store.session() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("LOCK TABLE queries IN ACCESS EXCLUSIVE MODE"))
        else:
            session.connection()
        yield


def _until(done: object, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
