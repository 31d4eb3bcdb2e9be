"""New entries of the catalogue against what was heard before they came.

A server matches a span with the catalogue as it stands when the span is heard. What is imported later is compared here,
a batch of entries at a time, with the newest spans that no entry explains: by sound alone, since the acoustics are
gone. Spans that an entry explains already, or whose users said what they meant, are left as they are.

`read` and `match` work outside of the transaction that writes what they found, because comparing takes long.
"""

from __future__ import annotations

import datetime
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from asr.unknown import Catalogue, Entity, UnknownSpan
from asr.unknown.types import Spelling
from services.learner.config import LearnerConfig
from services.store.models import CatalogueEntity, Feedback, Query, Span

SETTLES = datetime.timedelta(seconds=20)
"""An import is taken up so long after it: until then servers may answer, and write, by the catalogue of before."""
_SAID = ("accepted", "corrected", "chosen", "retried")
_KEPT = 10
"""Proposals of a span, as many as a server keeps."""
_AT_ONCE = 500
Proposals: TypeAlias = Mapping[int, list[dict[str, Any]]]
"""As `Span.proposals` has them, by the span's id."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be compared.

    Attributes:
        ids: of the new entries.
        entities: those of them that may be names, and those that the spans' old proposals are.
        new: texts of the former.
        spans: by id.
    """

    ids: tuple[int, ...]
    entities: tuple[Entity, ...]
    new: frozenset[str]
    spans: Mapping[int, UnknownSpan]


def read(session: Session, config: LearnerConfig, blocked: Container[str], now: datetime.datetime) -> Batch | None:
    """The next new entries, with the spans that they are to be compared with; None if there is no new one.

    Args:
        session: of the store; it is only read.
        config: how many of either at a time, how old a span may be, and from when on an entry explains it.
        blocked: entries that are no names.
        now: the time.
    """
    chosen = (
        select(CatalogueEntity)
        .where(CatalogueEntity.matched.is_(False), CatalogueEntity.at <= now - SETTLES)
        .order_by(CatalogueEntity.id)
        .limit(config.cluster.batch)
    )
    rows = session.scalars(chosen).all()
    if not rows:
        return None
    new = {row.name: Entity(row.name, row.kind, row.weight) for row in rows if row.name not in blocked}
    spans = _unexplained(session, config, now) if new else []
    before = {str(each["name"]) for span in spans for each in span.proposals} - new.keys()
    old = [Entity(name, "", weight) for name, weight in _weights(session, sorted(before)).items()]
    return Batch(
        tuple(row.id for row in rows),
        (*new.values(), *old),
        frozenset(new),
        {span.id: _as_heard(span) for span in spans},
    )


def match(batch: Batch, explains: float) -> Proposals:
    """New proposals of the spans that a new entry explains.

    Args:
        batch: from `read`.
        explains: probability from which an entry explains a span.
    """
    if not batch.spans:
        return {}
    catalogue = Catalogue(batch.entities)
    found: dict[int, list[dict[str, Any]]] = {}
    for key, span in batch.spans.items():
        proposals = catalogue.propose(span, _KEPT)
        if proposals and proposals[0].name in batch.new and proposals[0].probability >= explains:
            found[key] = [
                {"name": each.name, "distance": each.distance, "probability": each.probability} for each in proposals
            ]
    return found


def strike_out(session: Session, batch: Batch) -> bool:
    """Marks a batch's entries as compared; whether they still were not (another worker may have done it meanwhile)."""
    open_ = CatalogueEntity.id.in_(batch.ids), CatalogueEntity.matched.is_(False)
    if session.scalar(select(func.count()).where(*open_)) != len(batch.ids):
        return False
    session.execute(update(CatalogueEntity).where(*open_).values(matched=True))
    return True


def rows(session: Session, proposals: Proposals) -> list[tuple[Span, Query]]:
    """The spans that have new proposals, with their queries; not those that are gone, or explained, by now."""
    found: list[tuple[Span, Query]] = []
    ids = sorted(proposals)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        chosen = select(Span, Query).join(Query, Query.id == Span.query_id).where(Span.query_id.not_in(_explained()))
        found += [(s, q) for s, q in session.execute(chosen.where(Span.id.in_(some)))]
    return found


def _unexplained(session: Session, config: LearnerConfig, now: datetime.datetime) -> list[Span]:
    """The newest spans that no entry explains and no user did, of queries whose mentions still count."""
    chosen = (
        select(Span)
        .join(Query, Query.id == Span.query_id)
        .where(
            Query.at > now - datetime.timedelta(days=config.promotion.window_days),
            Query.role == "live",
            Span.clustered.is_(True),
            Span.score >= config.evidence.min_score,
            Span.query_id.not_in(_explained()),
        )
        .order_by(Query.at.desc(), Span.id.desc())
        .limit(config.cluster.spans)
    )
    explains = config.cluster.catalogue
    return [
        span for span in session.scalars(chosen)
        if span.spellings and not any(float(each["probability"]) >= explains for each in span.proposals[:1])
    ]  # fmt: skip


def _explained() -> Select[str]:
    """Queries whose users said what they meant."""
    return select(Feedback.query_id).where(Feedback.kind.in_(_SAID))


def _weights(session: Session, names: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for start in range(0, len(names), _AT_ONCE):
        some = CatalogueEntity.name.in_(names[start : start + _AT_ONCE])
        found.update(session.execute(select(CatalogueEntity.name, CatalogueEntity.weight).where(some)).all())
    return found


def _as_heard(span: Span) -> UnknownSpan:
    spellings = tuple(Spelling(str(each["text"]), float(each["log_prob"])) for each in span.spellings)
    heard, before, after = (tuple(text.split()) for text in (span.heard, span.before, span.after))
    return UnknownSpan(span.start_s, span.end_s, heard, before, after, spellings, span.phones, span.score)
