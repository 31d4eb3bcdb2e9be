"""Alarms of drift: raised, kept open while it lasts, ended; each step an entry of the audit trail: their state.

``drift.raised``, ``drift.cleared`` (traffic is as before) and ``drift.adopted`` (it stayed as it is now, and that is
the reference from here on) have the figure as their subject. While an alarm is open the reference stays that of before,
and later the time of an alarm that was cleared belongs to no reference. ``drift.for-person`` says of an alarm that the
loop does nothing about it by itself.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.learner import drift
from services.learner.config import DriftConfig, MonitorConfig
from services.learner.monitor import FIGURES, window_start
from services.learner.promotion import ACTOR
from services.store import audit
from services.store.database import lock
from services.store.models import AuditEntry, Window

log = logging.getLogger("dengar.learner")
RAISED, CLEARED, ADOPTED = "drift.raised", "drift.cleared", "drift.adopted"
FOR_PERSON = "drift.for-person"
_MONTH_S = 30 * 86_400.0
_History = dict[datetime.datetime, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A figure that has moved.

    Attributes:
        id: of the entry in the audit trail.
        figure: name in `services.learner.monitor.FIGURES`.
        raised_at: when it was told.
        told: one sentence.
        change: the fields of `services.learner.drift.Change`.
    """

    id: int
    figure: str
    raised_at: datetime.datetime
    told: str
    change: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Past:
    """An alarm that was or is: `end` is None while it is open."""

    start: datetime.datetime
    end: datetime.datetime | None
    adopted: bool


def open_alarms(session: Session) -> list[Alarm]:
    """The alarms that are neither cleared nor adopted, oldest first."""
    last: dict[str, AuditEntry] = {}
    for entry in _entries(session):
        last[entry.subject] = entry
    found = [_alarm(entry) for entry in last.values() if entry.action == RAISED]
    return sorted(found, key=lambda alarm: (alarm.raised_at, alarm.id))


def leave_to_person(session: Session, alarm: Alarm, now: datetime.datetime) -> bool:
    """Writes down, once for an alarm, that a person has to look at it; whether that is new."""
    told = select(AuditEntry.id).where(AuditEntry.action == FOR_PERSON, AuditEntry.cause == str(alarm.id))
    if session.scalars(told.limit(1)).first() is not None:
        return False
    audit.record(session, ACTOR, FOR_PERSON, alarm.figure, str(alarm.id), at=now, told=alarm.told)
    log.warning(
        "drift: %s; no name waits, and nothing else is learned from it: a person has to look at it",
        alarm.told,
        extra={"figure": alarm.figure, "alarm": alarm.id},
    )
    return True


def check(session: Session, now: datetime.datetime, monitor: MonitorConfig, config: DriftConfig) -> list[Alarm]:
    """Compares the last hours with those before; raises and ends alarms; the caller commits.

    A check belongs to the window that ended last: to run it again changes nothing.

    Args:
        session: of the store, with its windows counted (`services.learner.monitor.update_windows`).
        now: the time.
        monitor: what is compared with what.
        config: what is an alarm.

    Returns:
        Alarms that are new.
    """
    lock(session, "drift")
    end = window_start(now, monitor.window_s)
    entries = _entries(session)
    past = _past(entries)
    if any(entry.at >= end for entry in entries):
        return []
    step = datetime.timedelta(seconds=monitor.window_s)
    looks = max(config.persistence, config.clear_checks)
    oldest = end - looks * step - datetime.timedelta(hours=monitor.current_h + 2 * monitor.reference_h)
    longest = max((now - one.start for ones in past.values() for one in ones if one.end is None), default=None)
    oldest -= longest or datetime.timedelta()
    rows = session.execute(
        select(Window.at, Window.figures).where(
            Window.seconds == monitor.window_s, Window.at >= oldest, Window.at < end
        )
    )
    history: _History = dict(rows.all())
    level = config.false_alarms_a_month * monitor.window_s / _MONTH_S
    checks = [look(history, end - back * step, monitor, config, past) for back in range(config.persistence)]
    opened = {figure: ones[-1] for figure, ones in past.items() if ones and ones[-1].end is None}
    new = []
    for figure, change in checks[0].items():
        lasting = all(figure in found and _is_alarm(found[figure], level) for found in checks)
        if figure not in opened and lasting:
            entry = audit.record(
                session, ACTOR, RAISED, figure, at=now, told=change.told(), change=_plain(asdict(change))
            )
            session.flush()
            new.append(_alarm(entry))
            log.warning("drift: %s", change.told(), extra={"figure": figure, "alarm": entry.id})
    for figure, one in opened.items():
        _end(session, figure, one, history, end, now, monitor, config, past)
    return new


