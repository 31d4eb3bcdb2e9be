"""Plain copies of recordings: they stay with open jobs, and go with those that ended or that nobody knows."""

from __future__ import annotations

import datetime
import os
import stat
from pathlib import Path

import pytest

from services.learner import job_files
from services.store import jobs
from services.store.database import Store
from services.store.models import Job

NOW = datetime.datetime.now(datetime.UTC)


def job(store: Store, status: str) -> Job:
    with store.session() as session:
        made = jobs.enqueue(session, "learn", {"names": [status]})
        assert made is not None
        made.status = status
        return made


def held(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def filled(work: Path, made: Job, base: str = "base") -> Path:
    """A folder as a job leaves it that was killed."""
    folder = job_files.make_folder(work, made, base)
    (folder / "rows" / "query1.flac").write_bytes(b"speech")
    (folder / "learn" / "data").mkdir(parents=True)
    (folder / "gate").mkdir()
    for name in ("rows.jsonl", "learn/data/train.jsonl", "learn/data/done.json", "gate/gate.html"):
        (folder / name).write_text("{}\n")
    return folder


KEPT = {"learn/data/done.json", "gate/gate.html"}
ALL = KEPT | {"rows/query1.flac", "rows.jsonl", "learn/data/train.jsonl"}


@pytest.mark.parametrize("status", ["queued", "running", "done", "failed", "stopped"])
def test_copies_go_with_jobs_that_ended(status: str, sqlite_store: Store, tmp_path: Path) -> None:
    folder = filled(tmp_path, job(sqlite_store, status))
    is_open = status in jobs.OPEN
    assert job_files.sweep(sqlite_store, tmp_path, NOW) == (0 if is_open else 1)
    assert held(folder) == (ALL if is_open else KEPT)
    assert job_files.sweep(sqlite_store, tmp_path, NOW) == 0


def test_copies_of_unknown_jobs_go_after_a_day(sqlite_store: Store, tmp_path: Path) -> None:
    folder = filled(tmp_path, Job(id="f" * 32))
    assert job_files.sweep(sqlite_store, tmp_path, NOW) == 0
    long_ago = NOW.timestamp() - 90_000
    os.utime(folder, (long_ago, long_ago))
    assert job_files.sweep(sqlite_store, tmp_path, NOW) == 1
    assert held(folder) == KEPT


def test_a_job_that_begins_anew_leaves_no_copies_of_before(sqlite_store: Store, tmp_path: Path) -> None:
    made = job(sqlite_store, "running")
    before, other = filled(tmp_path, made, "old"), filled(tmp_path, job(sqlite_store, "queued"))
    after = job_files.make_folder(tmp_path, made, "new")
    assert held(before) == KEPT
    assert held(other) == ALL
    assert held(after) == set()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (after, after / "rows")} == {0o700}


def test_without_a_folder_nothing_is_swept(sqlite_store: Store, tmp_path: Path) -> None:
    assert job_files.sweep(sqlite_store, tmp_path / "nowhere", NOW) == 0
