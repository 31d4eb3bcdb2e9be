"""A simulated month of traffic: when a new name and noise are noticed, what a flood does, what alarms on nothing.

Time is simulated, everything else is real: a store on disk, the noticer, the monitor, the triggers, hour by hour. Users
ask at rates that are heavy-tailed (log-normal), with a rhythm of day and week; each has a habitual place, quiet or a
car, and each query is drawn from real recognitions (`services.learner.simulate_pool`) at that noise. Planted on days
of the user's choice: a name that becomes popular, a shift into noise, and one user who repeats a name for days.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from sqlalchemy import insert, select

from asr.errors import ConfigError
from services.learner.config import LearnerConfig
from services.learner.simulate_pool import PLAIN, Pool, Recognised
from services.learner.watch import Watcher
from services.store.database import Store
from services.store.models import AuditEntry, Feedback, Job, Mention, Name, Query, Span

START = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
"""A Monday."""
HOUR = datetime.timedelta(hours=1)
# Share of a day's queries in each hour, UTC: few at night, most in the evening.
_HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 7, 8, 6, 5, 5, 6, 6, 5, 5, 6, 8, 9, 9, 8, 7, 5, 3], float)
_WEEK = (1.0, 1.0, 1.02, 1.03, 1.1, 0.9, 0.85)
_CAR_WEEKEND = 0.85
Day = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SimulateConfig:
    """Traffic and what is planted in it; a planted thing with no day does not happen.

    Attributes:
        days: to simulate.
        queries_a_day: on average.
        users: who ask.
        spread: sigma of the log-normal of users' rates.
        car_share: of the users, who mostly ask in a car.
        seed: of everything.
        name: that becomes popular, one of the pool's; empty: the first.
        name_day: from when.
        name_first: its queries on the first day.
        name_growth: factor from day to day.
        name_most: most of its queries in a day.
        corrected: share of the answers to it that users correct.
        noise_day: from when there is more noise.
        noise_share: of the quiet queries that then are in a car.
        flood_day: from when one user repeats a name, the pool's last.
        flood_days: for how long.
        flood_a_day: queries of that user.
    """

    days: Annotated[int, Field(ge=1, le=366)] = 30
    queries_a_day: Annotated[int, Field(ge=24, le=1_000_000)] = 1000
    users: Annotated[int, Field(ge=10, le=1_000_000)] = 800
    spread: Annotated[float, Field(ge=0, le=3)] = 1.2
    car_share: Share = 0.3
    seed: Annotated[int, Field(ge=0)] = 0
    name: str = ""
    name_day: Day | None = 12.0
    name_first: Annotated[float, Field(gt=0)] = 4.0
    name_growth: Annotated[float, Field(gt=0, le=10)] = 1.6
    name_most: Annotated[float, Field(gt=0)] = 80.0
    corrected: Share = 0.1
    noise_day: Day | None = 20.0
    noise_share: Share = 0.4
    flood_day: Day | None = 6.0
    flood_days: Day = 3.0
    flood_a_day: Annotated[int, Field(ge=1)] = 300

    def nothing(self, seed: int) -> SimulateConfig:
        """The same traffic without anything planted, with another seed."""
        from dataclasses import replace

        return replace(self, name_day=None, noise_day=None, flood_day=None, seed=seed)


@dataclass(slots=True)
class Outcome:
    """What came of a simulated month; times are hours since the planted thing began, None if it never happened.

    Attributes:
        config: of the simulation.
        queries, spans: in all.
        name: planted name, and `text` what it is called in the end.
        name_watched_h, name_proposed_h, name_approved_h, name_job_h: from its first query; watched: first mentioned.
        name_mentions: queries with it until it was proposed.
        noise_alarm_h: until the first alarm after the noise began; `noise_figures` all that were raised then.
        false_alarms: alarms before the noise began, or all without noise: figure and day.
        false_names: names proposed or approved that were not planted: text, status, users, reason.
        flood_status: what the flooded name came to: ``watched`` is right.
        jobs: by trigger.
        names: by status in the end.
        passed: spans and feedback that were passed over, by reason.
        hours: figures of each hour, for the picture.
        seconds: that it took, processor time of this process.
    """

    config: SimulateConfig
    queries: int = 0
    spans: int = 0
    name: str = ""
    text: str = ""
    name_watched_h: float | None = None
    name_proposed_h: float | None = None
    name_approved_h: float | None = None
    name_job_h: float | None = None
    name_mentions: int = 0
    noise_alarm_h: float | None = None
    noise_figures: list[str] = field(default_factory=list)
    false_alarms: list[dict[str, Any]] = field(default_factory=list)
    false_names: list[dict[str, Any]] = field(default_factory=list)
    flood_status: str = ""
    jobs: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    hours: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


class Traffic:
    """Draws the queries of one hour after the other.

    Args:
        config: what happens.
        pool: to draw from.
    """

    def __init__(self, config: SimulateConfig, pool: Pool) -> None:
        names = list(pool.names)
        needed = (config.name_day is not None) + (config.flood_day is not None)
        if len(names) < needed or (config.name and config.name not in names):
            have = ", ".join(names) or "none"
            raise ConfigError(f"the pool of recognitions has the names {have}; {needed} are wanted; see --measure")
        self.config = config
        self.name = config.name or (names[0] if names else "")
        self.flood = next((name for name in reversed(names) if name != self.name), "")
        self._pool = pool
        self._rng = rng = np.random.default_rng(config.seed)
        rates = rng.lognormal(0.0, config.spread, config.users)
        self._users = rates / rates.sum()
        self._in_car = rng.random(config.users) < config.car_share
        self._noisy = [level for level in pool.plain if level is not None]

    def hour(self, number: int) -> list[tuple[datetime.datetime, str, Recognised]]:
        """The queries of an hour since the start, in order of time: when, by whom, what."""
        at, day, rng = START + number * HOUR, number / 24, self._rng
        weekday = at.weekday()
        rhythm = _HOURS[at.hour] / _HOURS.sum() * _WEEK[weekday]
        found = [self._plain(day, weekday) for _ in range(rng.poisson(self.config.queries_a_day * rhythm))]
        found += [self._named(day, weekday) for _ in range(rng.poisson(self._name_rate(day) * rhythm))]
        flood = self.config.flood_day
        if flood is not None and flood <= day < flood + self.config.flood_days:
            items = self._items(self._pool.names[self.flood], quiet=True)
            pick = rng.poisson(self.config.flood_a_day / 24)
            found += [("flooder", items[int(rng.integers(len(items)))]) for _ in range(pick)]
        seconds = np.sort(rng.uniform(0, 3600, len(found)))
        order = rng.permutation(len(found))
        return [
            (at + datetime.timedelta(seconds=float(second)), *found[place])
            for second, place in zip(seconds, order, strict=True)
        ]

    def _name_rate(self, day: float) -> float:
        first = self.config.name_day
        if first is None or day < first:
            return 0.0
        grown = self.config.name_first * self.config.name_growth ** math.floor(day - first)
        return min(self.config.name_most, grown)

    def _user(self) -> int:
        return int(self._rng.choice(len(self._users), p=self._users))

    def _quiet(self, user: int, day: float, weekday: int) -> bool:
        usual = 0.7 if self._in_car[user] else 0.05
        car = usual * (_CAR_WEEKEND if weekday >= 5 else 1.0)
        if self.config.noise_day is not None and day >= self.config.noise_day:
            car += (1 - car) * self.config.noise_share
        return bool(self._rng.random() >= car)

    def _plain(self, day: float, weekday: int) -> tuple[str, Recognised]:
        user = self._user()
        items = self._items(self._pool.plain, quiet=self._quiet(user, day, weekday))
        return f"user {user}", items[int(self._rng.integers(len(items)))]

    def _named(self, day: float, weekday: int) -> tuple[str, Recognised]:
        user = self._user()
        items = self._items(self._pool.names[self.name], quiet=self._quiet(user, day, weekday))
        return f"user {user}", items[int(self._rng.integers(len(items)))]

    def _items(self, levels: Any, *, quiet: bool) -> Sequence[Recognised]:
        level = None if quiet else self._noisy[int(self._rng.integers(len(self._noisy)))]
        items: Sequence[Recognised] = levels[level]
        return items


def simulate(
    config: SimulateConfig,
    pool: Pool,
    learner: LearnerConfig,
    folder: Path,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Runs a month in a new store.

    Args:
        config: what happens.
        pool: recognitions to draw from.
        learner: thresholds of what watches.
        folder: for the store; must not hold one.
        report: called with hours done, of how many.
    """
    began = time.process_time()
    path = folder / f"simulate-{config.seed}.db"
    if path.exists():
        raise ConfigError(f"{path}: there is a store already; a simulated month wants a new one")
    store = Store.open(f"sqlite:///{path}", key=bytes(32))
    try:
        outcome = _run(config, pool, learner, store, report)
    finally:
        store.close()
    outcome.seconds = round(time.process_time() - began, 1)
    return outcome


