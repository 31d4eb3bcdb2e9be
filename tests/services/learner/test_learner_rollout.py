"""Canary, promotion, watch and rollback, on a real store and a real registry."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from services.learner.rollout import Answers, RolloutConfig, advance, begin, fallen
from services.registry import Registry, Rollout
from services.store.database import Store
from services.store.models import AuditEntry, Job, LearnedBundle, Name, Query

START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
CONFIG = RolloutConfig(canary_queries=50, canary_minutes=30, watch_minutes=60, min_queries=30)


@pytest.fixture
def registry(tiny_bundle: Path, other_bundle: Path, tmp_path: Path) -> Registry:
    """The live bundle, and one that was learned from it."""
    folder = tmp_path / "bundles"
    for bundle in (tiny_bundle, other_bundle):
        shutil.copytree(bundle, folder / bundle.name)
    registry = Registry(folder)
    registry.promote(tiny_bundle.name)
    return registry


@pytest.fixture
def store(tiny_bundle: Path, other_bundle: Path, tmp_path: Path):
    opened = Store.open(f"sqlite:///{tmp_path / 'store' / 'dengar.db'}")
    with opened.session() as session:
        name = Name(
            id="n1", text="ana li", status="approved", spellings=[], source="heard", first_at=START, last_at=START,
            changed_at=START,
        )  # fmt: skip
        job = Job(
            id="j1", kind="learn", status="done", params={"names": ["n1"]}, result={"learned": ["n1"]},
            created_at=START, changed_at=START,
        )  # fmt: skip
        session.add_all([name, job])
        session.flush()
        session.add(
            LearnedBundle(
                hash=other_bundle.name,
                parent=tiny_bundle.name,
                job_id="j1",
                status="candidate",
                verdict={},
                created_at=START,
                changed_at=START,
            )
        )
    yield opened
    opened.close()


def answered(store: Store, bundle: str, at: datetime.datetime, count: int, confidence: float, empty: int = 0) -> None:
    rng = np.random.default_rng(count)
    with store.session() as session:
        for number in range(count):
            drawn = float(np.clip(rng.normal(confidence, 0.1), 0, 1))
            session.add(
                Query(
                    id=f"{bundle}{at.timestamp():.0f}{number}"[-32:],
                    at=at + number * datetime.timedelta(seconds=1),
                    user_hash="u",
                    consent="transcript",
                    transcript="" if number < empty else "call home",
                    confidence=drawn,
                    nbest=[],
                    words=[],
                    bundle=bundle,
                    audio_s=1.0,
                    snr_db=None,
                    latency_s=None,
                    expires_at=at + 90 * 24 * 60 * MINUTE,
                )
            )


def status(store: Store) -> tuple[str, str]:
    with store.reading() as session:
        return session.scalars(select(LearnedBundle)).one().status, session.get_one(Name, "n1").status


def test_a_canary_that_holds_becomes_live_and_its_names_are_learned(store, registry, tiny_bundle, other_bundle) -> None:
    begin(store, registry, other_bundle.name, CONFIG, START)
    assert registry.rollout() == Rollout(other_bundle.name, CONFIG.canary_share)
    answered(store, tiny_bundle.name, START + MINUTE, 100, 0.8)
    answered(store, other_bundle.name, START + MINUTE, 20, 0.8)
    advance(store, registry, CONFIG, START + 2 * MINUTE)
    assert status(store) == ("canary", "approved")
    answered(store, other_bundle.name, START + 3 * MINUTE, 40, 0.8)
    said: list[str] = []
    advance(store, registry, CONFIG, START + 5 * MINUTE, said.append)
    assert status(store) == ("live", "learned")
    assert (registry.live(), registry.rollout()) == (other_bundle.name, None)
    assert said == [f"bundle {other_bundle.name} is live: held as a canary in 60 answers"]
    with store.reading() as session:
        trail = [(entry.action, entry.cause) for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
        assert session.get_one(Name, "n1").bundle == other_bundle.name
    assert trail == [("bundle.canary", "j1"), ("bundle.live", "j1"), ("name.learned", other_bundle.name)]


def test_without_traffic_time_decides(store, registry, other_bundle) -> None:
    begin(store, registry, other_bundle.name, CONFIG, START)
    advance(store, registry, CONFIG, START + 29 * MINUTE)
    assert status(store)[0] == "canary"
    advance(store, registry, CONFIG, START + 30 * MINUTE)
    assert status(store) == ("live", "learned")


def test_a_canary_that_falls_is_not_served(store, registry, tiny_bundle, other_bundle) -> None:
    begin(store, registry, other_bundle.name, CONFIG, START)
    answered(store, tiny_bundle.name, START + MINUTE, 100, 0.8)
    answered(store, other_bundle.name, START + MINUTE, 60, 0.6)
    advance(store, registry, CONFIG, START + 2 * MINUTE)
    assert status(store) == ("refused", "approved")
    assert (registry.live(), registry.rollout()) == (tiny_bundle.name, None)


def test_a_live_bundle_that_falls_is_rolled_back_and_its_names_are_phrases_again(
    store, registry, tiny_bundle, other_bundle
) -> None:
    answered(store, tiny_bundle.name, START - 10 * MINUTE, 100, 0.8)
    at_once = RolloutConfig(canary_share=0.0, min_queries=30)
    begin(store, registry, other_bundle.name, at_once, START)
    advance(store, registry, at_once, START)
    assert status(store) == ("live", "learned")
    answered(store, other_bundle.name, START + MINUTE, 100, 0.8, empty=30)
    advance(store, registry, at_once, START + 5 * MINUTE)
    assert status(store) == ("rolled back", "approved")
    assert registry.live() == tiny_bundle.name
    advance(store, registry, at_once, START + 6 * MINUTE)  # nothing more happens
    assert registry.live() == tiny_bundle.name


def test_what_a_person_decided_is_left_alone(store, registry, tiny_bundle, other_bundle) -> None:
    at_once = RolloutConfig(canary_share=0.0)
    begin(store, registry, other_bundle.name, at_once, START)
    advance(store, registry, at_once, START)
    registry.promote(tiny_bundle.name, "by hand")
    answered(store, tiny_bundle.name, START - 10 * MINUTE, 100, 0.8)
    answered(store, other_bundle.name, START + MINUTE, 100, 0.2)
    advance(store, registry, at_once, START + 5 * MINUTE)
    assert status(store)[0] == "live"


def test_after_the_watch_nothing_is_rolled_back(store, registry, tiny_bundle, other_bundle) -> None:
    at_once = RolloutConfig(canary_share=0.0, watch_minutes=10)
    answered(store, tiny_bundle.name, START - 5 * MINUTE, 100, 0.8)
    begin(store, registry, other_bundle.name, at_once, START)
    advance(store, registry, at_once, START)
    answered(store, other_bundle.name, START + MINUTE, 100, 0.2)
    advance(store, registry, at_once, START + 11 * MINUTE)
    assert status(store)[0] == "live"


def test_equal_answers_hardly_ever_fall() -> None:
    rng = np.random.default_rng(0)
    falls = 0
    for _ in range(200):
        two = [Answers(tuple(rng.beta(6, 2, 100)), int(rng.binomial(100, 0.05))) for _ in range(2)]
        falls += bool(fallen(two[0], two[1], CONFIG))
    assert falls <= 4
    assert fallen(Answers((0.9,) * 20, 0), Answers((0.1,) * 20, 0), CONFIG) == ""
    assert "empty" in fallen(Answers((0.9,) * 100, 0), Answers((0.9,) * 50, 50), CONFIG)


CRASH_POINTS = (
    "rollout.trial-set",
    "rollout.trial-ended",
    "rollout.promoted",
    "rollout.trial-over",
    "rollout.rolled-back",
)

STEP = """
import datetime, sys
from services.learner.rollout import RolloutConfig, advance, begin
from services.registry import Registry
from services.store.database import Store

