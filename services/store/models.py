"""The tables. Times are UTC; texts are spoken forms (a-z, apostrophe, space); JSON columns say what they hold.

What hangs on a query (spans, mentions, feedback, training rows) is deleted with it. What was learned from it is not
undone by that, so `BundleSource` keeps which bundles learned from which user's hash, until the user is forgotten.

Columns of `EncryptedText` and `EncryptedJson` hold what users said: they are encrypted if the store is, and so can be
read, but not searched, grouped or ordered by in SQL.
"""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from services.store.encryption import EncryptedJson, EncryptedText


class UtcDateTime(TypeDecorator[datetime.datetime]):
    """A time in UTC, aware in Python whatever the database makes of it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Any) -> datetime.datetime | None:  # noqa: ARG002
        if value is not None and value.tzinfo is None:
            raise ValueError("times in the store carry their zone; give datetime.now(datetime.UTC)")
        return value.astimezone(datetime.UTC) if value else None

    def process_result_value(self, value: datetime.datetime | None, dialect: Any) -> datetime.datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)


class Base(DeclarativeBase):
    """All tables. Constraints have names, so that a migration can change them on either database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime.datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


def _query_key() -> Any:
    return mapped_column(ForeignKey("queries.id", ondelete="CASCADE"), index=True)


class Query(Base):
    """A query that its user allowed to keep.

    Attributes:
        id: random, as the answer carried it.
        at: when it was answered.
        user_hash: keyed hash of the user.
        consent: ``transcript`` or ``audio``.
        owner: name of the API key that it came with; empty where there are none. Only that caller may give feedback.
        transcript: the best hypothesis.
        confidence: of it.
        nbest: [{"text", "confidence"}], best first.
        words: [{"word", "start_s", "end_s", "confidence"}] of the best hypothesis.
        bundle: hash of what answered.
        role: ``live`` or ``candidate``.
        audio_s: seconds heard.
        snr_db: estimated; None where it could not be.
        latency_s: from half-close or endpoint to the final result; None where nobody waited.
        audio_ref: where its audio lies in the audio store; empty if it is not kept.
        expires_at: when it must be gone.
    """

    __tablename__ = "queries"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime.datetime] = mapped_column(index=True)
    user_hash: Mapped[str] = mapped_column(String(64), index=True)
    consent: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str] = mapped_column(String(64), default="")
    transcript: Mapped[str] = mapped_column(EncryptedText)
    confidence: Mapped[float] = mapped_column(Float)
    nbest: Mapped[list[Any]] = mapped_column(EncryptedJson)
    words: Mapped[list[Any]] = mapped_column(EncryptedJson)
    bundle: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16), default="live")
    audio_s: Mapped[float] = mapped_column(Float)
    snr_db: Mapped[float | None] = mapped_column(Float)
    latency_s: Mapped[float | None] = mapped_column(Float)
    audio_ref: Mapped[str] = mapped_column(String(256), default="", index=True)
    expires_at: Mapped[datetime.datetime] = mapped_column(index=True)


class Span(Base):
    """Where a query holds something that the recogniser does not know (`asr.unknown.UnknownSpan`).

    Attributes:
        heard, before, after: words, joined by spaces.
        spellings: [{"text", "log_prob"}], best first.
        phones: of the best spelling.
        score: probability that it is unknown.
        proposals: [{"name", "distance", "probability"}] from the catalogue, best first.
        clustered: whether it was looked at for candidates.
    """

    __tablename__ = "spans"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    query_id: Mapped[str] = _query_key()
    start_s: Mapped[float] = mapped_column(Float)
    end_s: Mapped[float] = mapped_column(Float)
    heard: Mapped[str] = mapped_column(EncryptedText)
    before: Mapped[str] = mapped_column(EncryptedText, default="")
    after: Mapped[str] = mapped_column(EncryptedText, default="")
    spellings: Mapped[list[Any]] = mapped_column(EncryptedJson)
    phones: Mapped[str] = mapped_column(EncryptedText, default="")
    score: Mapped[float] = mapped_column(Float)
    proposals: Mapped[list[Any]] = mapped_column(EncryptedJson)
    clustered: Mapped[bool] = mapped_column(default=False, index=True)


