"""Hands out consented queries for review: a manifest with recordings that other tools read, and transcripts.

The folder gets ``manifest.jsonl`` (`asr.corpus.manifest`) with ``rows/<query_id>.flac`` for queries whose audio may be
kept, and ``transcripts.jsonl`` for those whose transcript alone may. An export is noted as a job that is done, with a
`TrainingRow` for each query, before anything is written: so retention and forgetting reach its lines and recordings
as long as they stay in that folder.
"""

from __future__ import annotations

import io
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile
from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from asr.corpus.manifest import Utterance, write_manifest
from asr.errors import ConfigError
from services.faults import crash_point
from services.store import audit
from services.store.copies import ROWS, copy_path, remove_copies, writing
from services.store.database import Store
from services.store.errors import StoreError
from services.store.models import Feedback, Job, Mention, Name, Query, TrainingRow
from services.store.removal import portions

MANIFEST, TRANSCRIPTS = "manifest.jsonl", "transcripts.jsonl"
KIND = "export"


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds.

    Attributes:
        id: of its job.
        folder: where it lies.
        recordings: lines of the manifest.
        seconds: of audio.
        transcripts: queries without audio.
        left_out: queries that are in neither, by reason.
    """

    id: str
    folder: Path
    recordings: int
    seconds: float
    transcripts: int
    left_out: dict[str, int]


def export(
    store: Store,
    folder: Path,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    names: Sequence[str] = (),
    limit: int | None = None,
    actor: str = "person",
    advance: Callable[[int, int], None] = lambda _done, _all: None,
) -> Export:
    """Writes queries into a new folder.

    Args:
        store: open.
        folder: is made; may be there if it is empty.
        since: the time of the first query.
        until: the time before which the last one was.
        names: ids or texts of `Name`; only queries that seem to hold one of them.
        limit: queries at most, the newest.
        actor: for the audit trail.
        advance: told how many of how many are done.

    Raises:
        ConfigError: the folder is in use, a name is unknown, or there is no such query.
        StoreError: the database fails, or the folder cannot be written.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder}: holds something already; exports go to a new folder")
        (folder / ROWS).mkdir(mode=0o700)
    except OSError as error:
        raise StoreError(f"{folder}: the export cannot be written: {error.strerror}") from error
    job_id, ids = store.run(lambda session: _register(session, folder, since, until, names, limit, actor))
    crash_point("store.export-noted")
    found = _Rows(store, folder, ids, advance)
    try:
        with writing(folder):
            write_manifest(folder / MANIFEST, found)
            _write_lines(folder / TRANSCRIPTS, found.transcripts)
    except OSError as error:
        raise StoreError(f"{folder}: the export cannot be written: {error.strerror}") from error
    # Who was forgotten while this was written: nobody could remove anything here meanwhile.
    with store.reading() as session:
        there = {key for some in portions(ids) for key in session.scalars(select(Query.id).where(Query.id.in_(some)))}
    gone = set(ids) - there
    if gone:
        remove_copies(folder, gone, wait=True)
    recordings = sum(utterance not in gone for utterance in found.recordings)
    transcripts = sum(row["id"] not in gone for row in found.transcripts)
    left_out = dict(found.left_out) | ({"deleted meanwhile": len(gone)} if gone else {})
    seconds = sum(duration for key, duration in found.recordings.items() if key not in gone)
    figures = {"recordings": recordings, "seconds": round(seconds, 3), "transcripts": transcripts, "left_out": left_out}
    store.run(lambda session: _conclude(session, job_id, figures, actor))
    return Export(job_id, folder, recordings, seconds, transcripts, left_out)