url, folder, bundle, minute = sys.argv[1:]
store, registry = Store.open(url), Registry(folder)
config = RolloutConfig(canary_queries=50, canary_minutes=30, watch_minutes=60, min_queries=30)
now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC) + datetime.timedelta(minutes=int(minute))
if minute == "0":
    begin(store, registry, bundle, config, now)
advance(store, registry, config, now)
"""


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_kill_at_any_step_is_made_good_by_the_next_worker(
    store, registry, tiny_bundle, other_bundle, point: str
) -> None:
    def step(minute: int, crash: str = "") -> int:
        arguments = [store.engine.url.render_as_string(), str(registry.folder), other_bundle.name, str(minute)]
        done = subprocess.run(
            [sys.executable, "-c", STEP, *arguments],
            env={**os.environ, "DENGAR_CRASH_AT": crash},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        return done.returncode

    killed = -signal.SIGKILL
    if point == "rollout.trial-set":
        assert step(0, point) == killed
        assert status(store)[0] == "candidate"
        assert step(0) == 0
        assert (status(store)[0], registry.rollout().hash) == ("canary", other_bundle.name)
        return
    begin(store, registry, other_bundle.name, CONFIG, START)
    answered(store, tiny_bundle.name, START + MINUTE, 100, 0.8)
    if point == "rollout.trial-ended":
        answered(store, other_bundle.name, START + MINUTE, 60, 0.6)
        assert step(5, point) == killed
        assert step(6) == 0
        assert (status(store), registry.rollout()) == (("refused", "approved"), None)
        return
    if point == "rollout.rolled-back":
        advance(store, registry, CONFIG, START + 30 * MINUTE)
        assert status(store) == ("live", "learned")
        answered(store, other_bundle.name, START + 31 * MINUTE, 100, 0.5)
        assert step(35, point) == killed
        assert step(36) == 0
        assert (status(store), registry.live()) == (("rolled back", "approved"), tiny_bundle.name)
        return
    assert step(30, point) == killed
    assert step(31) == 0
    assert (status(store), registry.live(), registry.rollout()) == (("live", "learned"), other_bundle.name, None)
