"""Queries with unknown words, written into a store as the query log would."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.store.models import Feedback, Query, Span

T0 = datetime.datetime(2026, 1, 5, 8, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
KNOWN = frozenset(
    ["who", "is", "call", "play", "the", "cow", "all", "chick", "an", "old", "oil", "a", "ran", "anna", "pharmacy"]
)


def query_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def hear(
    session: Session,
    number: int,
    *spellings: str,
    user: str = "",
    at: datetime.datetime | None = None,
    transcript: str = "who is cow all chick",
    score: float = 0.8,
    proposals: Sequence[tuple[str, float]] = (),
    **more: object,
) -> Query:
    """A query of user ``user`` (one of its own by default) half an hour after the one before, with a span."""
    at = at or T0 + number * HOUR / 2
    fields = {
        "consent": "transcript", "confidence": 0.6, "nbest": [], "words": [], "bundle": "b", "audio_s": 2.0,
        "snr_db": 20.0, "latency_s": None, "expires_at": at + datetime.timedelta(days=90), **more,
    }  # fmt: skip
    query = Query(
        id=query_id(number),
        at=at,
        user_hash=user or f"user {number}",
        transcript=transcript,
        **fields,  # type: ignore[arg-type]
    )
    session.add(query)
    session.flush()
    if spellings:
        shares = [0.6, 0.3, 0.1][: len(spellings)]
        session.add(
            Span(
                query_id=query.id, start_s=0.5, end_s=1.5, heard=transcript,
                before=("who is", "play", "call")[number % 3], after="", phones="",
                spellings=[
                    {"text": text, "log_prob": math.log(share / sum(shares))}
                    for text, share in zip(spellings, shares, strict=True)
                ],
                score=score, proposals=[{"name": n, "distance": 0.1, "probability": p} for n, p in proposals],
            )
        )  # fmt: skip
    return query


def say(session: Session, number: int, kind: str, text: str = "", at: datetime.datetime | None = None) -> None:
    """Feedback on a query that is there."""
    when = at or T0 + number * HOUR / 2 + datetime.timedelta(seconds=20)
    session.add(Feedback(query_id=query_id(number), at=when, kind=kind, text=text))
