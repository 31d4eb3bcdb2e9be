"""How soon, how well and at what price names are learned: the loop in real processes, from a first query to a bundle.

A server and a worker run on a store and a registry of their own. Users, spoken by voices that neither learning nor the
test has, ask for names that the bundle does not know. What the loop then does by itself is timed, and how often the
full names are recognised is tested before, at once (as phrases), and for good (by the new bundle, without phrases), by
voices, an engine and a pronunciation that learning never uses (`asr.learn.probe`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from sqlalchemy import select

from asr import audio
from asr.corpus.manifest import Manifest
from asr.errors import DengarError, InputError
from asr.learn.casting import HELD_OUT, Line, queries_of
from asr.learn.config import located
from asr.learn.probe import Recall, probe_lines, recall, speak_probe
from asr.learn.synthesis import speak_all
from asr.synth.names import read_names
from asr.synth.queries import read_grammar
from asr.synth.voices import of_engine
from services.dengar.v1 import names_pb2, names_pb2_grpc, speech_pb2, speech_pb2_grpc
from services.load.server import served
from services.registry import Registry
from services.store.database import Store
from services.store.models import Job, Name

LIST = "data/unheard-names.txt"
WAIT_S = 20.0
"""After the last query, until a name that was not noticed is added by a person."""
JOB_S = 3600.0
CALL_S = 60.0
STOP_S = 60.0
POLL_S = 0.2

FAST = (
    # Hours of traffic pass in seconds here, and the queries come one after another.
    "promotion.min_hours=0", "flood.burst_s=0", "triggers.count=0", "triggers.trend=0", "triggers.schedule_h=0",
    "triggers.drift=[]", "rollout.canary_minutes=0.1",
)  # fmt: skip
"""Settings of the loop for the test, beside its defaults; a job is asked for when all names are there."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """How often full names were recognised.

    Attributes:
        quiet, car: recall.
    """

    quiet: Recall
    car: Recall

    def to_json(self) -> dict[str, Any]:
        """Shares with their counts."""
        return {
            name: {"recall": found.share, "heard": found.heard, "said": found.said, "by_name": found.by_name}
            for name, found in (("quiet", self.quiet), ("car", self.car))
        }


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from the first query with any of the names.

    Attributes:
        approved: until each name that the loop approved by itself was.
        served: until all names were phrases of every stream.
        live: until the bundle that learned them was live.
        stages: of the job, by the clock.
    """

    approved: dict[str, float]
    served: float
    live: float
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class NamesResult:
    """What came of it.

    Attributes:
        names: all of them.
        noticed: those that the loop approved by itself; the others were added by a person.
        before, at_once, for_good: recall.
        times: of the loop.
        verdict: of the gate, with its reasons.
        promoted: whether the new bundle was let in.
        base, bundle: folders of the bundles before and after.
        job: the result of the job.
    """

    names: tuple[str, ...]
    noticed: tuple[str, ...]
    before: Heard
    at_once: Heard
    for_good: Heard
    times: Times
    verdict: dict[str, Any]
    promoted: bool
    base: Path
    bundle: Path
    job: dict[str, Any]


def choose(count: int, seed: int, known: frozenset[str], path: str = LIST) -> list[str]:
    """People whose last name the bundle does not know, drawn by a seed.

    Args:
        count: how many.
        seed: of the draw.
        known: words of the bundle.
        path: a list of names or a table with a column ``name``.

    Raises:
        InputError: the list has too few.
    """
    unknown = [name.text for name in read_names(located(path)).names if name.text.split()[-1] not in known]
    if len(unknown) < count:
        raise InputError(f"{path}: holds {len(unknown)} names whose last word the bundle does not know, wanted {count}")
    order = np.random.default_rng(seed).permutation(len(unknown))
    return [unknown[index] for index in order[:count].tolist()]


def user_lines(names: Sequence[str], users: int, seed: int) -> list[Line]:
    """What users ask: each name once by each of several natural voices, in sentences that nobody else speaks."""
    grammar = read_grammar(located("data/queries/names.yaml"))
    voices = of_engine("kokoro", HELD_OUT)
    lines = []
    for number, name in enumerate(names):
        rng = np.random.default_rng([seed, 2, number])
        asked = queries_of(name, [grammar], ("person", "famous"), rng, HELD_OUT, users)
        order = itertools.cycle(rng.permutation(len(voices)).tolist())
        lines += [
            Line(name, query.text, query.written, HELD_OUT, voices[next(order)].id, 1.0, 1.0, 1.0) for query in asked
        ]
    return lines


