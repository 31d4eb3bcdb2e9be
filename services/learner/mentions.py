"""Mentions of names in the store: found by query, moved from one name to another, and what waits to become one."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.store.models import CatalogueEntity, Feedback, Mention, Name, Span


def of_queries(session: Session, queries: Collection[str]) -> dict[str, list[Mention]]:
    """The mentions in some queries, by query."""
    found: dict[str, list[Mention]] = {}
    for mention in session.scalars(select(Mention).where(Mention.query_id.in_(queries)).order_by(Mention.id)):
        found.setdefault(mention.query_id, []).append(mention)
    return found


def spelled_apart(one: Name, other: Name) -> bool:
    """Whether catalogue or users say that these are two names that only sound alike."""
    return one.source != "heard" and other.source != "heard" and one.text != other.text


def absorb(session: Session, kept: Name, gone: Name) -> None:
    """Gives all mentions of one name to another, and deletes it."""
    there = set(session.scalars(select(Mention.query_id).where(Mention.name_id == kept.id)))
    for mention in session.scalars(select(Mention).where(Mention.name_id == gone.id)).all():
        if mention.query_id in there:
            session.delete(mention)
        else:
            mention.name_id = kept.id
    session.flush()
    session.delete(gone)
    session.flush()


def waiting(session: Session) -> tuple[int, int]:
    """How many spans, and how many pieces of feedback, were not looked at yet."""
    spans = select(func.count()).select_from(Span).where(Span.clustered.is_(False))
    feedback = select(func.count()).select_from(Feedback).where(Feedback.handled.is_(False))
    return session.scalar(spans) or 0, session.scalar(feedback) or 0


def entities_waiting(session: Session) -> int:
    """How many entries of the catalogue were not compared with what was heard before they came."""
    new = select(func.count()).select_from(CatalogueEntity).where(CatalogueEntity.matched.is_(False))
    return session.scalar(new) or 0
