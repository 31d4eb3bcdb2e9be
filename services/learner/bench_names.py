"""How soon, how well and at what price names are learned: the loop in real processes, from a first query to a bundle.

A server and a worker run on a store and a registry of their own. Users, spoken by voices that neither learning nor the
test has, ask for names that the bundle does not know. What the loop then does by itself is timed, and how often the
full names are recognised is tested before, at once (as phrases), and for good (by the new bundle, without phrases), by
voices, an engine and a pronunciation that learning never uses (`asr.learn.probe`).
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from sqlalchemy import select

from asr import audio
from asr.corpus.manifest import Manifest
from asr.errors import InputError
from asr.learn.casting import HELD_OUT, Line, queries_of
from asr.learn.config import located
from asr.learn.probe import Recall, probe_lines, recall, speak_probe
from asr.learn.synthesis import speak_all
from asr.synth.names import read_names
from asr.synth.queries import read_grammar
from asr.synth.voices import of_engine
from services.learner.trial import (
    FAST,
    JOB_S,
    POLL_S,
    Caller,
    all_listened,
    has_canary,
    learn_now,
    statuses,
    wait_until,
    worker_process,
)
from services.load.server import served
from services.registry import Registry
from services.store.database import Store
from services.store.models import Name

LIST = "data/unheard-names.txt"
WAIT_S = 20.0
"""After the last query, until a name that was not noticed is added by a person."""

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
    users: int = 10,
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
        caller = Caller(channel)
        tell("testing before anything is learned")
        before = probe.hear(caller.words)
        caller.catalogue([name.text for name in read_names(located(LIST)).names] + list(names))
        overrides = [*FAST, *settings]
        stack.enter_context(worker_process(url, registry.folder, folder / "work", overrides, learn_settings))
        tell(f"{users} users ask for each name")
        began = time.monotonic()
        for order in range(users):  # one user after another asks for everything
            for place, name in enumerate(names):
                caller.ask(asked[place * users + order], f"user {order} of {name}")
        approved = _wait_for_names(store, names, began)
        for name in names:
            if name not in approved:
                caller.add(name)
        wait_until(lambda: statuses(store, names) >= {"approved"}, 5.0, "the names to be approved")
        wait_until(lambda: all_listened(store, names), 120.0, "the loop to hear how the names are misheard")
        time.sleep(2.0)  # the server asks for names every second
        served_s = time.monotonic() - began
        tell(f"{len(approved)} of {len(names)} names noticed and served {served_s:.0f} s after the first query")
        at_once = probe.hear(caller.words)
        tell("learning them for good")
        asking = time.monotonic()
        job = learn_now(store, names, "bench")
        wait_until(lambda: not has_canary(store), JOB_S, "the new bundle to be let in")
        live_s = served_s + time.monotonic() - asking  # the test in between is no part of the loop
        promoted = registry.live() == job["bundle"][:12]
        if promoted:
            wait_until(lambda: caller.bundle().startswith(registry.live()), 60.0, "the server to serve the new bundle")
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
