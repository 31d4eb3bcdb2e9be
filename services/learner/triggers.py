"""When names are learned for good: a job is queued by their number, a trend, a drift, the schedule, or a person."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.learner import alarms, names
from services.learner.config import FloodConfig, TriggerConfig
from services.learner.promotion import ACTOR
from services.store import jobs
from services.store.database import lock
from services.store.models import Job, Name

KIND = "learn"
_FLOOD = FloodConfig()
Cause = Literal["count", "trend", "drift", "schedule", "person"]


@dataclass(frozen=True, slots=True)
class Decision:
    """That something is to be learned now.

    Attributes:
        cause: what triggers it.
        reason: in words, without words of queries.
        names: to learn, those with most users first.
        causes: ids of what led to it, beside the names.
        held: approved names that wait on, for their last job failed or there are too many.
    """

    cause: Cause
    reason: str
    names: tuple[str, ...]
    causes: tuple[str, ...] = ()
    held: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The names that could be learned now."""

    names: Sequence[Name]
    held: int


def decide(  # noqa: PLR0911 (a list of cases)
    session: Session, config: TriggerConfig, now: datetime.datetime, flood: FloodConfig = _FLOOD
) -> Decision | None:
    """Whether something is to be learned, and why; None if not, or if a job is under way or was a moment ago.

    Reads the store only. Of several triggers the first counts: drift, trend, count, schedule.

    Args:
        session: of the store.
        config: what is a trigger.
        now: the time.
        flood: which mentions count in a trend.
    """
    recent = _jobs(session)
    if any(job.status in jobs.OPEN for job in recent):
        return None
    last = max((job.created_at for job in recent), default=None)
    if last is not None and now - last < datetime.timedelta(hours=config.min_interval_h):
        return None
    waiting = _waiting(session, recent, config, now)
    ids = tuple(name.id for name in waiting.names[: config.max_names])
    held = waiting.held + max(0, len(waiting.names) - len(ids))
    if not ids:
        return None
    for alarm in _since(session, config, last):
        return Decision("drift", f"drift: {alarm.told}", ids, (alarm.figure,), held)
    if (rising := _rising(session, waiting.names, config, now, flood)) is not None:
        reason = f"trend: a name was heard {rising[0]:.1f} times as often as in the week before, by {rising[1]} users"
        return Decision("trend", reason, ids, (), held)
    if config.count and len(waiting.names) >= config.count:
        return Decision("count", f"count: {len(waiting.names)} approved names wait", ids, (), held)
    since = last or min(name.changed_at for name in waiting.names)
    if config.schedule_h and now - since >= datetime.timedelta(hours=config.schedule_h):
        hours = (now - since).total_seconds() / 3600
        reason = f"schedule: {len(waiting.names)} approved names wait, and {hours:.0f} hours passed"
        return Decision("schedule", reason, ids, (), held)
    return None


def pull(session: Session, config: TriggerConfig, now: datetime.datetime, flood: FloodConfig = _FLOOD) -> Job | None:
    """Queues a job if `decide` says so; the caller commits. The job and the audit trail tell the reason.

    A drift while no name waits queues nothing: names are all that a job learns, and those of before would be learned
    once more. It is written down as one that a person has to look at.
    """
    lock(session, "triggers")
    decision = decide(session, config, now, flood)
    if decision is not None:
        return _queue(session, decision, ACTOR, now)
    recent = _jobs(session)
    if not any(job.status in jobs.OPEN for job in recent) and not _waiting(session, recent, config, now).names:
        for alarm in _since(session, config, max((job.created_at for job in recent), default=None)):
            alarms.leave_to_person(session, alarm, now)
    return None


def request(
    session: Session, keys: Collection[str], *, actor: str, now: datetime.datetime, max_names: int = 50
) -> Job | None:
    """Queues a job because a person wants it; the caller commits.

    Args:
        session: of the store.
        keys: names by id or text, approved or learned; none takes all approved ones.
        actor: who asks.
        now: when.
        max_names: at most so many; those with most users first.

    Returns:
        The job; None if there is nothing to learn, or an open job does it already.

    Raises:
        NotFoundError: a name that is not known.
    """
    if keys:
        wanted = [names.find_name(session, key) for key in keys]
    else:
        wanted = list(session.scalars(select(Name).where(Name.status == "approved").order_by(*_MOST_USERS)))
    if not wanted:
        return None
    ids = tuple(dict.fromkeys(name.id for name in wanted))
    decision = Decision("person", f"person: {actor} asked", ids[:max_names], (), max(0, len(ids) - max_names))
    return _queue(session, decision, actor, now)


_MOST_USERS = (Name.users.desc(), Name.mentions.desc(), Name.id)


def _rising(
    session: Session, waiting: Sequence[Name], config: TriggerConfig, now: datetime.datetime, flood: FloodConfig
) -> tuple[float, int] | None:
    """The steepest trend among the names that wait, with its users of the last day; None if none is a trigger.

    What stands with a name is as old as its last mention, so where that would be enough it is taken anew.
    """
    if not config.trend:
        return None
    perhaps = [name for name in waiting if name.trend >= config.trend and name.users >= config.trend_users]
    found = [names.trend_of(session, name.id, now, flood) for name in perhaps]
    return max((each for each in found if each[0] >= config.trend and each[1] >= config.trend_users), default=None)


def _since(session: Session, config: TriggerConfig, last: datetime.datetime | None) -> list[alarms.Alarm]:
    """Open alarms about figures that are triggers, raised since the last job."""
    found = [alarm for alarm in alarms.open_alarms(session) if alarm.figure in config.drift]
    return [alarm for alarm in found if last is None or alarm.raised_at > last]


def _queue(session: Session, decision: Decision, actor: str, now: datetime.datetime) -> Job | None:
    params: Mapping[str, Any] = {
        "names": list(decision.names),
        "trigger": {"cause": decision.cause, "reason": decision.reason, "held": decision.held},
    }
    job = jobs.enqueue(session, KIND, params, actor=actor, causes=decision.causes)
    if job is not None:
        job.created_at = job.changed_at = now
    return job


def _jobs(session: Session) -> Sequence[Job]:
    return session.scalars(select(Job).where(Job.kind == KIND).order_by(Job.created_at, Job.id)).all()


def _waiting(session: Session, recent: Sequence[Job], config: TriggerConfig, now: datetime.datetime) -> _Waiting:
    """Approved names, most users first, less those whose jobs failed too often or too short a while ago.

    A job that is done has failed for the names that are approved still: its bundle was refused, or they were lost.
    """
    failures: Counter[str] = Counter()
    last: dict[str, datetime.datetime] = {}
    for job in recent:
        if job.status in ("done", "failed"):
            for name in job.params.get("names", ()):
                failures[name] += 1
                last[name] = job.changed_at
    approved = session.scalars(select(Name).where(Name.status == "approved").order_by(*_MOST_USERS)).all()
    patience = datetime.timedelta(hours=config.retry_h)
    ready = [
        name for name in approved
        if failures[name.id] < config.max_attempts and (name.id not in last or now - last[name.id] >= patience)
    ]  # fmt: skip
    return _Waiting(ready, len(approved) - len(ready))