class Feedback(Base):
    """What a client said of a query.

    Attributes:
        kind: ``corrected``, ``chosen``, ``retried``, ``accepted`` or ``abandoned``.
        text: the words, or the id of the query that followed.
        handled: whether it was looked at for candidates.
    """

    __tablename__ = "feedback"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    query_id: Mapped[str] = _query_key()
    at: Mapped[datetime.datetime]
    kind: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(EncryptedText, default="")
    handled: Mapped[bool] = mapped_column(default=False, index=True)


class CatalogueEntity(Base):
    """A name that is known to exist: a contact, an artist, a place, a trending search.

    Attributes:
        matched: whether it was compared with what had been heard before it came.
    """

    __tablename__ = "entities"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(256), unique=True)
    kind: Mapped[str] = mapped_column(String(64), default="")
    source: Mapped[str] = mapped_column(String(64), default="")
    weight: Mapped[float] = mapped_column(Float, default=1.0)
    at: Mapped[datetime.datetime]
    matched: Mapped[bool] = mapped_column(default=False, server_default=false(), index=True)


class Name(Base):
    """A candidate name and what became of it.

    Attributes:
        id: random.
        text: best spelling so far.
        status: ``watched``, ``proposed``, ``approved``, ``learned`` or ``rejected``.
        spellings: other likely spellings, best first.
        misheard: what a bundle wrote for the name as machines say it, best first; None until it was tried.
        phones: how it sounds.
        source: ``heard``, ``feedback``, ``catalogue`` or ``person``.
        mentions, users: how often it was heard, and by how many users; counted anew from `Mention` when one comes.
        trend: mentions that count in the last day, over their daily mean in the week before.
        reason: why it has the status.
        bundle: hash of the bundle that learned it; empty if none did.
        first_at, last_at: when it was heard first and last.
        changed_at: when its status changed.
    """

    __tablename__ = "names"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    text: Mapped[str] = mapped_column(String(256), index=True)
    status: Mapped[str] = mapped_column(String(16), index=True)
    spellings: Mapped[list[Any]]
    misheard: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    phones: Mapped[str] = mapped_column(Text, default="")
    source: Mapped[str] = mapped_column(String(16))
    mentions: Mapped[int] = mapped_column(Integer, default=0)
    users: Mapped[int] = mapped_column(Integer, default=0)
    trend: Mapped[float] = mapped_column(Float, default=0.0)
    reason: Mapped[str] = mapped_column(Text, default="")
    bundle: Mapped[str] = mapped_column(String(64), default="")
    first_at: Mapped[datetime.datetime]
    last_at: Mapped[datetime.datetime]
    changed_at: Mapped[datetime.datetime]


class Mention(Base):
    """That a query seems to hold a name.

    Attributes:
        spelling: as it was heard, or as the user wrote it.
        source: ``span`` or ``feedback``.
        distance: from the name, by sound.
    """

    __tablename__ = "mentions"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    name_id: Mapped[str] = mapped_column(ForeignKey("names.id", ondelete="CASCADE"), index=True)
    query_id: Mapped[str] = _query_key()
    span_id: Mapped[int | None] = mapped_column(ForeignKey("spans.id", ondelete="CASCADE"))
    at: Mapped[datetime.datetime] = mapped_column(index=True)
    user_hash: Mapped[str] = mapped_column(String(64))
    spelling: Mapped[str] = mapped_column(EncryptedText)
    source: Mapped[str] = mapped_column(String(16))
    distance: Mapped[float] = mapped_column(Float, default=0.0)
    __table_args__ = (UniqueConstraint("name_id", "query_id"),)


