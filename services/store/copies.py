"""Copies of recordings that jobs and exports make, where retention and forgetting find them.

A job names its folder, an absolute path, in ``Job.params["folder"]`` and has a `TrainingRow` for each query that it
copies, committed before the copy is made. The copy is ``<folder>/rows/<query_id>.flac``; manifests with a line for each
(``"id"`` is the query's) lie in the folder itself as ``*.jsonl``. Whoever writes there holds `writing` meanwhile.
Copies may go at any other time: a line or file that is missing is to be left out, and counted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services.store.keys import sync_folder

ROWS = "rows"
CUT_OFF = "<cut off>"


def copy_path(folder: str | Path, query_id: str) -> Path:
    """Where a job with this folder keeps its copy of a query's recording."""
    return Path(folder).resolve() / ROWS / f"{query_id}.flac"


@contextlib.contextmanager
def writing(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a job's folder, so that nothing is removed there; of all processes one has it.

    Args:
        folder: exists.
        wait: whether to wait for another process.

    Raises:
        BlockingIOError: another process has it, and this one does not wait.
        OSError: the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def remove_copies(folder: Path, query_ids: set[str], *, wait: bool = False) -> None:
    """Deletes queries from the folder of a job: their lines in its manifests, then their recordings.

    Args:
        folder: exists.
        query_ids: of the queries.
        wait: whether to wait for whoever writes there.

    Raises:
        OSError: something cannot be deleted; `BlockingIOError` if another process writes there.
    """
    with writing(folder, wait=wait):
        for left_over in folder.glob(".*.jsonl.*"):  # of a process that was killed in `_rewrite`
            left_over.unlink()
        for manifest in sorted([*folder.glob("[!.]*.jsonl"), *folder.glob("[!.]*.jsonl.partial")]):
            _rewrite(manifest, query_ids)
        rows = folder / ROWS
        for query_id in query_ids:
            for path in rows.glob(f"{query_id}.*"):
                path.unlink(missing_ok=True)
        if rows.is_dir():
            sync_folder(rows)


def _rewrite(manifest: Path, query_ids: set[str]) -> None:
    """Writes a manifest without some queries' lines, whole or not at all; leaves it alone if it has none."""
    lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    unwanted = query_ids | ({CUT_OFF} if manifest.suffix == ".partial" else set())
    kept = [line for line in lines if _id(line) not in unwanted]
    if len(kept) == len(lines):
        return
    descriptor, temporary = tempfile.mkstemp(dir=manifest.parent, prefix=f".{manifest.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(kept)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(manifest, temporary)
        os.replace(temporary, manifest)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(manifest.parent)


def _id(line: str) -> str:
    """The id in a line; empty where there is none, `CUT_OFF` where a crash cut it off."""
    try:
        row = json.loads(line)
    except ValueError:
        return CUT_OFF
    return str(row.get("id", "")) if isinstance(row, dict) else ""
