"""Deleting queries with all that hangs on them, so that a crash at any step leaves nothing behind for good.

The rows go first, in one transaction, which also notes the files that are to go (`Removal`). Then the files go, and
then the notes. A crash in between leaves notes, and `carry_out` goes on from them: no file is left that nobody knows
of, and no query whose recording is missing.
"""

from __future__ import annotations

import functools
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from services.faults import crash_point
from services.store import audit
from services.store.copies import copy_path, remove_copies
from services.store.database import Store
from services.store.errors import StoreError
from services.store.models import Feedback, Job, Mention, Name, Query, Removal, Span, TrainingRow

log = logging.getLogger("dengar.store")
AT_ONCE = 500
AUDIO, COPY = "audio", "copy"
ELSEWHERE = timedelta(days=30)
"""How long a note of a copy is kept whose folder is not on this machine; a worker that has it deletes the copy."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows that were deleted (or would be).

    Attributes:
        queries, spans, feedback, mentions: of them.
        recordings: queries that had audio.
        training_rows: copies that jobs made to learn from.
        exported: copies that exports made.
        names: candidates that nobody else has said, and that nobody had decided on.
        recounted: names that others have said too, or that were decided on.
    """

    queries: int = 0
    recordings: int = 0
    spans: int = 0
    feedback: int = 0
    mentions: int = 0
    training_rows: int = 0
    exported: int = 0
    names: int = 0
    recounted: int = 0

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Files:
    """Files whose turn it was to go.

    Attributes:
        gone: deleted, or gone already.
        elsewhere: copies in folders that are not on this machine.
        left: could not be deleted; the next time they are tried again.
    """

    gone: int = 0
    elsewhere: int = 0
    left: int = 0


NO_FILES = Files()


def count_queries(session: Session, ids: Sequence[str]) -> Deleted:
    """What `delete_queries` would delete, without its names."""
    total = Deleted()
    for some in portions(ids):
        exports = _count(session, TrainingRow, some, Job.kind == "export")
        total += Deleted(
            queries=session.scalar(select(func.count()).select_from(Query).where(Query.id.in_(some))) or 0,
            recordings=session.scalar(
                select(func.count()).select_from(Query).where(Query.id.in_(some), Query.audio_ref != "")
            )
            or 0,
            spans=_count(session, Span, some),
            feedback=_count(session, Feedback, some),
            mentions=_count(session, Mention, some),
            training_rows=_count(session, TrainingRow, some) - exports,
            exported=exports,
        )
    return total


def delete_queries(session: Session, ids: Sequence[str], actor: str, *, cause: str = "") -> Deleted:
    """Deletes queries and what hangs on them, notes the files that are to go, and counts their names anew.

    Args:
        session: of `Store.run`; `carry_out` is to follow when it is committed.
        ids: of the queries.
        actor: for the audit trail.
        cause: for the audit trail, where names go.
    """
    total = count_queries(session, ids)
    now = datetime.now(UTC)
    names: set[str] = set()
    for some in portions(ids):
        names.update(session.scalars(select(Mention.name_id).where(Mention.query_id.in_(some)).distinct()))
        refs = session.scalars(select(Query.audio_ref).where(Query.id.in_(some), Query.audio_ref != ""))
        session.add_all([Removal(kind=AUDIO, ref=ref, at=now) for ref in refs])
        copies = session.execute(
            select(TrainingRow.query_id, Job.params)
            .join(Job, Job.id == TrainingRow.job_id)
            .where(TrainingRow.query_id.in_(some))
        ).all()
        paths = {str(copy_path(params["folder"], query)) for query, params in copies if params.get("folder")}
        session.add_all([Removal(kind=COPY, ref=path, at=now) for path in sorted(paths)])
        session.execute(delete(Query).where(Query.id.in_(some)))
    gone, recounted = recount_names(session, sorted(names), actor, cause=cause)
    return replace(total, names=gone, recounted=recounted)


def note_copies(session: Session, folder: Path, ids: Iterable[str]) -> None:
    """Notes that a job's copies are to go, because their queries went while they were made; see `carry_out`."""
    now = datetime.now(UTC)
    session.add_all([Removal(kind=COPY, ref=str(copy_path(folder, query)), at=now) for query in sorted(ids)])


def recount_names(session: Session, ids: Sequence[str], actor: str, *, cause: str = "") -> tuple[int, int]:
    """Counts mentions and users of names anew; a candidate without any, which nobody decided on, goes.

    Returns:
        How many names went, and how many were counted anew.
    """
    gone = 0
    for name_id in ids:
        name = session.get(Name, name_id)
        if name is None:
            continue
        mentions, users, first_at, last_at = session.execute(
            select(
                func.count(), func.count(Mention.user_hash.distinct()), func.min(Mention.at), func.max(Mention.at)
            ).where(Mention.name_id == name_id)
        ).one()
        if not mentions and name.status in ("watched", "proposed") and name.source in ("heard", "feedback"):
            audit.record(session, actor, "name.deleted", name.id, cause, status=name.status)
            session.delete(name)
            gone += 1
            continue
        name.mentions, name.users = mentions, users
        if mentions:
            name.first_at, name.last_at = first_at, last_at
    return gone, len(ids) - gone


def carry_out(store: Store) -> Files:
    """Deletes the files that are noted to go, and then the notes.

    Raises:
        StoreError: the database fails. Files that cannot be deleted are counted.
    """
    files, after = Files(), 0
    while True:
        with store.reading() as session:
            notes = session.scalars(select(Removal).where(Removal.id > after).order_by(Removal.id).limit(AT_ONCE)).all()
        if not notes:
            return files
        after = notes[-1].id
        done, elsewhere, left = _remove_files(store, notes)
        crash_point("store.files-removed")
        store.run(functools.partial(_strike_out, ids=done))
        files = Files(files.gone + len(done), files.elsewhere + elsewhere, files.left + left)


def _strike_out(session: Session, ids: Sequence[int]) -> None:
    session.execute(delete(Removal).where(Removal.id.in_(ids)))


def _remove_files(store: Store, notes: Sequence[Removal]) -> tuple[list[int], int, int]:
    """Ids of the notes that are done, and how many were elsewhere or could not be deleted."""
    done, elsewhere, left = [], 0, 0
    copies: dict[Path, list[Removal]] = defaultdict(list)
    for note in notes:
        if note.kind == COPY:
            copies[Path(note.ref).parent.parent].append(note)
            continue
        try:
            store.audio.remove(note.ref)
            done.append(note.id)
        except StoreError as error:
            left += 1
            log.warning("a recording stays for now: %s", error)
    for folder, some in copies.items():
        if not folder.is_dir():
            old = [note.id for note in some if note.at < datetime.now(UTC) - ELSEWHERE]
            done += old
            elsewhere += len(some) - len(old)
            continue
        try:
            remove_copies(folder, {Path(note.ref).stem for note in some})
            done += [note.id for note in some]
        except OSError as error:
            left += len(some)
            log.warning("copies in %s stay for now: %s", folder, error.strerror or error)
    return done, elsewhere, left


def portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Few enough for the parameters of one statement."""
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))


def _count(
    session: Session, table: type[Span | Feedback | Mention | TrainingRow], ids: Iterable[str], *more: object
) -> int:
    counted = select(func.count()).select_from(table).where(table.query_id.in_(ids))
    if more:
        counted = counted.join(Job, Job.id == TrainingRow.job_id).where(*more)  # type: ignore[arg-type]
    return session.scalar(counted) or 0
