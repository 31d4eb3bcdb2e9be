"""A synthesised corpus: a recipe says who speaks what, `plan` draws every detail, `generate` writes it.

Everything is decided by the plan, from the seed alone; speaking it is then independent work per sentence, so
it runs over several processes, and a run that was stopped goes on where it stood: finished files are kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from asr import audio
from asr.corpus.manifest import Utterance, measured_duration_s, write_manifest
from asr.errors import AudioError, ConfigError, MissingDependencyError
from asr.synth.engine import ENGINES, MAX_PITCH, MAX_SPEED, MIN_PITCH, MIN_SPEED, Engine, open_engine, trim_silence
from asr.synth.queries import Query, queries, read_grammar
from asr.synth.voices import Voice, blend, find

Range = Annotated[tuple[float, float], Field(description="lowest and highest")]


class Part(BaseModel):
    """Some utterances of one engine.

    Attributes:
        engine: who speaks.
        otherwise: the engine that takes over where `engine` is not installed.
        count: utterances.
        speed, pitch: ranges of the factors, drawn uniformly; an engine without pitch ignores `pitch`.
        blend: probability that a voice is a blend of two of the split (engines that can).
        accents: only voices of these accents; empty means all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    count: int = Field(ge=1)
    otherwise: str | None = None
    speed: Range = (1.0, 1.0)
    pitch: Range = (1.0, 1.0)
    blend: float = Field(0.0, ge=0, le=1)
    accents: tuple[str, ...] = ()

    @field_validator("engine", "otherwise")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in ENGINES:
            raise ValueError(f"there is no speech engine {name!r}; known: {', '.join(ENGINES)}")
        return name

    @field_validator("speed", "pitch")
    @classmethod
    def _in_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not min(MIN_SPEED, MIN_PITCH) <= value[0] <= value[1] <= max(MAX_SPEED, MAX_PITCH):
            raise ValueError(f"must be [lowest, highest] within [{MIN_SPEED}, {MAX_SPEED}], found {list(value)}")
        return value


class SynthRecipe(BaseModel):
    """What to synthesise.

    Attributes:
        corpus: the manifest's ``corpus``.
        queries: the grammar, relative to the recipe's file.
        split: whose voices speak, and which sentences are spoken.
        sentences: how many different sentences; the utterances go round them. None: every one is different.
        format: of the audio files.
        parts: who speaks how many utterances.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    queries: Path
    split: Literal["train", "dev", "test"]
    seed: int = 0
    sentences: int | None = Field(None, ge=1)
    format: Literal["opus", "flac", "wav"] = "opus"
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]

    @property
    def count(self) -> int:
        """Utterances of all parts."""
        return sum(part.count for part in self.parts)

    def spoken_by(self, engine: str) -> SynthRecipe:
        """The recipe with every part spoken by one engine.

        Raises:
            ConfigError: there is no engine of that name.
        """
        if engine not in ENGINES:
            raise ConfigError(f"there is no speech engine {engine!r}; known: {', '.join(ENGINES)}")
        parts = tuple(part.model_copy(update={"engine": engine, "otherwise": None}) for part in self.parts)
        return self.model_copy(update={"parts": parts})

    def scaled(self, count: int) -> SynthRecipe:
        """The recipe with `count` utterances in all, divided over the parts as before."""
        edges = np.round(np.cumsum([0, *(part.count for part in self.parts)]) / self.count * count).astype(int)
        parts = [
            part.model_copy(update={"count": int(size)}) for part, size in zip(self.parts, np.diff(edges), strict=True)
        ]
        return self.model_copy(update={"parts": tuple(part for part in parts if part.count)})


def read_recipe(path: str | Path) -> SynthRecipe:
    """Reads and checks a recipe; ``queries`` becomes a path as seen from here.

    Raises:
        ConfigError: the file is missing, not YAML, or a value makes no sense.
    """
    path = Path(path)
    try:
        recipe = SynthRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: the recipe cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{path}: {where + ': ' if where else ''}{message}") from error
    return recipe.model_copy(update={"queries": path.parent / recipe.queries})


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence to be spoken: every draw made."""

    id: str
    file: str
    query: Query
    voice: Voice
    speed: float
    pitch: float

    @property
    def source(self) -> str:
        """The engine and every draw, for the manifest."""
        return f"{self.voice.id} speed={self.speed} pitch={self.pitch}"