def _register(
    session: Session,
    folder: Path,
    since: datetime | None,
    until: datetime | None,
    names: Sequence[str],
    limit: int | None,
    actor: str,
) -> tuple[str, list[str]]:
    """Notes the export and which queries it copies."""
    wanted: Select[Any] = select(Query).order_by(Query.at.desc(), Query.id)
    if since is not None:
        wanted = wanted.where(Query.at >= since)
    if until is not None:
        wanted = wanted.where(Query.at < until)
    if names:
        wanted = wanted.where(
            Query.id.in_(select(Mention.query_id).where(Mention.name_id.in_(_name_ids(session, names))))
        )
    queries = session.scalars(wanted.limit(limit) if limit else wanted).all()
    if not queries:
        raise ConfigError("no query in the store is of that time and those names; nothing is exported")
    now, job_id = datetime.now(UTC), secrets.token_hex(16)
    session.add(
        Job(
            id=job_id,
            kind=KIND,
            status="done",
            params={"folder": str(folder)},
            stage="",
            result={},
            error="",
            attempts=1,
            worker="",
            lease_until=None,
            created_at=now,
            changed_at=now,
        )
    )
    session.flush()
    session.add_all([TrainingRow(job_id=job_id, query_id=query.id, text="", source=KIND) for query in queries])
    audit.record(session, actor, "queries.exported", job_id, queries=len(queries))
    return job_id, [query.id for query in reversed(queries)]


def _name_ids(session: Session, names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        ids = session.scalars(select(Name.id).where(or_(Name.id == name, Name.text == name))).all()
        if not ids:
            raise ConfigError(f"{name!r} is neither the id nor the text of a name in the store")
        found += ids
    return found


class _Rows:
    """The lines of the manifest, written one after the other together with their recordings."""

    def __init__(self, store: Store, folder: Path, ids: Sequence[str], advance: Callable[[int, int], None]) -> None:
        self._store = store
        self._folder = folder
        self._ids = ids
        self._advance = advance
        self.recordings: dict[str, float] = {}
        self.transcripts: list[dict[str, Any]] = []
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Utterance]:
        done = 0
        for ids in portions(self._ids):
            with self._store.reading() as session:
                queries = session.scalars(select(Query).where(Query.id.in_(ids)).order_by(Query.at, Query.id)).all()
                corrected = _corrections(session, ids)
            for query in queries:
                text = corrected.get(query.id, query.transcript)
                source = "query log, corrected" if query.id in corrected else "query log, hypothesis"
                if query.audio_ref:
                    utterance = self._copy(query, text, source)
                    if utterance is not None:
                        yield utterance
                elif query.consent == "audio":
                    self.left_out["the audio was not kept"] += 1
                else:
                    self.transcripts.append(_transcript(query, text, source))
                done += 1
                self._advance(done, len(self._ids))

    def _copy(self, query: Query, text: str, source: str) -> Utterance | None:
        """Copies a recording; None if it cannot be read."""
        try:
            flac = self._store.audio.get_bytes(query.audio_ref)
        except StoreError:
            self.left_out["the recording cannot be read"] += 1
            return None
        path = copy_path(str(self._folder), query.id)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(flac)
        duration_s = float(soundfile.info(io.BytesIO(flac)).duration)
        self.recordings[query.id] = duration_s
        return Utterance(
            audio_filepath=str(path.relative_to(self._folder)),
            duration=duration_s,
            text=text,
            id=query.id,
            speaker=query.user_hash[:16],
            corpus="query log",
            consent=query.consent,
            source=source,
        )


def _corrections(session: Session, ids: Sequence[str]) -> dict[str, str]:
    """What users said that they had said; the last word counts."""
    rows = select(Feedback).where(Feedback.query_id.in_(ids), Feedback.kind == "corrected").order_by(Feedback.id)
    return {row.query_id: row.text for row in session.scalars(rows)}


def _transcript(query: Query, text: str, source: str) -> dict[str, Any]:
    return {
        "id": query.id,
        "at": query.at.isoformat(),
        "speaker": query.user_hash[:16],
        "text": text,
        "nbest": query.nbest,
        "confidence": query.confidence,
        "consent": query.consent,
        "source": source,
    }


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _conclude(session: Session, job_id: str, figures: dict[str, Any], actor: str) -> None:
    job = session.get(Job, job_id)
    if job is not None:
        job.result = figures
    audit.record(session, actor, "export.written", job_id, job_id, **figures)
