"""A test of names: queries spoken by voices, an engine and a pronunciation source that learning never uses.

Learning speaks with the catalogue's train voices of every engine but the reserved ones, in the engines' own readings
and in those that came with the name. The test takes the test voices: Kokoro's, which say the name as Flite's lexicon
and letter-to-sound rules have it, and Flite's own.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.corpus.manifest import Manifest, Problem
from asr.errors import InputError
from asr.evaluate.run import Listener, RunConfig, recognise
from asr.learn.casting import MEASURE, Line, queries_of
from asr.learn.config import located
from asr.learn.synthesis import speak_all, write_lines
from asr.synth.names import mentions
from asr.synth.queries import read_grammar
from asr.synth.voices import of_engine


@dataclass(frozen=True, slots=True)
class Recall:
    """How often a full name was recognised.

    Attributes:
        said: utterances with a name.
        heard: those in whose text the whole name stands.
        by_name: (heard, said) of each name.
    """

    said: int
    heard: int
    by_name: dict[str, tuple[int, int]]

    @property
    def share(self) -> float:
        return self.heard / max(1, self.said)


def probe_lines(
    names: Sequence[str],
    *,
    kokoro: int = 6,
    flite: int = 2,
    seed: int = 0,
    queries: Sequence[str] = ("data/queries/names.yaml",),
    slots: tuple[str, ...] = ("person", "famous"),
) -> list[Line]:
    """What to speak for a test.

    Args:
        names: as spoken.
        kokoro: utterances of each name by Kokoro's test voices, the name as Flite reads it.
        flite: by Flite's voices.
        seed: of every draw.
        queries: grammars; sentences of their test split are taken, which learning never speaks.
        slots: which hold a name.
    """
    grammars = [read_grammar(located(path)) for path in queries]
    natural = of_engine("kokoro", MEASURE)
    robotic = of_engine("flite")
    lines: list[Line] = []
    for name in names:
        rng = np.random.default_rng([seed, 1, int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")])
        asked = queries_of(name, grammars, slots, rng, MEASURE, kokoro + flite)
        cast = [natural[i] for i in itertools.islice(itertools.cycle(rng.permutation(len(natural)).tolist()), kokoro)]
        cast += [robotic[i] for i in itertools.islice(itertools.cycle(rng.permutation(len(robotic)).tolist()), flite)]
        for query, voice in zip(asked, cast, strict=True):
            speed, tract = round(float(rng.uniform(0.9, 1.15)), 3), round(float(rng.uniform(0.92, 1.08)), 3)
            lines.append(Line(name, query.text, query.written, MEASURE, voice.id, speed, 1.0, tract, source="flite"))
    return lines


def recall(names: Sequence[str], texts: Sequence[str]) -> Recall:
    """Full names recognised: `names` said in each utterance, and the `texts` heard."""
    found: dict[str, list[int]] = {}
    for name, text in zip(names, texts, strict=True):
        counted = found.setdefault(name, [0, 0])
        counted[0] += mentions(text, {name})
        counted[1] += 1
    by_name = {name: (heard, said) for name, (heard, said) in found.items()}
    return Recall(sum(said for _, said in by_name.values()), sum(heard for heard, _ in by_name.values()), by_name)


def speak_probe(
    lines: Sequence[Line], folder: Path, jobs: int = 1, progress: Callable[[int, int], None] = lambda *_: None
) -> Manifest:
    """Speaks a test into a folder, where audio that is there is kept; the rows stand in the lines' order."""
    utterances = speak_all(lines, folder, jobs=jobs, progress=progress)
    path = write_lines(lines, utterances, folder)[MEASURE]
    return Manifest(path, tuple(utterances))


def hear_probe(
    listener: Listener,
    lines: Sequence[Line],
    manifest: Manifest,
    snr_db: float | None = None,
    report: Callable[[], None] = lambda: None,
) -> list[str]:
    """What is heard of each line, as it is (None) or in a car's cabin at a ratio of speech to noise.

    Raises:
        InputError: an utterance cannot be heard.
    """
    texts: list[str] = []
    for item in recognise(listener, [manifest], RunConfig(snr_db=(snr_db,), noise="cabin")):
        if item.error:
            raise InputError(str(Problem(item.utterance.id, item.error)))
        texts.append(item.hypothesis or "")
        report()
    if len(texts) != len(lines):
        raise InputError(f"{manifest.path}: {len(texts)} utterances were heard of {len(lines)} lines")
    return texts
