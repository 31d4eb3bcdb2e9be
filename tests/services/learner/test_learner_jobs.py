"""Jobs from names to a bundle on trial, by real workers in processes of their own that are killed at every step."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from asr import audio
from asr.bundle import find_bundle, load_bundle
from asr.corpus import Utterance, write_manifest
from asr.synth import of_engine, open_engine
from services.faults import CRASH_AT
from services.learner.known_sounds import FILE as KNOWN_SOUNDS
from services.learner.known_sounds import KnownSounds
from services.learner.names import add_name, new_name, set_status
from services.learner.triggers import request
from services.registry import Registry
from services.store import jobs
from services.store.database import Store
from services.store.models import (
    AuditEntry,
    BundleSource,
    Feedback,
    Job,
    LearnedBundle,
    Mention,
    Name,
    Query,
    Span,
    TrainingRow,
)

CRASH_POINTS = ("learning.collected", "learning.learned", "learning.judged", "learning.on-trial")

LEARN = """
synthesis:
  queries: [data/queries/names.yaml]
  slots: [person, famous]
  utterances_per_name: 1
  held_out_per_name: 0
  cast: [{engine: espeak}]
  jobs: 1
  format: wav
extension: {sentences: 300}
replay: {share: 0}
tune: {steps: 0}
"""
GATE = """
thresholds:
  {{min_name_recall: {recall}, min_name_recall_car: 0, max_wer_change: 1, max_rtf: 100, max_slowdown: 100,
    resamples: 100}}
