"""One job of learning, from names to a bundle on trial, stage by stage.

    collected   the names, their spellings as they were heard, and the recordings that users allowed to learn from
    learned     the new bundle (`asr.learn`): names synthesised, language model extended, fine-tuned, exported
    judged      the verdict of the gate (`services.learner.gating`)
    done        on trial (`services.learner.rollout`), or refused with the reasons

A stage writes what it made and that it is done in one transaction, and leaves its files whole or not at all; whoever
claims the job after a crash goes on behind the last stage that was done.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from asr.bundle import load_bundle
from asr.corpus.manifest import Utterance, write_manifest
from asr.corpus.text import normalise
from asr.errors import DengarError, MissingDependencyError, TextError
from asr.learn import NewName, learn, load_learn_config
from asr.learn.config import DEFAULT as LEARN_CONFIG
from asr.synth.names import mentions
from services.faults import crash_point
from services.learner import job_files, rollout
from services.learner.gating import Gated, GatingConfig, read_verdict, run_gate
from services.learner.job_config import LearningConfig, RolloutConfig
from services.registry import Registry
from services.store import audit, jobs
from services.store.copies import ROWS
from services.store.database import Store
from services.store.errors import LeaseLostError, StoreError
from services.store.models import BundleSource, Feedback, Job, LearnedBundle, Mention, Name, Query, Span, TrainingRow
from services.store.removal import carry_out, note_copies

COLLECTED, LEARNED, JUDGED = "collected", "learned", "judged"
MANIFEST = "rows.jsonl"
NAMES = "names"
CANDIDATE = "candidate"
ACTOR = "learner"
log = logging.getLogger("dengar.learner")

Progress = Callable[[str, float], None]
"""Told the stage and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where a worker works.

    Attributes:
        store: the truth.
        registry: of bundles.
        work: folder for jobs, and for speech and results that jobs share.
        config: of jobs.
        gate: sets and thresholds.
        rollout: how what passed is let in.
        overrides: of the learning configuration.
    """

    store: Store
    registry: Registry
    work: Path
    config: LearningConfig
    gate: GatingConfig
    rollout: RolloutConfig
    overrides: tuple[str, ...] = ()


def do_job(shop: Workshop, job: Job, now: Callable[[], datetime.datetime], progress: Progress) -> Job:
    """Does a job that was claimed, from the stage that it has reached.

    Args:
        shop: where.
        job: as `jobs.claim` gave it.
        now: the time.
        progress: told how far it is.

    Returns:
        The job as it ended: done, failed (the reason is in it), or queued again.

    Raises:
        LeaseLostError: it is another worker's now, or was stopped; nothing more may be done about it.
    """
    try:
        with _leased(shop, job) as held:

            def tell(stage: str, share: float) -> None:
                held()
                progress(stage, share)

            if not job.stage:
                job = _collect(shop, job)
                crash_point("learning.collected")
            if job.stage == COLLECTED and job.result[NAMES]:
                job = _learn(shop, job, tell)
                crash_point("learning.learned")
            if job.stage == LEARNED:
                job = _judge(shop, job, tell)
                crash_point("learning.judged")
            held()
        return _settle(shop, job, now())
    except LeaseLostError:
        raise
    except Exception as error:
        if not isinstance(error, DengarError | OSError):  # a fault in the program: this job ends, and the loop goes on
            log.exception("job %s met a fault", job.id[:8])
        again = isinstance(error, StoreError | OSError)
        said = str(error) if isinstance(error, DengarError | OSError) else f"a fault in the program: {error!r}"
        with shop.store.session() as session:
            ended = jobs.fail(session, job, said or type(error).__name__, again=again)
        if ended.status not in jobs.OPEN:
            job_files.clear(shop.work, job.id)
        return ended


def _collect(shop: Workshop, job: Job) -> Job:
    """Names with their spellings, and recordings with consent; the bundle to start from is the one that is live."""
    base = shop.registry.live()
    folder = job_files.make_folder(shop.work, job, base)
    with shop.store.reading() as session:
        rows = session.scalars(select(Name).where(Name.id.in_(job.params.get("names", [])))).all()
        names: list[dict[str, Any]] = [
            {
                "id": name.id,
                "text": name.text,
                "heard": list(name.spellings)[: shop.config.heard],
                "weight": float(max(1, name.users)),
            }
            for name in rows
            if name.status in ("approved", "learned")
        ]
        found = list(_recordings(session, {row["id"]: row["text"] for row in names}, shop.config))
    kept, left_out = [], Counter[str]()
    for recording in found:
        try:
            data = shop.store.audio.get_bytes(recording.ref)
        except StoreError:
            left_out["the recording is gone"] += 1
            continue
        (folder / ROWS / f"{recording.query}.flac").write_bytes(data)
        kept.append(recording)
    write_manifest(
        folder / MANIFEST,
        [
            Utterance(
                f"{ROWS}/{row.query}.flac", row.audio_s, row.text, id=row.query, consent="audio", source=row.source
            )
            for row in kept
        ],
    )

    def done(session: Session) -> Job:
        held = jobs.stage_done(
            session,
            job,
            COLLECTED,
            {"base": base, "folder": str(folder), NAMES: names, "rows": len(kept), "rows_left_out": dict(left_out)},
        )
        held.params = {**held.params, "folder": str(folder)}
        there = set(session.scalars(select(Query.id).where(Query.id.in_([row.query for row in kept]))))
        for row in kept:
            if row.query in there:  # a user may have been forgotten meanwhile
                session.add(TrainingRow(job_id=held.id, query_id=row.query, text=row.text, source=row.source))
        note_copies(session, folder, {row.query for row in kept} - there)
        return held

    return shop.store.run(done)


@dataclass(frozen=True, slots=True)
class _Recording:
    query: str
    user_hash: str
    ref: str
    audio_s: float
    text: str
    source: str


def _recordings(session: Session, names: dict[str, str], config: LearningConfig) -> Iterator[_Recording]:
    """Consented recordings in which the names are said, with what was said; corrected ones first, then the newest."""
    chosen = (
        select(Mention, Query)
        .join(Query, Query.id == Mention.query_id)
        .where(Mention.name_id.in_(names), Query.consent == "audio", Query.audio_ref != "")
        .order_by(Mention.source != "feedback", Mention.at.desc(), Mention.id)
    )
    by_name: Counter[str] = Counter()
    by_user: Counter[str] = Counter()
    seen: set[str] = set()
    for mention, query in session.execute(chosen):
        full = by_name[mention.name_id] >= config.rows_per_name or by_user[query.user_hash] >= config.rows_per_user
        if full or query.id in seen:
            continue
        text, source = _said(session, mention, query, names[mention.name_id])
        if text:
            by_name[mention.name_id] += 1
            by_user[query.user_hash] += 1
            seen.add(query.id)
            yield _Recording(query.id, query.user_hash, query.audio_ref, query.audio_s, text, source)


def _said(session: Session, mention: Mention, query: Query, name: str) -> tuple[str, str]:
    """What was said in a query: as its user corrected it, or with the name in place of the words that were heard."""
    corrected = select(Feedback).where(Feedback.query_id == query.id, Feedback.kind == "corrected")
    for feedback in session.scalars(corrected.order_by(Feedback.id.desc())):
        try:
            text = normalise(feedback.text)
        except (TextError, MissingDependencyError):  # numbers that nothing here can read, say
            continue
        if mentions(text, {name}):
            return text, "feedback"
    span = session.get(Span, mention.span_id) if mention.span_id else None
    if span is None:
        return "", ""
    before = [word["word"] for word in query.words if word["end_s"] <= span.start_s + 1e-3]
    after = [word["word"] for word in query.words if word["start_s"] >= span.end_s - 1e-3]
    return " ".join([*before, name, *after]), "span"


def _learn(shop: Workshop, job: Job, progress: Progress) -> Job:
    """The new bundle, and whose recordings it and its parents learned from."""
    folder, base = Path(job.result["folder"]), job.result["base"]
    parent = shop.registry.path(base)
    names = [NewName(row["text"], heard=tuple(row["heard"]), weight=row["weight"]) for row in job.result[NAMES]]
    config = load_learn_config(shop.config.learn or LEARN_CONFIG, shop.overrides)
    carry_out(shop.store)  # copies of users who were forgotten while they were made
    with shop.store.reading() as session:
        taken = session.execute(
            select(TrainingRow.query_id, Query.user_hash)
            .join(Query, Query.id == TrainingRow.query_id)
            .where(TrainingRow.job_id == job.id)
        ).all()
    if taken:
        config = replace(config, audio=(*config.audio, str(folder / MANIFEST)))
    learned = learn(parent, names, config, folder / "learn", shop.registry.folder, progress)
    made = load_bundle(learned.bundle)

    def done(session: Session) -> Job:
        held = jobs.stage_done(
            session,
            job,
            LEARNED,
            {
                "bundle": made.hash,
                "utterances": learned.utterances,
                "replay": learned.data,
                "steps": learned.steps,
                "stopped": learned.stopped,
                "seconds": {
                    "synthesis": learned.synthesis_s,
                    "training": learned.training_s,
                    "export": learned.export_s,
                },
            },
        )
        at = datetime.datetime.now(datetime.UTC)
        if session.get(LearnedBundle, made.hash) is None:
            session.add(
                LearnedBundle(
                    hash=made.hash,
                    parent=load_bundle(parent).hash,
                    job_id=job.id,
                    status=CANDIDATE,
                    verdict={},
                    created_at=at,
                    changed_at=at,
                )
            )
            inherited = select(BundleSource.user_hash).where(BundleSource.bundle.startswith(base))
            for user in sorted({user for _, user in taken} | set(session.scalars(inherited))):
                session.add(BundleSource(bundle=made.hash, user_hash=user))
            audit.record(
                session, ACTOR, "bundle.made", made.hash, job.id, parent=base, rows=len(taken), steps=learned.steps
            )
        return held

    return shop.store.run(done)


def _judge(shop: Workshop, job: Job, progress: Progress) -> Job:
    """The gate's verdict, against the bundle that the new one was made from."""
    folder = Path(job.result["folder"]) / "gate"
    base, after = shop.registry.path(job.result["base"]), shop.registry.path(job.result["bundle"][:12])
    names = [row["text"] for row in job.result[NAMES]]
    before = load_bundle(base).learned_names()
    old = [name.text for name in before.names] if before else []
    verdict = read_verdict(folder)
    sets = {each.name: each.kind for each in shop.gate.sets()}
    if verdict is None:
        gated: Gated = run_gate(
            base,
            after,
            names,
            old,
            shop.gate,
            shop.work / "gate",
            folder,
            lambda what, done, total: progress(f"gate: {what}", done / max(1, total)),
        )
        verdict, sets = gated.verdict, gated.sets
    right = {row.name for row in verdict.names if row.after >= shop.gate.names.min_recall * row.utterances}
    said = {"passed": verdict.passed, "reasons": verdict.reasons, "page": str(folder / "gate.html"), "sets": sets}

    def done(session: Session) -> Job:
        held = jobs.stage_done(
            session,
            job,
            JUDGED,
            {
                "verdict": said,
                "learned": [row["id"] for row in job.result[NAMES] if row["id"] and row["text"] in right],
                "missed": [row["text"] for row in job.result[NAMES] if row["text"] not in right],
            },
        )
        row = session.get_one(LearnedBundle, job.result["bundle"])
        row.verdict = verdict.to_json()
        outcome = "passed" if verdict.passed else "refused"
        audit.record(session, ACTOR, f"bundle.{outcome}", row.hash, job.id, reasons=list(verdict.reasons))
        return held

    return shop.store.run(done)


