"""What a job keeps of users in its folder while it runs: copies of recordings, and manifests with their words.

Both are plain files, also where the store is encrypted, for speech engines and training read files. So the folder of a
job is its owner's alone, and they go when the job ends: by its worker, whether it is done or has failed, and else,
where that one was killed or the job was stopped, by `sweep`, which every worker runs when it starts and each hour. The
rest, as what was synthesised and the page of the gate, stays.
"""

from __future__ import annotations

import datetime
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from services.store import jobs
from services.store.copies import ROWS
from services.store.database import Store
from services.store.models import Job

MANIFESTS = ("*.jsonl", "*.jsonl.partial", ".*.jsonl.*", "learn/data/*.jsonl")
"""Files with words of users, in the folder of a job; the last are those of `asr.learn`."""
UNKNOWN_AFTER = datetime.timedelta(days=1)
"""Age from which copies go whose job the store does not know: it may be one of another store, and running."""
_ID = 12
log = logging.getLogger("dengar.learner")


def make_folder(work: Path, job: Job, base: str) -> Path:
    """An empty folder for a job that starts from a bundle, for its owner alone; copies of an earlier start go."""
    clear(work, job.id)
    folder = (work / "jobs" / f"{job.id[:_ID]}-{base}").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    (folder / ROWS).mkdir(mode=0o700)
    return folder


def clear(work: Path, job_id: str) -> None:
    """Deletes what a job keeps of users. What cannot be deleted is said in the log, and tried again by `sweep`."""
    for folder in (work / "jobs").glob(f"{job_id[:_ID]}-*"):
        _clear(folder)


def sweep(store: Store, work: Path, now: datetime.datetime) -> int:
    """Deletes what was left behind by jobs that have ended or are not known; of how many folders.

    Args:
        store: that knows the jobs.
        work: folder of the worker.
        now: the time.

    Raises:
        StoreError: the store fails.
    """
    held = [folder for folder in (work / "jobs").glob("*-*") if next(_plain(folder), None) is not None]
    if not held:
        return 0
    with store.reading() as session:
        status = {key[:_ID]: status for key, status in session.execute(select(Job.id, Job.status))}
    swept = 0
    for folder in sorted(held):
        known = status.get(folder.name.partition("-")[0])
        age = now - datetime.datetime.fromtimestamp(folder.stat().st_mtime, datetime.UTC)
        if known not in jobs.OPEN and (known is not None or age >= UNKNOWN_AFTER):
            log.warning("copies of recordings that were left in %s are deleted", folder)
            _clear(folder)
            swept += 1
    return swept


def _plain(folder: Path) -> Iterator[Path]:
    if (folder / ROWS).is_dir():
        yield folder / ROWS
    for pattern in MANIFESTS:
        yield from folder.glob(pattern)


def _clear(folder: Path) -> None:
    for path in list(_plain(folder)):
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s holds copies of recordings and cannot be deleted: %s", path, error.strerror or error)