@dataclass(frozen=True, slots=True)
class Probe:
    """The test of the names: its lines, and their samples (T,) in quiet and in the car."""

    lines: tuple[Line, ...]
    quiet: tuple[audio.Samples, ...]
    car: tuple[audio.Samples, ...]

    def hear(self, recognise: Callable[[audio.Samples], str]) -> Heard:
        """What a recogniser makes of it."""
        names = [line.name for line in self.lines]
        return Heard(*(recall(names, [recognise(samples) for samples in heard]) for heard in (self.quiet, self.car)))


def make_probe(names: Sequence[str], folder: Path, snr_db: float, jobs: int, seed: int) -> Probe:
    """Speaks the test, and puts it into a car."""
    from asr.augment import AugmentConfig, Augmenter

    lines = probe_lines(names, kokoro=4, flite=1, seed=seed)
    quiet = _samples(speak_probe(lines, folder, jobs))
    car = Augmenter(AugmentConfig.noise_at_snr(snr_db, kind="cabin"), seed)
    noisy = [car.apply(samples, line.digest)[0] for samples, line in zip(quiet, lines, strict=True)]
    return Probe(tuple(lines), tuple(quiet), tuple(noisy))


def run_loop(
    names: Sequence[str],
    folder: Path,
    *,
    users: int = 7,
    snr_db: float = 10.0,
    seed: int = 0,
    jobs: int = 2,
    settings: Sequence[str] = (),
    learn_settings: Sequence[str] = (),
    tell: Tell = lambda _: None,
) -> NamesResult:
    """Lets the loop learn names, and measures it.

    Args:
        names: as spoken.
        folder: of this run; speech in it is kept.
        users: who ask for each name, once.
        snr_db: of the car's cabin.
        seed: of voices, sentences and noise.
        jobs: processes that speak.
        settings: of the loop (``data/learner.yaml``), as ``key=value``.
        learn_settings: of learning (``data/learn.yaml``).
        tell: told what is going on.

    Raises:
        DengarError: a process fails, or the job does.
    """
    tell(f"speaking {len(names)} names")
    probe = make_probe(names, folder / "probe", snr_db, jobs, seed)
    lines = user_lines(names, users, seed)
    rows = speak_all(lines, folder / "users", jobs=jobs)
    asked = [audio.load(folder / "users" / row.audio_filepath) for row in rows]
    registry = Registry(folder / "registry")
    registry.begin()
    base = registry.path(registry.live())
    url = f"sqlite:///{folder / 'store' / 'dengar.db'}"
    store = Store.open(url)
    tell("starting a server and a worker")
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        server = stack.enter_context(
            served("--store", url, "--registry", str(registry.folder), "--state", str(folder / "server"))
        )
        channel = stack.enter_context(grpc.insecure_channel(server.address))
        caller = _Caller(channel)
        tell("testing before anything is learned")
        before = probe.hear(caller.words)
        caller.catalogue([name.text for name in read_names(located(LIST)).names] + list(names))
        overrides = [*FAST, *settings]
        stack.enter_context(_worker(url, registry.folder, folder / "work", overrides, learn_settings))
        tell(f"{users} users ask for each name")
        began = time.monotonic()
        for order in range(users):  # one user after another asks for everything
            for place, name in enumerate(names):
                caller.ask(asked[place * users + order], f"user {order} of {name}")
        approved = _wait_for_names(store, names, began)
        for name in names:
            if name not in approved:
                caller.add(name)
        _wait_until(lambda: _statuses(store, names) >= {"approved"}, 5.0, "the names to be approved")
        time.sleep(2.0)  # the server asks for names every second
        served_s = time.monotonic() - began
        tell(f"{len(approved)} of {len(names)} names noticed and served {served_s:.0f} s after the first query")
        at_once = probe.hear(caller.words)
        tell("learning them for good")
        asking = time.monotonic()
        job = _learn(store, names)
        _wait_until(lambda: not store_has_canary(store), JOB_S, "the new bundle to be let in")
        live_s = served_s + time.monotonic() - asking  # the test in between is no part of the loop
        promoted = registry.live() == job["bundle"][:12]
        if promoted:
            _wait_until(lambda: caller.bundle().startswith(registry.live()), 60.0, "the server to serve the new bundle")
    from asr.recognize import Recognizer

    bundle = registry.path(job["bundle"][:12])
    tell("testing what was learned for good")
    recognizer = Recognizer.open(bundle)
    for_good = probe.hear(lambda samples: recognizer.transcribe(samples)[0].text)
    times = Times(approved, served_s, live_s, job["seconds"])
    return NamesResult(
        tuple(names), tuple(approved), before, at_once, for_good, times, job["verdict"], promoted, base, bundle, job
    )


