"""The queue of jobs: each is done by one worker at a time, and by another if that one dies.

A worker claims a job for some seconds (its lease) and renews that while it works. A lease that ran out may be claimed
again, up to a number of attempts. Whatever a worker says about a job is refused with `LeaseLostError` once the job is
not its own any more, so that a worker that was only slow does no harm. ``job.stage`` is the last stage that was
finished: the next worker goes on behind it; an empty one means from the beginning.

::

    job = store.run(lambda s: jobs.claim(s, "worker-1", 60.0))
    ...
    with store.session() as session:          # the stage's results and that it is done: together or not at all
        session.add(LearnedBundle(...))
        job = jobs.stage_done(session, job, "trained", {"bundle": digest})
    with store.session() as session:
        jobs.finish(session, job, {"verdict": ...})

A job that copies recordings of queries keeps them as `services.store.copies` says. When a user is forgotten whom an
open job learns from, it begins anew: its stage is empty again, and its worker loses it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from services.faults import crash_point
from services.store import audit
from services.store.database import lock
from services.store.errors import LeaseLostError
from services.store.models import Job

OPEN = ("queued", "running")
MAX_ATTEMPTS = 3


def enqueue(
    session: Session,
    kind: str,
    params: Mapping[str, Any],
    *,
    actor: str = "learner",
    causes: Iterable[str] = (),
) -> Job | None:
    """Adds a job, unless open jobs of its kind do the same already.

    Names that an open job has are left out; a job without names is the same as another without names.

    Args:
        session: open; the job is there when it is committed.
        kind: such as ``learn``.
        params: what to do; ``params["names"]`` are ids of `Name`.
        actor: for the audit trail.
        causes: ids of what led to it, beside the names.

    Returns:
        The new job; None if open jobs have it all.
    """
    lock(session, "jobs")
    names = list(dict.fromkeys(params.get("names", ())))
    others = session.scalars(select(Job).where(Job.kind == kind, Job.status.in_(OPEN))).all()
    taken = {name for job in others for name in job.params.get("names", ())}
    left = [name for name in names if name not in taken]
    if (names and not left) or (not names and any(not job.params.get("names") for job in others)):
        return None
    now = datetime.now(UTC)
    job = Job(
        id=secrets.token_hex(16),
        kind=kind,
        status="queued",
        params={**params, **({"names": left} if names else {})},
        stage="",
        result={},
        error="",
        attempts=0,
        worker="",
        lease_until=None,
        created_at=now,
        changed_at=now,
    )
    session.add(job)
    for cause in dict.fromkeys([*left, *causes]) or [""]:
        audit.record(session, actor, "job.queued", job.id, cause, kind=kind)
    return job


def claim(
    session: Session,
    worker: str,
    lease_s: float,
    *,
    kinds: Sequence[str] = ("learn",),
    max_attempts: int = MAX_ATTEMPTS,
    now: datetime | None = None,
) -> Job | None:
    """Takes the oldest job that waits, or whose worker let its lease run out; None if there is none.

    Args:
        session: open; the job is the worker's when it is committed.
        worker: its name.
        lease_s: how long it may work without `renew`.
        kinds: of jobs that it can do.
        max_attempts: a job that was taken so often has failed.
        now: the time; None for the clock's.
    """
    now = now or datetime.now(UTC)
    ready = or_(Job.status == "queued", and_(Job.status == "running", Job.lease_until < now))
    waiting = select(Job).where(Job.kind.in_(kinds), ready).order_by(Job.created_at, Job.id).limit(1)
    while job := session.scalars(waiting.with_for_update(skip_locked=True)).first():
        if job.attempts >= max_attempts:
            reason = f"given up after {job.attempts} attempts: its workers stopped without a word"
            _end(session, job, "failed", worker, reason)
            session.flush()
            continue
        job.status = "running"
        job.attempts += 1
        # One claim cannot be taken for another of the same worker.
        job.worker = f"{worker[:110]}/{secrets.token_hex(8)}"
        job.lease_until = now + timedelta(seconds=lease_s)
        job.changed_at = now
        audit.record(session, worker, "job.claimed", job.id, job.id, attempt=job.attempts, stage=job.stage)
        session.flush()
        crash_point("store.job-claimed")
        return job
    return None


def renew(session: Session, job: Job, lease_s: float, *, now: datetime | None = None) -> Job:
    """Lengthens the lease; raises `LeaseLostError`."""
    held = _held(session, job)
    held.lease_until = (now or datetime.now(UTC)) + timedelta(seconds=lease_s)
    return held


def stage_done(session: Session, job: Job, stage: str, result: Mapping[str, Any] | None = None) -> Job:
    """Says that a stage is finished, and adds to what the job made; raises `LeaseLostError`."""
    held = _held(session, job)
    held.stage = stage
    held.result = {**held.result, **(result or {})}
    held.changed_at = datetime.now(UTC)
    return held


def finish(session: Session, job: Job, result: Mapping[str, Any] | None = None) -> Job:
    """Says that the job is done; raises `LeaseLostError`."""
    held = _held(session, job)
    held.result = {**held.result, **(result or {})}
    return _end(session, held, "done", _name(held.worker))


def fail(session: Session, job: Job, error: str, *, again: bool = False, max_attempts: int = MAX_ATTEMPTS) -> Job:
    """Says that the job failed.

    Args:
        session: open.
        job: as it was claimed.
        error: one sentence.
        again: whether it may be tried again from the stage it reached, if attempts are left.
        max_attempts: as for `claim`.

    Raises:
        LeaseLostError: it is not the worker's any more.
    """
    held = _held(session, job)
    worker = _name(held.worker)
    if again and held.attempts < max_attempts:
        audit.record(session, worker, "job.requeued", held.id, held.id, attempt=held.attempts)
        return _requeue(held, error)
    return _end(session, held, "failed", worker, error)


def stop(session: Session, job_id: str, actor: str, reason: str = "") -> bool:
    """Stops an open job, whoever has it; its worker learns of it by `LeaseLostError`. Whether it was open."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.status not in OPEN:
        return False
    _end(session, job, "stopped", actor, reason)
    return True


def restart(session: Session, job_id: str, actor: str, *, cause: str = "") -> bool:
    """Makes an open job begin anew, because what it learned from is gone; whether it was open."""
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.status not in OPEN:
        return False
    audit.record(session, actor, "job.restarted", job.id, cause or job.id, stage=job.stage)
    job.attempts = max(0, job.attempts - (job.status == "running"))
    job.stage = ""
    job.result = {}
    _requeue(job, "")
    return True


def _held(session: Session, job: Job) -> Job:
    """The job as it stands, if it is still as it was claimed."""
    worker = job.worker
    found = session.get(Job, job.id, with_for_update=True, populate_existing=True)
    if found is None or found.status != "running" or found.worker != worker:
        status = found.status if found else ""
        what = "was given to another worker" if status == "running" else f"is {status or 'gone'}"
        raise LeaseLostError(f"job {job.id[:8]} {what}", status)
    return found


def _requeue(job: Job, error: str) -> Job:
    job.status, job.worker, job.lease_until, job.error = "queued", "", None, error
    job.changed_at = datetime.now(UTC)
    return job


def _end(session: Session, job: Job, status: str, actor: str, error: str = "") -> Job:
    job.status, job.error, job.worker, job.lease_until = status, error, "", None
    job.changed_at = datetime.now(UTC)
    audit.record(session, actor, f"job.{status}", job.id, job.id, stage=job.stage)
    return job


def _name(worker: str) -> str:
    """A worker's name without the mark of its claim."""
    return worker.rpartition("/")[0] or worker
