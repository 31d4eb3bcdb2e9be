"""Processes killed in the middle: what was acknowledged is there, nothing is there by half, nothing stays for good."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from services.store import jobs
from services.store.copies import copy_path
from services.store.database import Store
from services.store.models import Job, Query, Removal, Span, TrainingRow
from services.store.rekey import rekey
from services.store.removal import carry_out
from services.store.retention import expire, forget, sweep
from tests.services.crashing import ROOT
from tests.services.forking import Forker
from tests.services.store.conftest import NOW, OpenStore, noise, put, query
from tests.services.store.test_retention import copy, counted

CRASH_POINTS = (
    "store.audio-written",
    "store.queries-inserted",
    "store.queries-committed",
    "store.queries-expired",
    "store.user-deleted",
    "store.user-forgotten",
    "store.files-removed",
    "store.rows-rekeyed",
    "store.recording-rekeyed",
    "store.export-noted",
    "store.job-claimed",
)
WRITING = ("store.audio-written", "store.queries-inserted", "store.queries-committed")
DELETING = ("store.queries-expired", "store.user-deleted", "store.user-forgotten", "store.files-removed")
REKEYING = ("store.rows-rekeyed", "store.recording-rekeyed")

BEGIN = """
import json, sys
from pathlib import Path
from services.store.database import Store
from services.store import jobs, retention
settings = json.loads(sys.argv[1])
settings["encryption_keys"] = tuple(bytes.fromhex(key) for key in settings.get("encryption_keys", ()))
store = Store.open(settings.pop("url"), key=bytes(range(32)), **settings)
"""
WRITE = (
    BEGIN
    + """
import datetime, secrets
import numpy as np
from asr.unknown.types import UnknownSpan
from services.store.queries import QueryLog, QueryRecord, SpanRecord
samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
samples = (np.rint(samples * 32767) / 32768).astype(np.float32)
span = SpanRecord(UnknownSpan(0.5, 0.9, ("anna",), (), (), (), "", 0.9))
log = QueryLog(store)
for number in range(1000):
    record = QueryRecord(
        id=secrets.token_hex(16), at=datetime.datetime.now(datetime.UTC), user=f"user{number % 5}", consent="audio",
        transcript="call anna", confidence=0.5, nbest=[], words=[], bundle="b" * 64, audio_s=0.5,
    )
    log.put(record, samples, [span, span])
    assert log.wait(record.id, 60)
    print(record.id, flush=True)