def _settle(shop: Workshop, job: Job, now: datetime.datetime) -> Job:
    """Lets a bundle that passed on trial, keeps one that did not; the copies of recordings go."""
    if job.stage == COLLECTED:
        job_files.clear(shop.work, job.id)
        with shop.store.session() as session:
            return jobs.finish(session, job, {"nothing": "there was no name to learn"})
    with shop.store.reading() as session:
        decided = session.get_one(LearnedBundle, job.result["bundle"]).status != CANDIDATE
    if not decided and shop.registry.live() != job.result["base"]:
        with shop.store.session() as session:  # another bundle is live by now: learn from that one
            jobs.restart(session, job.id, ACTOR, cause=shop.registry.live())
            return session.get_one(Job, job.id)
    if decided:  # a worker let it in or refused it, and died before it could end the job
        pass
    elif job.result["verdict"]["passed"]:
        rollout.begin(shop.store, shop.registry, job.result["bundle"], shop.rollout, now)
        crash_point("learning.on-trial")
    else:
        shop.store.run(lambda session: _refuse(session, job, now))
    job_files.clear(shop.work, job.id)
    with shop.store.session() as session:
        return jobs.finish(session, job)


def _refuse(session: Session, job: Job, now: datetime.datetime) -> None:
    row = session.get_one(LearnedBundle, job.result["bundle"])
    row.status, row.changed_at = rollout.REFUSED, now


@contextlib.contextmanager
def _leased(shop: Workshop, job: Job) -> Iterator[Callable[[], None]]:
    """Renews a lease while the block runs; gives a function that raises `LeaseLostError` once it is lost."""
    ended, lost = threading.Event(), list[LeaseLostError]()

    def renew() -> None:
        while not ended.wait(shop.config.lease_s / 3):
            try:
                with shop.store.session() as session:
                    jobs.renew(session, job, shop.config.lease_s)
            except LeaseLostError as error:
                lost.append(error)
                return
            except StoreError:
                continue  # the store is away for a moment; the lease has two more chances

    def held() -> None:
        if lost:
            raise lost[0]

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield held
    finally:
        ended.set()
        thread.join()
