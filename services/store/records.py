"""Queries as a server hands them in, and how a batch of them becomes rows: all in one transaction, or none."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from asr.audio import Samples
from services.faults import crash_point
from services.store.database import Store
from services.store.errors import StoreError
from services.store.models import Forgotten, Query, Span

if TYPE_CHECKING:
    from asr.unknown.types import Proposal, UnknownSpan

log = logging.getLogger("dengar.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRecord:
    """A query as a server answered it; the fields are those of `services.store.models.Query`.

    Attributes:
        id: random, as the answer carried it: 32 hexadecimal digits (`secrets.token_hex(16)`).
        at: when it was answered, with its zone.
        user: who asked, as the application names them; only its keyed hash is kept.
        consent: ``transcript`` or ``audio``; anything else keeps nothing.
        transcript: the best hypothesis.
        confidence: of it.
        nbest: [{"text", "confidence"}], best first.
        words: [{"word", "start_s", "end_s", "confidence"}] of the best hypothesis.
        bundle: hash of what answered.
        audio_s: seconds heard.
        owner: name of the API key; empty where there are none.
        role: ``live`` or ``candidate``.
        snr_db: estimated, or None.
        latency_s: from half-close or endpoint to the final result, or None.
    """

    id: str
    at: datetime
    user: str = field(repr=False)
    consent: str
    transcript: str = field(repr=False)
    confidence: float
    nbest: Sequence[Mapping[str, Any]] = field(repr=False)
    words: Sequence[Mapping[str, Any]] = field(repr=False)
    bundle: str
    audio_s: float
    owner: str = ""
    role: str = "live"
    snr_db: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """Something unknown in a query, and the names of the catalogue that it may be, best first."""

    span: UnknownSpan
    proposals: tuple[Proposal, ...] = ()


@dataclass(slots=True)
class Waiting:
    """A query between `QueryLog.put` and the database.

    Attributes:
        record: the query.
        user_hash: of its user.
        audio: what is to be kept of it, or None.
        spans: in it.
        put_at: when, by the monotonic clock.
        audio_ref: where its audio was written; empty as long as it was not.
        audio_failed: whether that was in vain.
    """

    record: QueryRecord
    user_hash: str
    audio: Samples | None
    spans: tuple[SpanRecord, ...]
    put_at: float
    audio_ref: str = ""
    audio_failed: bool = False

    @property
    def size(self) -> int:
        """Bytes of audio that it holds."""
        return 0 if self.audio is None else self.audio.nbytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was written of a batch.

    Attributes:
        forgotten: ids of queries that were not, because their users were forgotten after they had asked.
    """

    forgotten: frozenset[str]


def write(store: Store, batch: Sequence[Waiting]) -> Outcome:
    """Writes queries with their audio; may be called again with the same ones after it failed.

    The audio comes first: a crash before the rows are committed leaves recordings without a query, which
    `services.store.retention.sweep` deletes, and never a query whose recording is missing.

    Raises:
        StoreError: the database fails. If the audio store does, queries are written without audio.
        sqlalchemy.exc.IntegrityError: something in them cannot be stored.
    """
    for waiting in batch:
        if waiting.audio is not None and not waiting.audio_ref and not waiting.audio_failed:
            try:
                waiting.audio_ref = store.audio.put(waiting.audio)
            except StoreError as error:
                waiting.audio_failed = True
                log.warning("a query is written without its audio: %s", error)
    crash_point("store.audio-written")
    forgotten = store.run(lambda session: _insert(session, store, batch))
    crash_point("store.queries-committed")
    for waiting in batch:
        if waiting.record.id in forgotten and waiting.audio_ref:
            try:
                store.audio.remove(waiting.audio_ref)
            except StoreError as error:
                log.warning("the sweep has to delete a recording: %s", error)
    return Outcome(forgotten)


def _insert(session: Session, store: Store, batch: Sequence[Waiting]) -> frozenset[str]:
    """Adds rows for what is not there yet; returns the ids of those whose users were forgotten."""
    ids = [waiting.record.id for waiting in batch]
    there = set(session.scalars(select(Query.id).where(Query.id.in_(ids))))
    hashes = {waiting.user_hash for waiting in batch}
    cut_off = {
        row.user_hash: row.at for row in session.scalars(select(Forgotten).where(Forgotten.user_hash.in_(hashes)))
    }
    forgotten = set()
    for waiting in batch:
        record = waiting.record
        if waiting.user_hash in cut_off and record.at <= cut_off[waiting.user_hash]:
            forgotten.add(record.id)
        elif record.id not in there:
            session.add(_query(waiting, store))
    session.flush()  # the queries before their spans
    for waiting in batch:
        if waiting.record.id not in forgotten and waiting.record.id not in there:
            session.add_all(_span(waiting.record.id, span) for span in waiting.spans)
    session.flush()
    crash_point("store.queries-inserted")
    return frozenset(forgotten)


def _query(waiting: Waiting, store: Store) -> Query:
    record = waiting.record
    return Query(
        id=record.id,
        at=record.at,
        user_hash=waiting.user_hash,
        consent=record.consent,
        owner=record.owner,
        transcript=record.transcript,
        confidence=record.confidence,
        nbest=[dict(each) for each in record.nbest],
        words=[dict(each) for each in record.words],
        bundle=record.bundle,
        role=record.role,
        audio_s=record.audio_s,
        snr_db=record.snr_db,
        latency_s=record.latency_s,
        audio_ref=waiting.audio_ref,
        expires_at=record.at + timedelta(days=store.config.days(record.consent)),
    )


def _span(query_id: str, record: SpanRecord) -> Span:
    span = record.span
    return Span(
        query_id=query_id,
        start_s=span.start_s,
        end_s=span.end_s,
        heard=" ".join(span.heard),
        before=" ".join(span.before),
        after=" ".join(span.after),
        spellings=[{"text": each.text, "log_prob": each.log_prob} for each in span.spellings],
        phones=span.phones,
        score=span.score,
        proposals=[
            {"name": each.name, "distance": each.distance, "probability": each.probability} for each in record.proposals
        ],
        clustered=False,
    )
