"""Nothing is kept for longer than it may be: queries expire, stray recordings are swept up, users are forgotten.

`expire` is to run now and then (`dengar learn run` and `dengar store expire` do it): it deletes what is past its time,
finishes what a crash left undone, and sweeps up recordings that no query has.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.orm import Session

from asr.errors import InputError
from services.faults import crash_point
from services.store import audit, jobs
from services.store.config import StoreConfig
from services.store.database import Store
from services.store.engines import overwrite_log
from services.store.models import BundleSource, Forgotten, Job, Query, TrainingRow
from services.store.removal import AT_ONCE, NO_FILES, Deleted, Files, carry_out, count_queries, delete_queries, portions

log = logging.getLogger("dengar.store")
STRAY_AFTER = timedelta(hours=1)
"""Age from which a recording without a query is swept up; a younger one may be about to get its query."""
LAST_ARRIVAL = timedelta(days=1)
"""How long a forgotten user's queries from before may still arrive, from a server whose database was away."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """What `expire` did, or would do.

    Attributes:
        deleted: rows.
        files: that were to go.
        strays: recordings that no query had.
    """

    deleted: Deleted
    files: Files = NO_FILES
    strays: int = 0


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What `forget` did, or would do.

    Attributes:
        id: of it in the audit trail; empty if it was only counted.
        deleted: rows.
        files: that were to go.
        bundles: hashes of the bundles that learned from the user; they do not unlearn by this.
        jobs: ids of jobs that were learning from the user and begin anew.
    """

    id: str
    deleted: Deleted
    bundles: tuple[str, ...]
    jobs: tuple[str, ...]
    files: Files = NO_FILES


def expire(store: Store, now: datetime | None = None, *, dry_run: bool = False, actor: str = "retention") -> Expiry:
    """Deletes the queries that are past their time, with all that hangs on them.

    A query's time is the expiry that it was given, or what today's configuration says if that is shorter.

    Args:
        store: open.
        now: the time; None for the clock's.
        dry_run: whether it is only counted.
        actor: for the audit trail.

    Raises:
        StoreError: the database or the audio store fails; what was deleted until then is.
    """
    now = now or datetime.now(UTC)
    due = _is_due(store.config, now)
    if dry_run:
        with store.reading() as session:
            return Expiry(count_queries(session, session.scalars(select(Query.id).where(due)).all()))
    total = Deleted()
    while True:
        deleted = store.run(lambda session: _expire_some(session, due, actor))
        crash_point("store.queries-expired")
        total += deleted
        if deleted.queries < AT_ONCE:
            break
    store.run(lambda session: session.execute(delete(Forgotten).where(Forgotten.at < now - LAST_ARRIVAL)))
    files = carry_out(store)
    strays = sweep(store, now)
    overwrite_log(store.engine)
    return Expiry(total, files, strays)


def sweep(store: Store, now: datetime | None = None) -> int:
    """Deletes recordings that no query has, once they are an hour old; how many.

    A crash between a recording and its query leaves them. Raises `StoreError`.
    """
    longest_wait = timedelta(seconds=2 * store.config.retry_s)
    before = (now or datetime.now(UTC)) - max(STRAY_AFTER, longest_wait)
    old = [stored.ref for stored in store.audio.list() if stored.at < before]
    removed = 0
    for refs in portions(old):
        with store.reading() as session:
            known = set(session.scalars(select(Query.audio_ref).where(Query.audio_ref.in_(refs))))
        removed += sum(store.audio.remove(ref) for ref in refs if ref not in known)
    return removed


def forget(store: Store, user: str, *, actor: str = "person", dry_run: bool = False) -> Forgetting:
    """Deletes all that is kept of a user, and says which bundles learned from it.

    Rows go in one transaction, then the files; a crash between the two leaves notes, and `expire` goes on from there.
    Queries of the user that a server has answered but not written yet are dropped when they come. Jobs that are
    learning from the user begin anew, without.

    Args:
        store: open.
        user: as the application names them.
        actor: who asked for it, for the audit trail, which does not say whom.
        dry_run: whether it is only counted.

    Raises:
        InputError: the name is empty.
        StoreError: the database fails; then nothing is deleted.
    """
    if not user:
        raise InputError("there is no user without a name; say whom to forget")
    user_hash = store.user_hash(user)
    if dry_run:
        with store.reading() as session:
            ids = _queries_of(session, user_hash)
            return Forgetting("", count_queries(session, ids), _bundles_of(session, user_hash), _jobs_on(session, ids))
    done = store.run(lambda session: _forget(session, user_hash, actor))
    crash_point("store.user-forgotten")
    files = carry_out(store)
    overwrite_log(store.engine)
    return Forgetting(done.id, done.deleted, done.bundles, done.jobs, files)


def _is_due(config: StoreConfig, now: datetime) -> ColumnElement[bool]:
    by_consent = [
        and_(Query.consent == consent, Query.at <= now - timedelta(days=config.days(consent)))
        for consent in ("transcript", "audio")
    ]
    return or_(Query.expires_at <= now, *by_consent)


def _expire_some(session: Session, due: ColumnElement[bool], actor: str) -> Deleted:
    ids = session.scalars(select(Query.id).where(due).order_by(Query.expires_at).limit(AT_ONCE)).all()
    if not ids:
        return Deleted()
    expiry = secrets.token_hex(16)
    deleted = delete_queries(session, ids, actor, cause=expiry)
    audit.record(session, actor, "queries.expired", expiry, **_figures(deleted))
    return deleted


def _forget(session: Session, user_hash: str, actor: str) -> Forgetting:
    forgetting = secrets.token_hex(16)
    session.merge(Forgotten(user_hash=user_hash, at=datetime.now(UTC)))
    ids = _queries_of(session, user_hash)
    restarted = _jobs_on(session, ids)
    for job in restarted:
        jobs.restart(session, job, actor, cause=forgetting)
    bundles = _bundles_of(session, user_hash)
    session.execute(delete(BundleSource).where(BundleSource.user_hash == user_hash))
    deleted = delete_queries(session, ids, actor, cause=forgetting)
    audit.record(session, actor, "user.forgotten", forgetting, bundles=list(bundles), **_figures(deleted))
    for bundle in bundles:
        audit.record(session, actor, "bundle.user-forgotten", bundle, forgetting)
    session.flush()
    crash_point("store.user-deleted")
    return Forgetting(forgetting, deleted, bundles, restarted)


def _queries_of(session: Session, user_hash: str) -> Sequence[str]:
    return session.scalars(select(Query.id).where(Query.user_hash == user_hash).order_by(Query.at)).all()


def _bundles_of(session: Session, user_hash: str) -> tuple[str, ...]:
    return tuple(
        session.scalars(
            select(BundleSource.bundle).where(BundleSource.user_hash == user_hash).order_by(BundleSource.bundle)
        )
    )


def _jobs_on(session: Session, ids: Sequence[str]) -> tuple[str, ...]:
    """Open jobs that have copied some of these queries."""
    found: set[str] = set()
    for some in portions(ids):
        rows = select(TrainingRow.job_id).join(Job, Job.id == TrainingRow.job_id).distinct()
        found.update(session.scalars(rows.where(TrainingRow.query_id.in_(some), Job.status.in_(jobs.OPEN))))
    return tuple(sorted(found))


def _figures(deleted: Deleted) -> dict[str, Any]:
    return {name: value for name in deleted.__slots__ if (value := getattr(deleted, name))}
