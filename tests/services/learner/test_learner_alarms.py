"""Windows, alarms that are raised once and end, the webhook against a real server, metrics, triggers."""

from __future__ import annotations

import datetime
import http.server
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import select

from asr.errors import ConfigError, NotFoundError
from services.learner import alarms, names, triggers
from services.learner.config import (
    DriftConfig,
    FloodConfig,
    LearnerConfig,
    MonitorConfig,
    TriggerConfig,
    WebhookConfig,
    load_learner_config,
)
from services.learner.metrics import LearnerCollector
from services.learner.monitor import measure_window, update_windows
from services.learner.watch import Watcher
from services.learner.webhook import Webhook, pending
from services.store import jobs
from services.store.database import Store
from services.store.models import AuditEntry, Job, Mention, Name, Window
from tests.services.learner.heard import HOUR, KNOWN, T0, hear

DAY = datetime.timedelta(days=1)
START = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
MONITOR, DRIFT = MonitorConfig(min_queries=100), DriftConfig()


def test_a_window_counts_what_is_in_it_and_little_of_one_user(store: Store) -> None:
    words = [{"word": "two", "start_s": 0.5, "end_s": 0.7}, {"word": "words", "start_s": 0.8, "end_s": 1.0}]
    with store.session() as session:
        for number in range(30):
            hear(session, number, at=T0 + number * HOUR / 60, user="mallory", transcript="")
        for number in range(30, 40):
            hear(session, number, "kovalchick", at=T0 + HOUR, transcript="two words", words=words, confidence=0.3)
        hear(session, 40, at=T0 + HOUR, role="candidate")
        hear(session, 41, at=T0 + 2 * HOUR)
    with store.reading() as session:
        first, second = (measure_window(session, at, MONITOR, lambda _: 4.6) for at in (T0, T0 + HOUR))
    assert (first["queries"], first["left_out"], first["rates"]["empty_rate"]) == (10, 20, 10)
    assert second["queries"] == 10
    assert second["rates"] == {"unknown_rate": 10, "rejected_rate": 10, "empty_rate": 0}
    assert sum(second["histograms"]["speaking_rate"]) == 10
    assert second["histograms"]["query_words"][2] == 10
    assert second["histograms"]["perplexity"].index(10) == 20  # log10 of e ** 4.6 is 2.0


def test_windows_are_counted_once_they_end_and_catch_up(store: Store) -> None:
    with store.session() as session:
        for number in range(9):
            hear(session, number, at=T0 + number * HOUR)
    assert store.run(lambda s: update_windows(s, T0 + 3.5 * HOUR, MONITOR)) == 3
    with store.session() as session:
        hear(session, 90, at=T0 + 2.9 * HOUR)
    assert store.run(lambda s: update_windows(s, T0 + 8.1 * HOUR, MONITOR)) == 6
    with store.reading() as session:
        counted = [(w.at, w.figures["queries"]) for w in session.scalars(select(Window).order_by(Window.at))]
    assert counted == [(T0 + n * HOUR, 2 if n == 2 else 1) for n in range(8)]


def fill(store: Store, days: range, snr_db: float, seed: int = 0) -> None:
    """Windows of traffic at an SNR."""
    from services.learner.monitor import Seen, count

    rng = np.random.default_rng(seed)
    with store.session() as session:
        for day in days:
            for hour in range(24):
                seen = [Seen("a word", 0.7, False, False, float(x), None, None) for x in rng.normal(snr_db, 5, 20)]
                session.add(Window(at=START + day * DAY + hour * HOUR, seconds=3600, figures=count(seen)))


def checked(store: Store, first: datetime.datetime, hours: int, config: DriftConfig = DRIFT) -> list[tuple[int, str]]:
    found = []
    for hour in range(hours):
        now = first + hour * HOUR + HOUR / 60
        found += [(hour, a.figure) for a in store.run(lambda s, at=now: alarms.check(s, at, MONITOR, config))]  # type: ignore[misc]
    return found