def _run(
    config: SimulateConfig, pool: Pool, learner: LearnerConfig, store: Store, report: Callable[[int, int], None]
) -> Outcome:
    traffic = Traffic(config, pool)
    watcher = Watcher(store, learner, pool.known, pool.perplexity)
    outcome = Outcome(config, name=traffic.name if config.name_day is not None else "")
    rng = np.random.default_rng([config.seed, 1])
    named: list[datetime.datetime] = []
    groups: dict[str, str] = {}
    alarms: list[tuple[datetime.datetime, str]] = []
    for number in range(config.days * 24):
        heard = traffic.hour(number)
        groups |= _write(store, heard, rng, config, traffic.name)
        named += [at for at, _, item in heard if config.name_day is not None and item.group == traffic.name]
        now = START + (number + 1) * HOUR
        turn = watcher.turn(now)
        alarms += [(now, alarm.figure) for alarm in turn.alarms]
        if turn.job:
            outcome.jobs[turn.cause] = outcome.jobs.get(turn.cause, 0) + 1
            _finish(store, now)
        outcome.queries += len(heard)
        outcome.spans += sum(len(item.spans) for _, _, item in heard)
        outcome.hours.append(_figures(heard))
        report(number + 1, config.days * 24)
    _judge_names(store, traffic, outcome, groups, named)
    _judge_alarms(config, outcome, alarms)
    outcome.passed = dict(watcher.noticed.passed)
    return outcome