def _end(
    session: Session,
    figure: str,
    one: _Past,
    history: _History,
    end: datetime.datetime,
    now: datetime.datetime,
    monitor: MonitorConfig,
    config: DriftConfig,
    past: Mapping[str, Sequence[_Past]],
) -> None:
    """Ends an open alarm if its figure is as before, or has been as it is for long."""
    if now - one.start >= datetime.timedelta(days=config.adopt_days):
        audit.record(session, ACTOR, ADOPTED, figure, at=now)
        log.warning("drift: %s stay as they are now", FIGURES[figure].about, extra={"figure": figure})
        return
    step = datetime.timedelta(seconds=monitor.window_s)
    ends = [end - back * step for back in range(config.clear_checks)]
    if ends[-1] <= one.start:
        return
    found = [look(history, each, monitor, config, past).get(figure) for each in ends]
    # Not as sure as to raise it: what still matters, likely, is not over.
    if all(change is not None and not (change.matters and change.p_value < 0.05) for change in found):
        audit.record(session, ACTOR, CLEARED, figure, at=now)
        log.warning("drift: %s are as before", FIGURES[figure].about, extra={"figure": figure})


def look(
    history: _History,
    end: datetime.datetime,
    monitor: MonitorConfig,
    config: DriftConfig,
    past: Mapping[str, Sequence[_Past]] | None = None,
) -> dict[str, drift.Change]:
    """All figures at a time against their references, corrected together.

    Args:
        history: figures of windows by their beginning.
        end: of the last window that is compared.
        monitor: what is compared with what.
        config: what matters.
        past: alarms that were or are, by figure: their times are in no reference.
    """
    current_from = end - datetime.timedelta(hours=monitor.current_h)
    current = [figures for at, figures in history.items() if current_from <= at < end]
    found: list[drift.Change] = []
    references: dict[tuple[tuple[datetime.datetime, ...]], list[drift.Change]] = {}
    for figure in FIGURES:
        times = _reference(history, current_from, monitor, (past or {}).get(figure, ()))
        if len(times) * monitor.window_s < monitor.min_reference_h * 3600:
            continue
        if (times,) not in references:
            references[(times,)] = drift.compare(
                current,
                [history[at] for at in times],
                [at.toordinal() for at in times],
                config,
                monitor.min_queries,
            )
        found += [change for change in references[(times,)] if change.figure == figure]
    return {change.figure: change for change in drift.corrected(found)}


def _reference(
    history: _History, before: datetime.datetime, monitor: MonitorConfig, past: Sequence[_Past]
) -> tuple[datetime.datetime, ...]:
    """The newest windows before a time that no alarm lay on, as many as a reference has."""
    reach = datetime.timedelta(hours=monitor.current_h)
    since = before - datetime.timedelta(hours=2 * monitor.reference_h)
    if past and past[-1].end is None:
        before = min(before, past[-1].start - reach)
        since = before - datetime.timedelta(hours=2 * monitor.reference_h)
    out = [(one.start - reach, one.end) for one in past if one.end is not None and not one.adopted]
    adopted = max((one.start for one in past if one.adopted), default=since)
    kept = [
        at for at in sorted(history)
        if max(since, adopted) <= at < before and not any(start <= at < end for start, end in out)
    ]  # fmt: skip
    return tuple(kept[-(monitor.reference_h * 3600 // monitor.window_s) :])


def _is_alarm(change: drift.Change, level: float) -> bool:
    return change.matters and change.adjusted < level


def _entries(session: Session) -> list[AuditEntry]:
    actions = (RAISED, CLEARED, ADOPTED)
    return list(session.scalars(select(AuditEntry).where(AuditEntry.action.in_(actions)).order_by(AuditEntry.id)))


def _past(entries: Sequence[AuditEntry]) -> dict[str, list[_Past]]:
    past: dict[str, list[_Past]] = {}
    for entry in entries:
        ones = past.setdefault(entry.subject, [])
        if entry.action == RAISED:
            ones.append(_Past(entry.at, None, adopted=False))
        elif ones:
            ones[-1] = _Past(ones[-1].start, entry.at, adopted=entry.action == ADOPTED)
    return past


def _alarm(entry: AuditEntry) -> Alarm:
    return Alarm(entry.id, entry.subject, entry.at, str(entry.details["told"]), entry.details["change"])


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}