def test_an_alarm_is_raised_once_lasts_and_ends(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    fill(store, range(8), 20.0)
    fill(store, range(8, 11), 12.0, 1)
    fill(store, range(11, 16), 20.0, 2)
    with caplog.at_level(logging.WARNING, "dengar.learner"):
        raised = checked(store, START + 8 * DAY, 8 * 24)
    ((hour, figure),) = raised
    assert figure == "snr_db"
    assert 2 <= hour <= 14
    assert "signal-to-noise ratio fell" in caplog.text
    with store.reading() as session:
        assert alarms.open_alarms(session) == []
        trail = session.scalars(select(AuditEntry).where(AuditEntry.subject == "snr_db").order_by(AuditEntry.id)).all()
        assert [entry.action for entry in trail] == [alarms.RAISED, alarms.CLEARED]
        assert START + 11 * DAY < trail[1].at < START + 12.5 * DAY


def test_what_stays_becomes_the_reference(sqlite_store: Store) -> None:
    fill(sqlite_store, range(8), 20.0)
    fill(sqlite_store, range(8, 20), 12.0, 1)
    config = replace(DRIFT, adopt_days=8.0)
    assert len(checked(sqlite_store, START + 8 * DAY, 12 * 24, config)) == 1
    with sqlite_store.reading() as session:
        last = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
        assert last is not None
        assert last.action == alarms.ADOPTED


def test_a_check_is_repeatable(sqlite_store: Store) -> None:
    fill(sqlite_store, range(8), 20.0)
    fill(sqlite_store, range(8, 9), 10.0, 1)
    assert len(checked(sqlite_store, START + 9 * DAY, 1)) == 1
    assert checked(sqlite_store, START + 9 * DAY, 1) == []


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses that its server was told, and keeps what came."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))  # type: ignore[attr-defined]
        statuses = self.server.statuses  # type: ignore[attr-defined]
        status = statuses.pop(0) if statuses else 204
        if status == 0:  # hangs up without an answer
            return
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.statuses = [], []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def raise_alarm(store: Store, at: datetime.datetime = T0) -> None:
    with store.session() as session:
        details = {"told": "signal-to-noise ratio fell", "change": {"before": 20.0, "after": 12.0}}
        session.add(
            AuditEntry(at=at, actor="learner", action=alarms.RAISED, subject="snr_db", cause="", details=details)
        )


def webhook(receiver: Any, waits: list[float], **more: object) -> Webhook:
    url = f"http://127.0.0.1:{receiver.server_port}/hook?key=secret"
    return Webhook(WebhookConfig(url=url, **more), waits.append)  # type: ignore[arg-type]


def test_an_alarm_is_sent_once_after_failures(store: Store, receiver: Any, caplog: pytest.LogCaptureFixture) -> None:
    raise_alarm(store)
    receiver.statuses = [503, 0, 302, 200]
    waits: list[float] = []
    own = webhook(receiver, waits)
    with caplog.at_level(logging.WARNING, "dengar.learner"):
        assert own.deliver(store, T0) == 0
    assert waits == [0.5, 1.0]
    assert "secret" not in caplog.text
    assert own.deliver(store, T0) == 1
    assert own.deliver(store, T0) == 0
    assert own.counts == {"refused": 2, "failed": 1, "sent": 1}
    paths, kinds, bodies = zip(*receiver.got, strict=True)
    assert set(paths) == {"/hook?key=secret"}
    assert set(kinds) == {"application/json"}
    assert bodies[-1] == {
        "type": "drift.raised", "id": 1, "at": T0.isoformat(), "figure": "snr_db",
        "message": "signal-to-noise ratio fell", "change": {"before": 20.0, "after": 12.0},
    }  # fmt: skip


def test_what_cannot_be_sent_is_kept_in_order_and_at_last_given_up(sqlite_store: Store) -> None:
    raise_alarm(sqlite_store)
    raise_alarm(sqlite_store, T0 + HOUR)
    own = Webhook(WebhookConfig(url="http://127.0.0.1:9/", attempts=1), lambda _: None)
    assert own.deliver(sqlite_store, T0 + 2 * HOUR) == 0
    assert len(pending(sqlite_store)) == 2
    assert own.counts["failed"] == 1
    assert own.deliver(sqlite_store, T0 + 2 * DAY) == 0
    assert pending(sqlite_store) == []
    assert own.counts["given up"] == 2
    assert Webhook(WebhookConfig()).deliver(sqlite_store, T0) == 0


def approve(store: Store, *texts: str, users: int = 3) -> list[str]:
    with store.session() as session:
        ids = []
        for text in texts:
            name = names.new_name(text, source="heard", now=T0)
            name.users = name.mentions = users
            names.set_status(session, name, "approved", actor="tess", now=T0)
            ids.append(name.id)
        return ids


def pull(store: Store, now: datetime.datetime, **settings: object) -> Job | None:
    config = TriggerConfig(**settings)  # type: ignore[arg-type]
    return store.run(lambda session: triggers.pull(session, config, now))


def end(store: Store, job: Job, status: str, now: datetime.datetime) -> None:
    with store.session() as session:
        found = session.get(Job, job.id)
        assert found is not None
        found.status, found.changed_at = status, now


def test_enough_names_are_learned_and_only_once(store: Store) -> None:
    ids = approve(store, "ann", "bob", "cem", "dan")
    assert pull(store, T0 + HOUR) is None
    ids += approve(store, "eve")
    job = pull(store, T0 + HOUR)
    assert job is not None
    assert set(job.params["names"]) == set(ids)
    assert job.params["trigger"] == {"cause": "count", "reason": "count: 5 approved names wait", "held": 0}
    assert pull(store, T0 + 9 * HOUR) is None
    with store.reading() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "job.queued")).all()
        assert {(entry.subject, entry.cause) for entry in entries} == {(job.id, key) for key in ids}


