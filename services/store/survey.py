"""What a store holds, counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.store import migrate
from services.store.database import Store
from services.store.models import (
    AuditEntry,
    Base,
    CatalogueEntity,
    Feedback,
    Job,
    LearnedBundle,
    Name,
    Query,
    Removal,
    Span,
)


@dataclass(frozen=True, slots=True)
class Survey:
    """Figures of a store.

    Attributes:
        store: the database, without its password.
        audio: where recordings lie.
        revision: of the tables.
        encrypted: whether what is written is encrypted.
        queries: by consent.
        users: with queries.
        recordings: files in the audio store.
        audio_mb: megabytes that they take.
        oldest: time of the oldest query, or None.
        next_expiry: when the next query expires, or None.
        overdue: queries that are past their time and not deleted yet.
        to_remove: files that are noted to go.
        spans, feedback, entities, audit: how many.
        names, jobs, bundles: by status.
    """

    store: str
    audio: str
    revision: str
    encrypted: bool
    queries: dict[str, int]
    users: int
    recordings: int
    audio_mb: float
    oldest: datetime | None
    next_expiry: datetime | None
    overdue: int
    to_remove: int
    spans: int
    feedback: int
    entities: int
    audit: int
    names: dict[str, int]
    jobs: dict[str, int]
    bundles: dict[str, int]


def survey(store: Store, now: datetime | None = None) -> Survey:
    """Counts what a store holds; raises `StoreError`."""
    now = now or datetime.now(UTC)
    files = list(store.audio.list())
    with store.reading() as session:
        return Survey(
            store=store.name,
            audio=store.audio.url,
            revision=migrate.current(store.engine),
            encrypted=store.cipher is not None and store.cipher.encrypts,
            queries=_by(session, Query.consent),
            users=session.scalar(select(func.count(Query.user_hash.distinct()))) or 0,
            recordings=len(files),
            audio_mb=round(sum(file.size for file in files) / 1e6, 3),
            oldest=session.scalar(select(func.min(Query.at))),
            next_expiry=session.scalar(select(func.min(Query.expires_at))),
            overdue=session.scalar(select(func.count()).select_from(Query).where(Query.expires_at <= now)) or 0,
            to_remove=_count(session, Removal),
            spans=_count(session, Span),
            feedback=_count(session, Feedback),
            entities=_count(session, CatalogueEntity),
            audit=_count(session, AuditEntry),
            names=_by(session, Name.status),
            jobs=_by(session, Job.status),
            bundles=_by(session, LearnedBundle.status),
        )


def _count(session: Session, table: type[Base]) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def _by(session: Session, column: InstrumentedAttribute[Any]) -> dict[str, int]:
    return {str(value): count for value, count in session.execute(select(column, func.count()).group_by(column))}