corpora: [{{name: own, manifest: {manifest}}}]
names: {{natural: 0, robotic: 1}}
jobs: 1
"""


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """General speech to judge by, and beside it how the known words sound, which workers need not find out each."""
    folder = tmp_path_factory.mktemp("speech")
    KnownSounds(folder).follow(frozenset(load_bundle(find_bundle(None)).lexicon()))
    engine, rows = open_engine("flite"), []
    for number, text in enumerate(("what is the weather today", "call my mother", "play some music")):
        audio.save(folder / f"{number}.wav", engine.speak(text, of_engine("flite")[number % 2], 1.0, 1.0))
        rows.append(Utterance(f"{number}.wav", 2.0, text))
    write_manifest(folder / "own.jsonl", rows)
    return folder / "own.jsonl"


class Place:
    """A store, a registry and a configuration in a folder, and workers that are run there."""

    def __init__(self, folder: Path, speech: Path, recall: float = 0.0) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'store' / 'dengar.db'}"
        self.store = Store.open(self.url)
        shipped = find_bundle(None)
        (folder / "registry").mkdir()
        shutil.copytree(shipped, folder / "registry" / shipped.name)
        self.registry = Registry(folder / "registry")
        self.registry.promote(shipped.name)
        (folder / "work").mkdir()
        shutil.copy(speech.with_name(KNOWN_SOUNDS), folder / "work")
        (folder / "learn.yaml").write_text(LEARN)
        (folder / "gate.yaml").write_text(GATE.format(manifest=speech, recall=recall))

    def work(self, crash: str = "") -> dict | None:
        """One turn of a worker; what it said, or None if it was killed where it was to be."""
        settings = (
            f"learning.learn={self.folder / 'learn.yaml'}", f"learning.gate={self.folder / 'gate.yaml'}",
            "learning.lease_s=1", "rollout.canary_minutes=0", "triggers.count=0", "triggers.trend=0",
        )  # fmt: skip
        ran = subprocess.run(
            [
                sys.executable, "-m", "services.cli.main", "learn", "run", "--once", "--json", "--store", self.url,
                "--registry", str(self.registry.folder), "--work", str(self.folder / "work"),
                *(part for setting in settings for part in ("--set", setting)),
            ],
            env={**os.environ, CRASH_AT: crash}, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if crash and ran.returncode == -signal.SIGKILL:
            self._let_lease_run_out()
            return None
        assert ran.returncode == 0, ran.stderr
        assert not crash, f"{crash} was not reached: {ran.stdout} {ran.stderr}"
        return json.loads(ran.stdout)

    def _let_lease_run_out(self) -> None:
        with self.store.session() as session:
            for job in session.scalars(select(Job).where(Job.status == "running")):
                job.lease_until = datetime.now(UTC) - timedelta(seconds=1)

    def ask(self, text: str) -> None:
        with self.store.session() as session:
            add_name(session, text, actor="tester")
            assert request(session, [], actor="tester", now=datetime.now(UTC)) is not None


@pytest.fixture
def place(tmp_path: Path, speech: Path):
    made = Place(tmp_path, speech)
    yield made
    made.store.close()


def query(session, number: int, name: Name, *, corrected: bool) -> None:
    """Somebody said "who is ana li", and "on a lee" was heard."""
    now = datetime.now(UTC)
    store_ref = f"{number:02d}"
    heard = [("who", 0.1), ("is", 0.4), ("on", 0.7), ("a", 0.9), ("lee", 1.1), ("now", 1.6)]
    words = [{"word": word, "start_s": at, "end_s": at + 0.2, "confidence": 0.7} for word, at in heard]
    row = Query(
        id=f"query{number}", at=now, user_hash=f"user{number}", consent="audio", transcript="who is on a lee now",
        confidence=0.7, nbest=[], words=words,
        bundle="b", role="live", audio_s=2.0, snr_db=20.0, latency_s=0.1, audio_ref=store_ref,
        expires_at=now + timedelta(days=90),
    )  # fmt: skip
    session.add(row)
    session.flush()
    span = Span(
        query_id=row.id, start_s=0.7, end_s=1.3, heard="on a lee", spellings=[], phones="", score=0.9, proposals=[],
        clustered=True,
    )  # fmt: skip
    session.add(span)
    session.flush()
    if corrected:
        session.add(Feedback(query_id=row.id, at=now, kind="corrected", text="Who was Ana Li's mother?", handled=True))
    session.add(
        Mention(
            name_id=name.id,
            query_id=row.id,
            span_id=span.id,
            at=now,
            user_hash=row.user_hash,
            spelling="x",
            source="feedback" if corrected else "span",
        )
    )


def heard_and_asked(place: Place) -> None:
    """A name that two users said, one recording of which is gone, and the wish to learn it."""
    with place.store.session() as session:
        name = new_name("ana li", source="heard", now=datetime.now(UTC))
        set_status(session, name, "approved", actor="tester")
        session.flush()
        for number, corrected in ((1, True), (2, False)):
            query(session, number, name, corrected=corrected)
        noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
        for row in session.scalars(select(Query)):
            row.audio_ref = place.store.audio.put(noise)
        session.get_one(Query, "query2").audio_ref = "00/gone.flac"
        assert request(session, [], actor="tester", now=datetime.now(UTC)) is not None


def test_a_job_learns_is_judged_and_lets_its_bundle_in(place: Place) -> None:
    base = place.registry.live()
    heard_and_asked(place)
    said = place.work()
    job = said["job"]
    assert (job["status"], job["stage"]) == ("done", "judged"), job["error"]
    assert job["result"]["rows"] == 1
    assert job["result"]["rows_left_out"] == {"the recording is gone": 1}
    made = job["result"]["bundle"]
    assert place.registry.live() == made[:12]
    assert "ana" in load_bundle(place.registry.path(made[:12])).lexicon()
    folder = Path(job["result"]["folder"])
    assert not list(folder.glob("rows*")), "copies of recordings stay no longer than they are needed"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "gate" / "gate.html").read_text().count(made[:12]) >= 1
    with place.store.reading() as session:
        bundle = session.get_one(LearnedBundle, made)
        assert (bundle.status, bundle.parent[:12], bundle.verdict["passed"]) == ("live", base, True)
        assert [row.user_hash for row in session.scalars(select(BundleSource))] == ["user1"]
        assert [(row.query_id, row.text) for row in session.scalars(select(TrainingRow))] == [
            ("query1", "who was ana li's mother")
        ]
        learned = {name.text: (name.status, name.bundle) for name in session.scalars(select(Name))}
        actions = [entry.action for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert learned["ana li"] in {("learned", made), ("approved", "")}
    order = ["job.queued", "job.claimed", "bundle.made", "bundle.passed", "bundle.canary", "job.done", "bundle.live"]
    assert [action for action in actions if action in order] == order


def test_a_bundle_that_fails_is_kept_explained_and_not_served(tmp_path: Path, speech: Path) -> None:
    place = Place(tmp_path, speech, recall=1.0)
    base = place.registry.live()
    place.ask("xavier zzyzx")  # whom nobody reads aloud as he is written
    job = place.work()["job"]
    assert job["status"] == "done"
    assert not job["result"]["verdict"]["passed"]
    assert job["result"]["verdict"]["reasons"][0].startswith("new names in quiet")
    assert place.registry.live() == base
    with place.store.reading() as session:
        (bundle,) = session.scalars(select(LearnedBundle))
        assert bundle.status == "refused"
        assert session.scalars(select(Name)).one().status == "approved"
    assert place.registry.path(bundle.hash[:12]).is_dir()
    place.store.close()


@pytest.mark.parametrize("points", [CRASH_POINTS[:2], CRASH_POINTS[2:]])
def test_a_killed_worker_is_followed_by_another_that_goes_on(place: Place, points: tuple[str, ...]) -> None:
    place.ask("ana li")
    for point in points:
        assert place.work(point) is None
    job = place.work()["job"]
    assert (job["status"], job["attempts"]) == ("done", 3), job["error"]
    assert place.registry.live() == job["result"]["bundle"][:12]
    with place.store.reading() as session:
        assert [bundle.status for bundle in session.scalars(select(LearnedBundle))] == ["live"]
        assert session.scalars(select(AuditEntry.action).where(AuditEntry.action == "bundle.made")).all() == [
            "bundle.made"
        ]


def test_a_job_that_cannot_be_done_says_why(place: Place) -> None:
    place.ask("ana li")
    (place.folder / "gate.yaml").write_text((place.folder / "gate.yaml").read_text().replace("own.jsonl", "none.jsonl"))
    (place.folder / "learn.yaml").write_text(LEARN.replace("engine: espeak", "engine: espeak, speed: [9.0, 9.0]"))
    job = place.work()["job"]
    assert job["status"] == "failed"
    assert "speed" in job["error"]
    assert not list(place.folder.glob("work/jobs/*/rows*"))
    with place.store.reading() as session:
        assert session.scalars(select(Name)).one().status == "approved"


def test_copies_of_a_job_that_was_killed_and_stopped_go_at_the_next_start(place: Place) -> None:
    heard_and_asked(place)
    assert place.work("learning.collected") is None
    (rows,) = place.folder.glob("work/jobs/*/rows")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (rows.parent, rows)] == [0o700, 0o700]
    assert [path.name for path in rows.iterdir()] == ["query1.flac"]
    with place.store.session() as session:
        assert jobs.stop(session, session.scalars(select(Job.id)).one(), "tester")
    assert place.work()["job"] is None
    assert rows.parent.is_dir()
    assert not list(rows.parent.glob("rows*"))