"""
)
LATER = timedelta(hours=2)


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Forker("services.store.queries", "services.store.rekey", "services.store.export", "asr.unknown") as forker:
        yield forker


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, object]:
    return {"url": database_url, "state": str(tmp_path / "state"), "commit_ms": 1.0}


def whole(store: Store) -> set[str]:
    """The ids of all queries, after looking at each: it has both spans, and its recording."""
    with store.reading() as session:
        rows = session.scalars(select(Query)).all()
        spans = dict(session.execute(select(Span.query_id, func.count()).group_by(Span.query_id)).all())
    for row in rows:
        assert np.array_equal(store.audio.get(row.audio_ref), noise())
    assert spans == {row.id: 2 for row in rows}
    return {row.id for row in rows}


@pytest.mark.parametrize("point", WRITING)
def test_a_server_that_dies_while_it_writes(
    point: str, settings: dict[str, object], forker: Forker, open_store: OpenStore
) -> None:
    said = forker.crash(point, WRITE, json.dumps(settings), times=3).split()
    store = open_store()
    there = whole(store)
    assert len(said) == 2
    assert there >= set(said)
    assert len(there) == (3 if point == "store.queries-committed" else 2)
    assert len(list(store.audio.list())) == 3
    assert sweep(store, datetime.now(UTC) + LATER) == 3 - len(there)
    assert len(list(store.audio.list())) == len(there)
    assert whole(store) == there


def test_a_server_that_dies_at_any_time_keeps_what_it_acknowledged(
    settings: dict[str, object], open_store: OpenStore
) -> None:
    """Killed from outside while it answers, wherever it may be."""
    command = [sys.executable, "-c", WRITE, json.dumps(settings)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(5)]
        time.sleep(0.05)
        process.kill()
        said += process.stdout.read().split()
    assert [len(key) for key in said[:5]] == [32] * 5
    there = whole(open_store())
    assert {key for key in said if len(key) == 32} <= there
    assert len(there) <= len(said) + 1


@pytest.mark.parametrize("point", DELETING)
def test_a_deletion_that_dies_is_finished_by_the_next(
    point: str, settings: dict[str, object], forker: Forker, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store()
    mine = put(store, query("ann"), query("ann"), spans=2)
    theirs = put(store, query("bob"), spans=2)
    copy(store, tmp_path / "job", *mine, *theirs)
    for query_id in theirs:
        with store.session() as session:
            session.get_one(Query, query_id).at = datetime.now(UTC)
    if point == "store.queries-expired":
        with store.session() as session:
            for query_id in mine:
                session.get_one(Query, query_id).expires_at = NOW
    code = "retention.expire(store)" if point == "store.queries-expired" else "retention.forget(store, 'ann')"
    forker.crash(point, BEGIN + code, json.dumps(settings))

    with store.reading() as session:
        left = set(session.scalars(select(Query.id)))
        notes = session.scalar(select(func.count()).select_from(Removal))
        rows = session.scalar(select(func.count()).select_from(TrainingRow))
    if point == "store.user-deleted":
        assert (left, notes, rows) == ({*mine, *theirs}, 0, 3), "nothing was committed"
        forget(store, "ann")
    else:
        assert (left, notes, rows) == (set(theirs), 4, 1), "the rows are gone, the files are noted"
        expire(store)
    assert whole(store) == set(theirs)
    assert counted(store) == {"queries": 1, "spans": 2, "training_rows": 1, "recordings": 1}
    assert [path.stem for path in (tmp_path / "job" / "rows").iterdir()] == theirs


@pytest.mark.parametrize("point", REKEYING)
def test_encrypting_anew_that_dies_goes_on(
    point: str, settings: dict[str, object], forker: Forker, open_store: OpenStore
) -> None:
    old, new = bytes([7] * 32), bytes([8] * 32)
    there = set(put(open_store(encryption_keys=(old,)), query(), query(), spans=2))
    with_keys = {**settings, "encryption_keys": [new.hex(), old.hex()]}
    forker.crash(point, BEGIN + "from services.store.rekey import rekey; rekey(store)", json.dumps(with_keys))
    store = open_store(encryption_keys=(new, old))
    with store.reading() as session:
        assert {row.transcript for row in session.scalars(select(Query))} == {"call anna"}
    rekey(store)
    alone = open_store(encryption_keys=(new,))
    sweep(alone, datetime.now(UTC) + LATER)
    with alone.reading() as session:
        assert {row.id for row in session.scalars(select(Query))} == there
    assert len(list(alone.audio.list())) == 2


def test_an_export_that_dies_is_within_reach(
    settings: dict[str, object], forker: Forker, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store()
    [mine] = put(store, query("ann"))
    code = "from services.store.export import export; export(store, Path(sys.argv[2]))"
    forker.crash("store.export-noted", BEGIN + code, json.dumps(settings), str(tmp_path / "out"))
    # As if it had died a little later: with a recording, and half of a line.
    copy_path(tmp_path / "out", mine).write_bytes(b"fLaC")
    (tmp_path / "out" / "manifest.jsonl.partial").write_text('{"audio_filepath": "rows/x", "text": "call an')
    assert forget(store, "ann").deleted.exported == 1
    assert list((tmp_path / "out").rglob("*.flac")) == []
    assert (tmp_path / "out" / "manifest.jsonl.partial").read_text() == ""
    assert carry_out(store).gone == 0


def test_a_worker_that_dies_while_it_claims_has_nothing(
    settings: dict[str, object], forker: Forker, open_store: OpenStore
) -> None:
    store = open_store()
    with store.session() as session:
        job = jobs.enqueue(session, "learn", {"names": ["n1"]})
    assert job is not None
    code = "store.run(lambda session: jobs.claim(session, 'w', 60.0))"
    forker.crash("store.job-claimed", BEGIN + code, json.dumps(settings))
    with store.reading() as session:
        assert session.get_one(Job, job.id).status == "queued"
    claimed = store.run(lambda session: jobs.claim(session, "other", 60.0))
    assert claimed is not None
    assert (claimed.id, claimed.attempts) == (job.id, 1)
