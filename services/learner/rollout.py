"""A bundle that passed the gate on its way to all streams: a share of them first, then all, and back if it falls.

The steps rest on what the store and the registry say, never on memory: `advance` may be called by any worker at any
time, and after a crash the next call goes on. The registry is changed first and the store after it, and both changes
may be made twice. What is compared are the answers that users allowed to keep; where there are too few, time decides,
and the audit trail says so.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.faults import crash_point
from services.learner.job_config import RolloutConfig
from services.learner.names import set_status
from services.registry import Registry, Rollout
from services.store.database import Store
from services.store.models import AuditEntry, Job, LearnedBundle, Name, Query

LEARNER = "learner"
CANARY, LIVE, REFUSED, ROLLED_BACK, REPLACED = "canary", "live", "refused", "rolled back", "replaced"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle answered in a stretch of time.

    Attributes:
        confidences: of answers with words.
        empty: answers without a word.
    """

    confidences: tuple[float, ...]
    empty: int

    @property
    def count(self) -> int:
        return len(self.confidences) + self.empty


def answers(session: Session, bundle: str, since: datetime.datetime, until: datetime.datetime | None = None) -> Answers:
    """The answers of a bundle that were kept.

    Args:
        session: of the store.
        bundle: its hash, or the beginning of it.
        since: the first moment.
        until: the moment after the last; None for now.
    """
    chosen = select(Query.transcript, Query.confidence).where(Query.bundle.startswith(bundle[:12]), Query.at >= since)
    rows = session.execute(chosen.where(Query.at < until) if until else chosen).all()
    spoken = tuple(confidence for transcript, confidence in rows if transcript)
    return Answers(spoken, len(rows) - len(spoken))


def fallen(before: Answers, after: Answers, config: RolloutConfig) -> str:
    """Why the answers of one bundle are worse than those of another, in a sentence; empty if they are not, or few.

    Confidences are compared by Mann and Whitney's test (1947), shares of empty answers by Fisher's exact test.
    """
    if min(before.count, after.count) < config.min_queries:
        return ""
    alpha = config.alpha / 2
    rates = [each.empty / each.count for each in (before, after)]
    table = [[after.empty, after.count - after.empty], [before.empty, before.count - before.empty]]
    if rates[1] - rates[0] > config.max_empty_rise and scipy.stats.fisher_exact(table, "greater")[1] < alpha:
        return f"{rates[1]:.1%} of {after.count} answers are empty, {rates[0]:.1%} of {before.count} before"
    if before.confidences and after.confidences:
        means = [float(np.mean(each.confidences)) for each in (before, after)]
        test = scipy.stats.mannwhitneyu(after.confidences, before.confidences, alternative="less")
        if means[0] - means[1] > config.max_confidence_drop and test.pvalue < alpha:
            return (
                f"mean confidence is {means[1]:.2f} in {after.count} answers, {means[0]:.2f} in {before.count} before"
            )
    return ""


def begin(store: Store, registry: Registry, bundle: str, config: RolloutConfig, now: datetime.datetime) -> None:
    """Lets a bundle that passed the gate answer its first streams.

    Args:
        store: knows the bundle already.
        registry: has it.
        bundle: its hash.
        config: which share.
        now: when.
    """
    if config.canary_share:
        registry.set_rollout(Rollout(bundle[:12], config.canary_share))
        crash_point("rollout.trial-set")
    _note(store, bundle, CANARY, f"answers {config.canary_share:.0%} of the streams", now)