def asked_for(store: Store, text: str, times: Sequence[tuple[str, datetime.datetime]], first: int = 0) -> str:
    """An approved name that users said at times, counted as the noticer does."""
    (key,) = approve(store, text)
    with store.session() as session:
        for number, (user, at) in enumerate(times, first):
            query = hear(session, number, user=user, at=at)
            session.add(Mention(name_id=key, query_id=query.id, at=at, user_hash=user, spelling=text, source="span"))
        names.recount(session, session.get_one(Name, key), times[-1][1])
    return key


def test_a_rising_name_is_learned_alone_if_many_ask_for_it(store: Store) -> None:
    now = T0 + 10 * HOUR
    asked_for(store, "ann", [(f"user {n % 5}", T0 + n * HOUR) for n in range(10)])
    assert pull(store, now) is None
    asked_for(store, "bob", [(f"user {n}", T0 + n * HOUR) for n in range(6)], 100)
    job = pull(store, now)
    assert job is not None
    assert job.params["trigger"]["cause"] == "trend"
    assert job.params["trigger"]["reason"].endswith("heard 42.0 times as often as in the week before, by 6 users")
    assert len(job.params["names"]) == 2


def test_one_user_and_one_moment_make_no_trend(store: Store) -> None:
    """Six users have said it in all, but nobody else today than one user, and a song on many devices."""
    week = [(f"user {n}", T0 + 24 * n * HOUR) for n in range(6)]
    today = T0 + 8 * 24 * HOUR
    mallory = [("mallory", today + n * HOUR / 10) for n in range(100)]
    key = asked_for(store, "ann", [*week, *mallory])
    now = today + 10 * HOUR
    with store.reading() as session:
        assert names.trend_of(session, key, now, FloodConfig()) == (2 / (5 / 7), 1)
        assert names.trend_of(session, key, now, FloodConfig(per_user_a_day=100))[0] > 50
        assert session.get_one(Name, key).trend == pytest.approx(2 / (5 / 7), abs=0.5)
    song = [(f"device {n}", today + n * HOUR / 36_000) for n in range(60)]
    asked_for(store, "bob", song, 200)
    assert pull(store, now, schedule_h=0) is None
    assert pull(store, now, schedule_h=0, trend=2.0, trend_users=1) is not None


def test_a_trend_that_has_passed_is_none(sqlite_store: Store) -> None:
    asked_for(sqlite_store, "ann", [(f"user {n}", T0 + n * HOUR) for n in range(8)])
    assert pull(sqlite_store, T0 + 40 * HOUR, schedule_h=0) is None


def test_the_schedule_takes_what_waits(sqlite_store: Store) -> None:
    assert pull(sqlite_store, T0 + 99 * DAY) is None
    approve(sqlite_store, "ann")
    assert pull(sqlite_store, T0 + 23 * HOUR) is None
    job = pull(sqlite_store, T0 + 24 * HOUR)
    assert job is not None
    assert job.params["trigger"]["cause"] == "schedule"


def test_names_of_a_failed_job_wait_and_at_last_for_a_person(sqlite_store: Store) -> None:
    (key,) = approve(sqlite_store, "ann")
    now = T0 + HOUR
    for _ in range(2):
        job = pull(sqlite_store, now, count=1)
        assert job is not None
        end(sqlite_store, job, "failed", now)
        assert pull(sqlite_store, now + 23 * HOUR, count=1) is None
        now += 24 * HOUR
    assert pull(sqlite_store, now, count=1, max_attempts=2) is None
    job = sqlite_store.run(lambda s: triggers.request(s, ["ann"], actor="tess", now=now))
    assert job is not None
    assert (job.params["names"], job.params["trigger"]["cause"]) == ([key], "person")


def test_most_wanted_names_come_first_and_the_rest_is_told(sqlite_store: Store) -> None:
    approve(sqlite_store, "ann", "bob", "cem", users=2)
    most = approve(sqlite_store, "dan", "eve", users=8)
    job = pull(sqlite_store, T0 + HOUR, max_names=2)
    assert job is not None
    assert set(job.params["names"]) == set(most)
    assert job.params["trigger"]["held"] == 3