def _samples(manifest: Manifest) -> list[audio.Samples]:
    return [audio.load(manifest.root / row.audio_filepath) for row in manifest.utterances]


class _Caller:
    """An application that talks to the server."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._speech = speech_pb2_grpc.SpeechStub(channel)  # type: ignore[no-untyped-call]
        self._names = names_pb2_grpc.NamesStub(channel)  # type: ignore[no-untyped-call]

    def words(self, samples: audio.Samples) -> str:
        return self.ask(samples, "")

    def ask(self, samples: audio.Samples, user: str) -> str:
        """What the server makes of a query; with a user it may keep all of it."""
        from services.client.options import as_bytes

        config = speech_pb2.RecognitionConfig(
            encoding=speech_pb2.RecognitionConfig.LINEAR16, sample_rate_hertz=audio.SAMPLE_RATE_HZ
        )
        if user:
            config.user, config.consent = user, speech_pb2.CONSENT_AUDIO
        content = speech_pb2.RecognitionAudio(content=as_bytes(samples))
        request = speech_pb2.RecognizeRequest(config=config, audio=content)
        answer = self._speech.Recognize(request, timeout=CALL_S, wait_for_ready=True)
        return str(answer.results[0].alternatives[0].transcript)

    def catalogue(self, names: Sequence[str]) -> None:
        entities = [names_pb2.Entity(name=name, kind="person") for name in dict.fromkeys(names)]
        self._names.Import(names_pb2.ImportNamesRequest(entities=entities, source="trending"), timeout=CALL_S)

    def add(self, name: str) -> None:
        self._names.AddName(names_pb2.AddNameRequest(text=name), timeout=CALL_S)

    def bundle(self) -> str:
        return str(self._speech.GetInfo(speech_pb2.GetInfoRequest(), timeout=CALL_S).bundle_hash)


@contextlib.contextmanager
def _worker(
    url: str, registry: Path, work: Path, settings: Sequence[str], learn_settings: Sequence[str]
) -> Iterator[None]:
    """`dengar learn run` in a process of its own."""
    command = [sys.executable, "-m", "services.cli.main", "learn", "run", "--every", "0.5"]
    command += ["--store", url, "--registry", str(registry), "--work", str(work)]
    command += [part for each in settings for part in ("--set", each)]
    command += [part for each in learn_settings for part in ("--learn-set", each)]
    work.mkdir(parents=True, exist_ok=True)
    with (
        (work / "worker.log").open("a") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ)) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if process.returncode not in (0, -signal.SIGKILL):
            raise DengarError(f"the worker ended with code {process.returncode}; see {work / 'worker.log'}")


def _statuses(store: Store, names: Sequence[str]) -> set[str]:
    with store.reading() as session:
        found = dict(session.execute(select(Name.text, Name.status).where(Name.text.in_(names))).tuples().all())
    return {found.get(name, "") for name in names}


def _wait_for_names(store: Store, names: Sequence[str], began: float) -> dict[str, float]:
    """When each name was approved, in seconds after `began`; those that are not within `WAIT_S` are not in it."""
    approved: dict[str, float] = {}
    end = time.monotonic() + WAIT_S
    wall = time.time() - time.monotonic()
    while len(approved) < len(names) and time.monotonic() < end:
        with store.reading() as session:
            rows = session.execute(
                select(Name.text, Name.changed_at).where(Name.text.in_(names), Name.status == "approved")
            ).all()
        approved = {text: round(at.timestamp() - wall - began, 1) for text, at in rows}
        time.sleep(POLL_S)
    return approved


def _learn(store: Store, names: Sequence[str]) -> dict[str, Any]:
    """Asks for a job, waits for it, and gives its result."""
    from services.learner.triggers import request
    from services.learner.worker import utc_now

    job = store.run(lambda session: request(session, names, actor="bench", now=utc_now(), max_names=len(names)))
    if job is None:
        raise DengarError("the loop had nothing to learn")

    def ended() -> bool:
        with store.reading() as session:
            return session.get_one(Job, job.id).status not in ("queued", "running")

    _wait_until(ended, JOB_S, "the job to end")
    with store.reading() as session:
        done = session.get_one(Job, job.id)
    if done.status != "done":
        raise DengarError(f"the job {done.status}: {done.error}")
    return done.result


def store_has_canary(store: Store) -> bool:
    """Whether a bundle is on trial."""
    from services.learner.rollout import CANARY
    from services.store.models import LearnedBundle

    with store.reading() as session:
        return session.scalars(select(LearnedBundle).where(LearnedBundle.status == CANARY)).first() is not None


def _wait_until(holds: Callable[[], bool], limit_s: float, what: str) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise DengarError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(POLL_S)
