"""The audit trail: what happened to what, and what led to it; from a query to the bundle that is served, and back.

::

    record(session, "learner", "name.proposed", name.id, cause=query.id, users=3)
    record(session, "learner", "job.queued", job.id, cause=name.id)
    record(session, "learner", "bundle.made", bundle, cause=job.id)
    record(session, "learner", "bundle.promoted", bundle, cause=bundle)
    for entry in trail(session, bundle): ...

An entry is written in the transaction of what it tells, so that neither is there without the other. Entries hold ids
and hashes, and no words of queries: they outlive the queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from asr.errors import InputError
from services.store.models import AuditEntry

MAX_ENTRIES = 2000
MIN_PREFIX = 4
_AT_ONCE = 500


def record(
    session: Session,
    actor: str,
    action: str,
    subject: str,
    cause: str = "",
    *,
    at: datetime | None = None,
    **details: Any,
) -> AuditEntry:
    """Adds an entry to the session's transaction.

    Args:
        session: open.
        actor: ``server``, ``learner``, or the name of who decided; at most 128 characters.
        action: what was done, as ``thing.done``; at most 64.
        subject: id or hash of what it was done to; at most 64.
        cause: id or hash of what led to it; empty if nothing did.
        at: when; now if None.
        details: figures and ids; JSON; no words of queries.

    Raises:
        InputError: one of them is empty or too long.
    """
    for what, value, longest in (("actor", actor, 128), ("action", action, 64), ("subject", subject, 64)):
        if not 0 < len(value) <= longest:
            raise InputError(f"an audit entry wants an {what} of 1 to {longest} characters, found {value[:80]!r}")
    if len(cause) > 64:
        raise InputError(f"an audit entry wants a cause of at most 64 characters, found {cause[:80]!r}")
    entry = AuditEntry(
        at=at or datetime.now(UTC), actor=actor, action=action, subject=subject, cause=cause, details=details
    )
    session.add(entry)
    return entry


def trail(session: Session, subject: str, *, limit: int = MAX_ENTRIES) -> list[AuditEntry]:
    """All entries that led to something, those about it, and those that it led to; oldest first.

    Causes are followed backwards from it (to the queries), and forwards (to bundles and promotions), but not down again
    from a cause: what else the same query led to is another story.

    Args:
        session: open.
        subject: id or hash, or the beginning of one, at least 4 characters.
        limit: entries at most; the search ends there, so that the nearest are kept.

    Raises:
        InputError: nothing begins so, or several things do.
    """
    start = find(session, subject)
    found: dict[int, AuditEntry] = {}
    for forwards in (False, True):
        seen, frontier = {start}, [start]
        while frontier and len(found) < limit:
            reached: set[str] = set()
            for ids in _portions(frontier):
                about = AuditEntry.subject.in_(ids)
                wanted = or_(about, AuditEntry.cause.in_(ids)) if forwards else about
                for entry in session.scalars(select(AuditEntry).where(wanted).order_by(AuditEntry.id)):
                    found[entry.id] = entry
                    reached.add(entry.subject if forwards else entry.cause)
            frontier = sorted(reached - seen - {""})
            seen.update(frontier)
    return sorted(found.values(), key=lambda entry: entry.id)[:limit]


def find(session: Session, prefix: str) -> str:
    """The one subject or cause that begins so; raises `InputError` if there is none or several."""
    if len(prefix) < MIN_PREFIX:
        raise InputError(f"{prefix!r} is too short to name something; give at least {MIN_PREFIX} characters of its id")
    begins = prefix.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") + "%"
    found: set[str] = set()
    for column in (AuditEntry.subject, AuditEntry.cause):
        found.update(session.scalars(select(column).where(column.like(begins, escape="\\")).distinct().limit(10)))
    if prefix in found or len(found) == 1:
        return prefix if prefix in found else found.pop()
    if not found:
        raise InputError(f"the audit trail knows nothing that begins with {prefix!r}")
    raise InputError(f"{prefix!r} could be {' or '.join(sorted(found)[:5])}; give more of it")


def _portions(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """Few enough for the parameters of one statement."""
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))