def test_a_drift_has_waiting_names_learned_once(store: Store) -> None:
    (key,) = approve(store, "ann")
    raise_alarm(store)
    assert pull(store, T0 + HOUR, drift=()) is None
    job = pull(store, T0 + HOUR)
    assert job is not None
    assert (job.params["names"], job.params["trigger"]["cause"]) == ([key], "drift")
    end(store, job, "done", T0 + 2 * HOUR)
    approve(store, "bob")
    assert pull(store, T0 + 9 * HOUR) is None


def test_a_drift_without_a_name_is_for_a_person_and_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    raise_alarm(store)
    with caplog.at_level(logging.WARNING, "dengar.learner"):
        assert pull(store, T0 + HOUR, drift=()) is None
        assert caplog.messages == []
        assert pull(store, T0 + HOUR) is None
        assert pull(store, T0 + 2 * HOUR) is None
    (told,) = caplog.messages
    assert told.startswith("drift: signal-to-noise ratio fell; no name waits")
    assert told.endswith("a person has to look at it")
    with store.reading() as session:
        assert session.scalars(select(Job)).all() == []
        raised, left = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
        assert (left.action, left.subject, left.cause) == ("drift.for-person", "snr_db", str(raised.id))
        assert [alarm.figure for alarm in alarms.open_alarms(session)] == ["snr_db"]
    approve(store, "ann")
    job = pull(store, T0 + 3 * HOUR)
    assert job is not None
    assert job.params["trigger"]["cause"] == "drift"


def test_a_person_gets_what_is_asked_for_or_told_why_not(store: Store) -> None:
    assert store.run(lambda s: triggers.request(s, [], actor="tess", now=T0)) is None
    with pytest.raises(NotFoundError, match="no name 'nobody'"):
        store.run(lambda s: triggers.request(s, ["nobody"], actor="tess", now=T0))
    approve(store, "ann")
    assert store.run(lambda s: triggers.request(s, [], actor="tess", now=T0)) is not None
    assert store.run(lambda s: triggers.request(s, [], actor="tess", now=T0)) is None


def test_a_turn_does_it_all_and_metrics_tell(store: Store, receiver: Any) -> None:
    fill(store, range(8), 25.0)
    fill(store, range(8, 9), 15.0, 1)
    now = START + 9 * DAY + HOUR / 60
    with store.session() as session:
        for number in range(12):
            hear(session, number, "kovalchick", at=now - number * HOUR / 4, proposals=[("kowalczyk", 0.9)])
        hear(session, 50, "ox", at=now - HOUR)
    config = LearnerConfig(
        monitor=MONITOR, webhook=WebhookConfig(url=f"http://127.0.0.1:{receiver.server_port}/"),
        triggers=TriggerConfig(count=1, drift=()),
    )  # fmt: skip
    watcher = Watcher(store, config, KNOWN)
    registry = CollectorRegistry()
    registry.register(LearnerCollector(store, watcher))
    turn = watcher.turn(now)
    assert (len(turn.noticed.approved), turn.cause) == (1, "trend")
    assert [alarm.figure for alarm in turn.alarms] == ["snr_db"]
    assert receiver.got[0][2]["figure"] == "snr_db"
    again = watcher.turn(now)
    assert (again.noticed.spans, again.windows, again.alarms, again.job) == (0, 0, (), "")
    text = generate_latest(registry).decode()
    for line in (
        "dengar_learner_store_up 1.0",
        'dengar_learner_names{status="approved"} 1.0',
        'dengar_learner_jobs{status="queued"} 1.0',
        'dengar_learner_waiting{kind="spans"} 0.0',
        'dengar_learner_drift{figure="snr_db"} 1.0',
        'dengar_learner_passed_total{reason="too short"} 1.0',
        'dengar_learner_alarms_total{figure="snr_db"} 1.0',
        'dengar_learner_webhook_total{outcome="sent"} 1.0',
        'dengar_learner_triggers_total{cause="trend"} 1.0',
    ):
        assert line in text
    with store.reading() as session:
        assert jobs.OPEN[0] == session.scalars(select(Job.status)).one()
        assert "kowal" not in json.dumps([entry.details for entry in session.scalars(select(AuditEntry))])
        assert session.scalars(select(Name.text)).one() == "kowalczyk"


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("triggers.drift=[loudness]", "there is no figure 'loudness'; known: unknown_rate"),
        ("promotion.min_user=3", "min_user"),
        ("monitor.window_s=1000", "must divide a day"),
        ("webhook.url=ftp://x", "must begin with http"),
        ("drift.min_ks=2", "less than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(override: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load_learner_config(None, (override,))
