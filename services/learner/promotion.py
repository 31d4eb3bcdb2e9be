"""A name's way from watched to approved, as far as its mentions carry it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Container

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.learner import names
from services.learner.config import LearnerConfig
from services.learner.weigh import Said, Weight, judge, weigh
from services.store.models import Mention, Name, Span

ACTOR = "learner"
OPEN = ("watched", "proposed")
"""Statuses in which a name's spelling follows what is heard; others belong to a person or a bundle."""
_MENTIONS = 2000
"""Newest mentions of a name that are weighed; thresholds are far below."""
_KNOWN_WEIGHT = 0.1
"""Of a spelling in known words, against one that is not."""
_STEPS: tuple[names.Status, ...] = ("proposed", "approved")


def weight_of(
    session: Session,
    name: Name,
    config: LearnerConfig,
    blocked: Container[str],
    known: Container[str],
    now: datetime.datetime,
) -> Weight | None:
    """What the mentions of a name weigh at a time; None if there are none in the window.

    Args:
        session: of the store.
        name: whose.
        config: thresholds and windows.
        blocked: catalogue entries that are not to be proposed.
        known: words that the recogniser knows: spellings of nothing else say little.
        now: the window begins so long before it.
    """
    since = now - datetime.timedelta(days=config.promotion.window_days)
    rows = session.execute(
        select(Mention, Span)
        .outerjoin(Span, Span.id == Mention.span_id)
        # Not only up to now: a query that was answered since the turn began is weighed in it or never.
        .where(Mention.name_id == name.id, Mention.at > since)
        .order_by(Mention.at.desc(), Mention.query_id)
        .limit(_MENTIONS)
    ).all()
    said = [_said(mention, span, config, blocked, known) for mention, span in rows]
    return weigh(said, config.flood, config.promotion, config.cluster) if said else None


def promote(
    session: Session,
    name: Name,
    weight: Weight,
    config: LearnerConfig,
    now: datetime.datetime,
    known: Callable[[str], str] = lambda _: "",
) -> list[names.Status]:
    """Moves an open name on as far as its weight carries, never back; returns the statuses that it came to.

    Each step is an entry of the audit trail with the figures that carried it, caused by the newest query.
    """
    verdict = judge(weight, config.flood, config.promotion, known)
    wanted = names.STATUSES.index(verdict.status)
    steps = [step for step in _STEPS if names.STATUSES.index(name.status) < names.STATUSES.index(step) <= wanted]
    if not steps:
        if name.status == verdict.status:
            name.reason = verdict.reason
        return []
    figures = {
        "counted": weight.mentions,
        "counted_users": weight.users,
        "score": round(weight.score, 3),
        "burst_share": round(weight.burst_share, 3),
        "hours": round(weight.hours, 1),
        "catalogue_users": weight.entity_users,
        "feedback_users": weight.written_users,
        "spelled_by": weight.source,
    }
    newest = select(Mention.query_id).where(Mention.name_id == name.id).order_by(Mention.at.desc(), Mention.query_id)
    cause = session.scalars(newest.limit(1)).first() or ""
    for step in steps:
        names.set_status(session, name, step, actor=ACTOR, reason=verdict.reason, cause=cause, details=figures, now=now)
    return steps


def _said(
    mention: Mention, span: Span | None, config: LearnerConfig, blocked: Container[str], known: Container[str]
) -> Said:
    written = mention.source == "feedback" or span is None
    proposal = ""
    if span is not None and span.proposals:
        best = span.proposals[0]
        if float(best["probability"]) >= config.cluster.catalogue and best["name"] not in blocked:
            proposal = str(best["name"])
    spellings = [
        (text, math.exp(float(each["log_prob"])) * (_KNOWN_WEIGHT if all(w in known for w in text.split()) else 1.0))
        for each in ([] if span is None or written else span.spellings[:2])
        for text in [str(each["text"])]
    ]
    return Said(
        at=mention.at,
        user=mention.user_hash,
        key=mention.query_id,
        spellings=tuple(spellings) or ((mention.spelling, 1.0),),
        feedback=mention.source == "feedback",
        score=1.0 if written or span is None else span.score,
        proposal=proposal,
        context="" if span is None else " ".join([*span.before.split()[-1:], "_", *span.after.split()[:1]]),
    )
