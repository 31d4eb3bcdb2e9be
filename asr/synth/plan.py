"""The plan of a synthesised corpus: every detail of every utterance, drawn from the recipe's seed alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from asr.errors import ConfigError, MissingDependencyError
from asr.synth.engine import loaded_engine, open_engine
from asr.synth.queries import Query, queries, read_grammar
from asr.synth.recipe import Part, SynthRecipe
from asr.synth.sources import draw
from asr.synth.voices import Voice, blend


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence to be spoken: every draw made."""

    id: str
    file: str
    query: Query
    voice: Voice
    speed: float
    pitch: float
    vocal_tract: float = 1.0

    @property
    def source(self) -> str:
        """The engine and every draw, for the manifest."""
        tract = f" vocal_tract={self.vocal_tract}" if self.vocal_tract != 1.0 else ""
        origin = f" text={self.query.origin}" if self.query.origin else ""
        return f"{self.voice.id} speed={self.speed} pitch={self.pitch}{tract}{origin}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is drawn.

    Attributes:
        sentences: what is spoken.
        replaced: for each engine that is not installed, the one that speaks in its place.
        left_out: sentences and names that were drawn and not taken, by reason.
    """

    sentences: tuple[Sentence, ...]
    replaced: dict[str, str]
    left_out: dict[str, int]


def plan(recipe: SynthRecipe, available: Callable[[str], bool]) -> Plan:
    """Draws every sentence's words, voice, speed, pitch and vocal tract.

    Args:
        recipe: what to synthesise.
        available: whether an engine can be used here.

    Raises:
        ConfigError: the grammar or the texts have too few sentences, or no voice fits.
        MissingDependencyError: an engine is not available and has no replacement that is.
    """
    different = min(recipe.sentences or recipe.count, recipe.count)
    texts, left_out = _texts(recipe, different)
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
        tracts = _tracts(part, np.random.default_rng([recipe.seed, 2, number + 1]))
        cast, prosody = _cast(recipe, part, name, rng), _prosody(part, name, rng)
        for voice, (speed, pitch), tract in zip(cast, prosody, tracts, strict=True):
            query = texts[len(sentences) % len(texts)]
            key = json.dumps([query.text, voice.id, speed, pitch, *([tract] if tract != 1.0 else [])])
            digest = hashlib.sha256(key.encode()).hexdigest()[:8]
            identifier = f"{recipe.corpus}-{recipe.split}-{len(sentences):05d}-{name}-{digest}"
            file = f"audio/{identifier}.{recipe.format}"
            sentences.append(Sentence(identifier, file, query, voice, speed, pitch, tract))
    return Plan(tuple(sentences), replaced, left_out)


def _texts(recipe: SynthRecipe, count: int) -> tuple[list[Query], dict[str, int]]:
    if recipe.queries:
        return queries(read_grammar(recipe.queries), count, recipe.seed, recipe.split), {}
    return draw(recipe.sources, count, recipe.seed, recipe.split, recipe.exclude_names)


def _cast(recipe: SynthRecipe, part: Part, engine_name: str, rng: np.random.Generator) -> list[Voice]:
    """A voice for each utterance: each of the split's voices comes before any comes again."""
    engine = loaded_engine(engine_name)
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
    has_pitch = loaded_engine(engine_name).has_pitch
    for _ in range(part.count):
        speed, pitch = float(rng.uniform(*part.speed)), float(rng.uniform(*part.pitch))
        yield round(speed, 3), round(pitch, 3) if has_pitch else 1.0


def _tracts(part: Part, rng: np.random.Generator) -> list[float]:
    """A stream of its own: a recipe that gains a range keeps its voices, speeds and pitches."""
    return [round(float(rng.uniform(*part.vocal_tract)), 3) for _ in range(part.count)]
