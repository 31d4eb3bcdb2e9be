"""Speaks what was planned and writes it.

Each sentence is independent work, so it runs over several processes, and a run that was stopped goes on where it
stood: finished files are kept.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from asr import audio
from asr.corpus.manifest import Utterance, measured_duration_s, write_manifest
from asr.errors import AudioError, MissingDependencyError
from asr.synth.engine import loaded_engine, trim_silence
from asr.synth.plan import Sentence, plan
from asr.synth.recipe import SynthRecipe
from asr.synth.vocal_tract import lengthen
from asr.synth.voices import Voice, find


@dataclass(frozen=True, slots=True)
class SynthReport:
    """What `generate` did.

    Attributes:
        made: utterances spoken now.
        kept: utterances found finished from an earlier run.
        engines: utterances by engine.
        replaced: for each engine that is not installed, the one that spoke in its place.
        left_out: sentences and names that were drawn and not taken, by reason.
    """

    manifest: Path
    utterances: int
    duration_s: float
    voices: int
    made: int
    kept: int
    engines: dict[str, int]
    replaced: dict[str, str]
    left_out: dict[str, int]


def usable(engine: str) -> bool:
    """Whether an engine's programs and files are installed."""
    try:
        loaded_engine(engine)
    except MissingDependencyError:
        return False
    return True


def generate(
    recipe: SynthRecipe, folder: str | Path, jobs: int = 1, progress: Callable[[int, int], None] = lambda *_: None
) -> SynthReport:
    """Synthesises a corpus into `folder`: ``audio/`` and, when all of it is there, ``manifest.jsonl``.

    Args:
        recipe: what to synthesise.
        folder: is made if need be; finished audio of the same sentences in it is kept.
        jobs: processes.
        progress: called with (done, all) after each sentence.

    Raises:
        ConfigError, MissingDependencyError: see `plan`.
    """
    folder = Path(folder)
    planned = plan(recipe, usable)
    sentences = planned.sentences
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    todo = [sentence for sentence in sentences if not _finished(folder / sentence.file)]
    kept = len(sentences) - len(todo)
    progress(kept, len(sentences))
    for done, _ in enumerate(_speak_all(todo, folder, jobs), start=kept + 1):
        progress(done, len(sentences))
    utterances = [_utterance(sentence, recipe, folder) for sentence in sentences]
    write_manifest(folder / "manifest.jsonl", utterances)
    return SynthReport(
        manifest=folder / "manifest.jsonl",
        utterances=len(sentences),
        duration_s=round(sum(utterance.duration for utterance in utterances), 3),
        voices=len({sentence.voice.id for sentence in sentences}),
        made=len(todo),
        kept=kept,
        engines=dict(Counter(sentence.voice.engine for sentence in sentences)),
        replaced=planned.replaced,
        left_out=planned.left_out,
    )


def speak_text(
    text: str, voice_id: str, speed: float = 1.0, pitch: float = 1.0, vocal_tract: float = 1.0
) -> audio.Samples:
    """Speaks one sentence with the voice called ``engine:name``; silence trimmed."""
    return _speak(text, find(voice_id), speed, pitch, vocal_tract)


def _speak(text: str, voice: Voice, speed: float, pitch: float, vocal_tract: float) -> audio.Samples:
    return lengthen(trim_silence(loaded_engine(voice.engine).speak(text, voice, speed, pitch)), vocal_tract)


def _speak_all(sentences: Sequence[Sentence], folder: Path, jobs: int) -> Iterator[Sentence]:
    if jobs <= 1 or len(sentences) < 2:
        for sentence in sentences:
            yield _speak_to_file(sentence, folder)
        return
    # Spawned and not forked: the engines' libraries and the caller may hold threads.
    with ProcessPoolExecutor(min(jobs, len(sentences)), mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_speak_to_file, sentence, folder) for sentence in sentences]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _speak_to_file(sentence: Sentence, folder: Path) -> Sentence:
    """Speaks one sentence and renames the finished file into place."""
    samples = _speak(sentence.query.text, sentence.voice, sentence.speed, sentence.pitch, sentence.vocal_tract)
    path = folder / sentence.file
    partial = path.with_name(f".partial-{path.name}")
    audio.save(partial, samples)
    partial.replace(path)
    return sentence


def _finished(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        return measured_duration_s(path) > 0
    except AudioError:
        return False


def _utterance(sentence: Sentence, recipe: SynthRecipe, folder: Path) -> Utterance:
    return Utterance(
        audio_filepath=sentence.file,
        duration=round(measured_duration_s(folder / sentence.file), 4),
        text=sentence.query.text,
        id=sentence.id,
        speaker=sentence.voice.id,
        gender=sentence.voice.gender,
        accent=sentence.voice.accent,
        corpus=recipe.corpus,
        split=recipe.split,
        written=sentence.query.written,
        source=sentence.source,
    )