def advance(
    store: Store,
    registry: Registry,
    config: RolloutConfig,
    now: datetime.datetime,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Takes every bundle that is on its way one step further, if it is time.

    Args:
        store: what was answered, and what became of bundles.
        registry: what is served.
        config: how far and how fast.
        now: when.
        tell: told what was done, in a sentence.
    """
    for bundle in _in_state(store, CANARY):
        _judge_canary(store, registry, bundle, config, now, tell)
    for bundle in _in_state(store, LIVE):
        if now - bundle.changed_at <= datetime.timedelta(minutes=config.watch_minutes):
            _watch(store, registry, bundle, config, now, tell)


def _judge_canary(
    store: Store,
    registry: Registry,
    bundle: LearnedBundle,
    config: RolloutConfig,
    now: datetime.datetime,
    tell: Callable[[str], None],
) -> None:
    with store.reading() as session:
        before = answers(session, bundle.parent, bundle.changed_at)
        after = answers(session, bundle.hash, bundle.changed_at)
    why = fallen(before, after, config)
    waited = (now - bundle.changed_at) >= datetime.timedelta(minutes=config.canary_minutes)
    if why:
        registry.set_rollout(None)
        crash_point("rollout.trial-ended")
        _note(store, bundle.hash, REFUSED, f"fell as a canary: {why}", now)
        tell(f"bundle {bundle.hash[:12]} is not served: {why}")
    elif after.count >= config.canary_queries or waited or not config.canary_share:
        reason = f"held as a canary in {after.count} answers"
        registry.promote(bundle.hash[:12], reason)
        crash_point("rollout.promoted")
        registry.set_rollout(None)
        crash_point("rollout.trial-over")
        _made_live(store, bundle, reason, now)
        tell(f"bundle {bundle.hash[:12]} is live: {reason}")


def _watch(
    store: Store,
    registry: Registry,
    bundle: LearnedBundle,
    config: RolloutConfig,
    now: datetime.datetime,
    tell: Callable[[str], None],
) -> None:
    if registry.live() != bundle.hash[:12]:
        reason = registry.history()[-1].reason
        if reason.startswith(_fell(bundle)):  # a worker rolled it back and died before it could write that down
            _note(store, bundle.hash, ROLLED_BACK, reason, now)
        return  # or somebody has decided otherwise
    span = datetime.timedelta(minutes=config.watch_minutes)
    with store.reading() as session:
        before = answers(session, bundle.parent, bundle.changed_at - span, bundle.changed_at)
        after = answers(session, bundle.hash, bundle.changed_at)
    why = fallen(before, after, config)
    if not why:
        return
    registry.promote(bundle.parent[:12], f"{_fell(bundle)} {why}")
    crash_point("rollout.rolled-back")
    _note(store, bundle.hash, ROLLED_BACK, f"fell when live: {why}", now)
    tell(f"bundle {bundle.hash[:12]} is rolled back: {why}")


def _fell(bundle: LearnedBundle) -> str:
    """How the reason of a rollback begins, in the registry's history."""
    return f"{bundle.hash[:12]} fell when live:"


def _in_state(store: Store, status: str) -> Sequence[LearnedBundle]:
    with store.reading() as session:
        return session.scalars(select(LearnedBundle).where(LearnedBundle.status == status)).all()


def _note(store: Store, bundle: str, status: str, reason: str, now: datetime.datetime) -> None:
    """Writes down what became of a bundle; the names of one that is not served go back to where they were."""

    def work(session: Session) -> None:
        row = session.get_one(LearnedBundle, bundle)
        if row.status == status:
            return
        row.status, row.changed_at = status, now
        _audit(session, f"bundle.{status.replace(' ', '_')}", row, reason, now)
        if status == ROLLED_BACK:
            for name in session.scalars(select(Name).where(Name.bundle == bundle, Name.status == "learned")):
                name.bundle = ""
                set_status(session, name, "approved", actor=LEARNER, reason=reason, cause=bundle, now=now)

    store.run(work)


def _made_live(store: Store, bundle: LearnedBundle, reason: str, now: datetime.datetime) -> None:
    """Writes down that a bundle is live, and that it has learned its names."""

    def work(session: Session) -> None:
        row = session.get_one(LearnedBundle, bundle.hash)
        if row.status == LIVE:
            return
        for other in session.scalars(select(LearnedBundle).where(LearnedBundle.status == LIVE)):
            other.status, other.changed_at = REPLACED, now
        row.status, row.changed_at = LIVE, now
        _audit(session, "bundle.live", row, reason, now)
        job = session.get(Job, row.job_id) if row.job_id else None
        for name in session.scalars(select(Name).where(Name.id.in_(job.result.get("learned", []) if job else []))):
            if name.status == "approved":
                name.bundle = bundle.hash
                why = f"learned by bundle {bundle.hash[:12]}"
                set_status(session, name, "learned", actor=LEARNER, reason=why, cause=bundle.hash, now=now)

    store.run(work)


def _audit(session: Session, action: str, row: LearnedBundle, reason: str, now: datetime.datetime) -> None:
    details = {"reason": reason, "parent": row.parent}
    session.add(
        AuditEntry(at=now, actor=LEARNER, action=action, subject=row.hash, cause=row.job_id or "", details=details)
    )