def _write(
    store: Store,
    heard: Sequence[tuple[datetime.datetime, str, Recognised]],
    rng: np.random.Generator,
    config: SimulateConfig,
    name: str,
) -> dict[str, str]:
    """What the query log would write, and corrections of some answers to the name; the groups of those with a name."""
    queries, spans, feedback = [], [], []
    groups = {}
    for place, (at, user, item) in enumerate(heard):
        key = hashlib.sha256(f"{config.seed} {at.isoformat()} {place}".encode()).hexdigest()[:32]
        queries.append(
            {
                "id": key, "at": at, "user_hash": hashlib.sha256(user.encode()).hexdigest(), "consent": "transcript",
                "owner": "", "transcript": item.transcript, "confidence": item.confidence, "nbest": [],
                "words": item.words, "bundle": "simulated", "role": "live", "audio_s": item.audio_s,
                "snr_db": item.snr_db, "latency_s": 0.1, "audio_ref": "",
                "expires_at": at + datetime.timedelta(days=400),
            }
        )  # fmt: skip
        if item.group != PLAIN:
            groups[key] = item.group
        spans += [{**span, "query_id": key, "proposals": [], "clustered": False} for span in item.spans]
        if item.group == name and user != "flooder" and rng.random() < config.corrected:
            feedback.append({"query_id": key, "at": at, "kind": "corrected", "text": item.said, "handled": False})
    with store.session() as session:
        for table, rows in ((Query, queries), (Span, spans), (Feedback, feedback)):
            if rows:
                session.execute(insert(table), rows)
    return groups