class Job(Base):
    """A piece of work for `dengar learn run`.

    Attributes:
        id: random.
        kind: ``learn``.
        status: ``queued``, ``running``, ``done``, ``failed`` or ``stopped``.
        params: what to do, such as {"names": [ids], "trigger": ...}.
        stage: the last one that was finished.
        result: what was made: {"bundle", "verdict", ...}.
        error: one sentence, where it failed.
        attempts: how often a worker took it.
        worker: who has it, and `lease_until` when others may take it.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), index=True)
    params: Mapped[dict[str, Any]]
    stage: Mapped[str] = mapped_column(String(32), default="")
    result: Mapped[dict[str, Any]]
    error: Mapped[str] = mapped_column(Text, default="")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    worker: Mapped[str] = mapped_column(String(128), default="")
    lease_until: Mapped[datetime.datetime | None]
    created_at: Mapped[datetime.datetime] = mapped_column(index=True)
    changed_at: Mapped[datetime.datetime]


class TrainingRow(Base):
    """A consented query whose audio a job copied, to train on it or to hand it out; deleted with it, as is the copy.

    Where copies lie is a convention of `services.store.jobs`.

    Attributes:
        text: what it was taken to say.
        source: whose words these are, such as ``hypothesis`` or ``feedback``.
    """

    __tablename__ = "training_rows"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    query_id: Mapped[str] = _query_key()
    text: Mapped[str] = mapped_column(EncryptedText)
    source: Mapped[str] = mapped_column(String(32))


class LearnedBundle(Base):
    """A bundle that a job made.

    Attributes:
        hash: of it.
        parent: hash of the bundle it was made from.
        status: ``candidate``, ``refused``, ``canary``, ``live``, ``rolled back`` or ``replaced``.
        verdict: of the gate.
    """

    __tablename__ = "bundles"
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    parent: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(String(16))
    verdict: Mapped[dict[str, Any]]
    created_at: Mapped[datetime.datetime]
    changed_at: Mapped[datetime.datetime]


class BundleSource(Base):
    """Whose queries a bundle learned from, so that forgetting a user can name it."""

    __tablename__ = "bundle_sources"
    bundle: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_hash: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)


class AuditEntry(Base):
    """A step of the loop: what led to what. Never changed; holds ids and hashes, no words of queries.

    Attributes:
        actor: ``server``, ``learner``, or who decided.
        action: such as ``name.proposed``, ``name.approved``, ``job.queued``, ``bundle.gated``, ``bundle.promoted``.
        subject: id or hash of what it happened to.
        cause: id or hash of what led to it.
        details: further figures.
    """

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[datetime.datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64), index=True)
    cause: Mapped[str] = mapped_column(String(64), default="", index=True)
    details: Mapped[dict[str, Any]]


class Window(Base):
    """Figures of the traffic of a stretch of time, for monitoring (`services.learner.monitor`).

    Attributes:
        at: its beginning.
        seconds: its length.
        figures: counts, sums and histograms by name.
    """

    __tablename__ = "windows"
    at: Mapped[datetime.datetime] = mapped_column(primary_key=True)
    seconds: Mapped[int] = mapped_column(Integer, primary_key=True)
    figures: Mapped[dict[str, Any]]


class Removal(Base):
    """A file that is to go: noted in the transaction that deletes its record, struck out when the file is gone.

    Attributes:
        kind: ``audio`` of the audio store, or ``copy`` in the folder of a job.
        ref: name in the audio store, or the path of the copy.
    """

    __tablename__ = "removals"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    ref: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime.datetime]


class Forgotten(Base):
    """That a user was forgotten a short while ago: what was said before and is written after is dropped.

    Deleted by `expire` when no query of that time can be under way any more.
    """

    __tablename__ = "forgotten"
    user_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime.datetime]


class Setting(Base):
    """What the store knows of itself: which keys it was written with."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[dict[str, Any]]


Index("mentions_of_name_in_time", Mention.name_id, Mention.at)