@dataclass(frozen=True, slots=True)
class SynthReport:
    """What `generate` did.

    Attributes:
        made: utterances spoken now.
        kept: utterances found finished from an earlier run.
        engines: utterances by engine.
        replaced: for each engine that is not installed, the one that spoke in its place.
    """

    manifest: Path
    utterances: int
    duration_s: float
    voices: int
    made: int
    kept: int
    engines: dict[str, int]
    replaced: dict[str, str]


def plan(recipe: SynthRecipe, available: Callable[[str], bool]) -> tuple[list[Sentence], dict[str, str]]:
    """Draws every sentence's words, voice, speed and pitch.

    Args:
        recipe: what to synthesise.
        available: whether an engine can be used here.

    Returns:
        The sentences, and which engine was replaced by which.

    Raises:
        ConfigError: the grammar has too few sentences, or no voice fits.
        MissingDependencyError: an engine is not available and has no replacement that is.
    """
    different = min(recipe.sentences or recipe.count, recipe.count)
    texts = queries(read_grammar(recipe.queries), different, recipe.seed, recipe.split)
    sentences: list[Sentence] = []
    replaced: dict[str, str] = {}
    for number, part in enumerate(recipe.parts):
        name = part.engine
        if not available(name):
            if part.otherwise is None or not available(part.otherwise):
                open_engine(name)  # says what is missing and how to get it
                raise MissingDependencyError(f"the speech engine {name} cannot be used here")
            replaced[name] = name = part.otherwise
        rng = np.random.default_rng([recipe.seed, number])
        for voice, (speed, pitch) in zip(_cast(recipe, part, name, rng), _prosody(part, name, rng), strict=True):
            query = texts[len(sentences) % len(texts)]
            key = json.dumps([query.text, voice.id, speed, pitch])
            digest = hashlib.sha256(key.encode()).hexdigest()[:8]
            identifier = f"{recipe.corpus}-{recipe.split}-{len(sentences):05d}-{name}-{digest}"
            file = f"audio/{identifier}.{recipe.format}"
            sentences.append(Sentence(identifier, file, query, voice, speed, pitch))
    return sentences, replaced


def _cast(recipe: SynthRecipe, part: Part, engine_name: str, rng: np.random.Generator) -> list[Voice]:
    """A voice for each utterance: each of the split's voices comes before any comes again."""
    engine = _engine(engine_name)
    voices = [v for v in engine.voices() if v.split == recipe.split and (not part.accents or v.accent in part.accents)]
    if not voices:
        accents = f" with the accent {' or '.join(part.accents)}" if part.accents else ""
        raise ConfigError(f"{engine_name} has no {recipe.split} voice{accents}")
    order = [voices[index] for index in rng.permutation(len(voices))]
    cast = [order[index % len(order)] for index in range(part.count)]
    if not engine.can_blend or len(voices) < 2:
        return cast
    return [_blended(voice, voices, rng) if rng.random() < part.blend else voice for voice in cast]


def _blended(voice: Voice, voices: list[Voice], rng: np.random.Generator) -> Voice:
    others = [other for other in voices if other != voice]
    weight = round(float(rng.uniform(0.5, 0.8)), 2)
    return blend({voice: weight, others[int(rng.integers(len(others)))]: round(1 - weight, 2)})


def _prosody(part: Part, engine_name: str, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    has_pitch = _engine(engine_name).has_pitch
    for _ in range(part.count):
        speed, pitch = float(rng.uniform(*part.speed)), float(rng.uniform(*part.pitch))
        yield round(speed, 3), round(pitch, 3) if has_pitch else 1.0


def usable(engine: str) -> bool:
    """Whether an engine's programs and files are installed."""
    try:
        _engine(engine)
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
    sentences, replaced = plan(recipe, usable)
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
        replaced=replaced,
    )


def speak_text(text: str, voice_id: str, speed: float = 1.0, pitch: float = 1.0) -> audio.Samples:
    """Speaks one sentence with the voice called ``engine:name``; silence trimmed."""
    voice = find(voice_id)
    return trim_silence(_engine(voice.engine).speak(text, voice, speed, pitch))


def _speak_all(sentences: list[Sentence], folder: Path, jobs: int) -> Iterator[Sentence]:
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
    engine = _engine(sentence.voice.engine)
    samples = trim_silence(engine.speak(sentence.query.text, sentence.voice, sentence.speed, sentence.pitch))
    path = folder / sentence.file
    partial = path.with_name(f".partial-{path.name}")
    audio.save(partial, samples)
    partial.replace(path)
    return sentence


@functools.cache
def _engine(name: str) -> Engine:
    """One engine of each kind in a process: models are large."""
    return open_engine(name)


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