def _finish(store: Store, now: datetime.datetime) -> None:
    """Takes a job for done at once, and its names for learned: how well they are learned is not simulated."""
    from services.learner import names

    with store.session() as session:
        for job in session.scalars(select(Job).where(Job.status == "queued")).all():
            job.status, job.changed_at = "done", now
            for key in job.params["names"]:
                name = session.get(Name, key)
                if name is not None:
                    names.set_status(session, name, "learned", actor="simulation", cause=job.id, now=now)


def _figures(heard: Sequence[tuple[datetime.datetime, str, Recognised]]) -> dict[str, float]:
    snr = [item.snr_db for _, _, item in heard if item.snr_db is not None]
    return {
        "queries": len(heard),
        "snr_db": round(float(np.mean(snr)), 2) if snr else 0.0,
        "confidence": round(float(np.mean([item.confidence for _, _, item in heard])), 3) if heard else 0.0,
        "unknown": sum(bool(item.spans) for _, _, item in heard),
        "named": sum(item.group != PLAIN for _, _, item in heard),
    }


def _judge_names(
    store: Store, traffic: Traffic, outcome: Outcome, groups: dict[str, str], named: Sequence[datetime.datetime]
) -> None:
    """Says what came of the names; a name belongs to what most of its mentions were drawn from."""
    with store.reading() as session:
        found = session.scalars(select(Name).order_by(Name.first_at, Name.id)).all()
        votes: dict[str, Counter[str]] = {}
        noticed: list[datetime.datetime] = []
        for key, query, at in session.execute(select(Mention.name_id, Mention.query_id, Mention.at)):
            votes.setdefault(key, Counter())[groups.get(query, PLAIN)] += 1
            noticed += [at] if groups.get(query) == outcome.name else []
        trail = select(AuditEntry).where(AuditEntry.action.like("name.%")).order_by(AuditEntry.id.desc())
        steps = {(entry.subject, entry.action): entry.at for entry in session.scalars(trail)}
    outcome.names = dict(Counter(name.status for name in found))
    of = {name.id: votes[name.id].most_common(1)[0][0] if name.id in votes else "" for name in found}
    own = [name for name in found if outcome.name and of[name.id] == outcome.name]
    flooded = [name for name in found if traffic.flood and of[name.id] == traffic.flood]
    if flooded:
        outcome.flood_status = max((name.status for name in flooded), key=_STEPS.index)
    if own and named:
        best = max(own, key=lambda name: (_STEPS.index(name.status), name.users, name.id))
        outcome.text = best.text

        def after(action: str) -> float | None:
            times = [steps[(name.id, action)] for name in own if (name.id, action) in steps]
            return round((min(times) - named[0]).total_seconds() / 3600, 1) if times else None

        # It may have joined a name that was watched for something else, misheard alike, since before.
        outcome.name_watched_h = round((min(noticed) - named[0]).total_seconds() / 3600, 1)
        outcome.name_proposed_h = after("name.proposed")
        outcome.name_approved_h, outcome.name_job_h = after("name.approved"), after("name.learned")
        proposed = steps.get((best.id, "name.proposed"))
        outcome.name_mentions = sum(at <= proposed for at in named) if proposed else len(named)
    outcome.false_names = [
        {"text": name.text, "status": name.status, "users": name.users, "reason": name.reason}
        for name in found
        if name.status != "watched" and name not in own
    ]


_STEPS = ("rejected", "watched", "proposed", "approved", "learned")


def _judge_alarms(config: SimulateConfig, outcome: Outcome, alarms: Sequence[tuple[datetime.datetime, str]]) -> None:
    began = None if config.noise_day is None else START + datetime.timedelta(days=config.noise_day)
    for at, figure in alarms:
        if began is None or at <= began:
            outcome.false_alarms.append({"figure": figure, "day": round((at - START).total_seconds() / 86_400, 2)})
        else:
            outcome.noise_figures.append(figure)
            if outcome.noise_alarm_h is None:
                outcome.noise_alarm_h = round((at - began).total_seconds() / 3600, 1)
