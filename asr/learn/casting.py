"""Who says which name in which query, and how it is pronounced: every draw made, nothing spoken yet."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from asr.errors import ConfigError, MissingDependencyError
from asr.learn.config import CastConfig, NewName, SynthesisConfig, located
from asr.synth.engine import ENGINES
from asr.synth.names import Name
from asr.synth.queries import Grammar, Query, draw_queries, read_grammar
from asr.synth.sources import with_names
from asr.synth.voices import Voice, blend, of_engine
from asr.unknown.letters import pronounce

TRAIN, HELD_OUT, MEASURE = "train", "dev", "test"


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance to be spoken.

    Attributes:
        name: that it is about.
        text: what is said, the reference.
        written: as people write it, where that differs.
        split: "train", "dev" (held out, to tell when to stop) or "test" (for measuring).
        voice: ``engine:name``.
        source: where the pronunciation of the name comes from: "text" is the engine's own reading, "rules" those of
            `asr.unknown.letters`, "given" and "heard" what came with the name, "flite" Flite's lexicon.
        said: phones for "given" and "rules", a spelling for "heard", empty for the others.
    """

    name: str
    text: str
    written: str
    split: str
    voice: str
    speed: float
    pitch: float
    vocal_tract: float
    source: str = "text"
    said: str = ""

    @property
    def digest(self) -> str:
        """Names the audio: the same line gives the same samples."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def engine(self) -> str:
        return self.voice.partition(":")[0]


def cast(
    names: Sequence[NewName], config: SynthesisConfig, seed: int, available: Callable[[str], bool]
) -> tuple[list[Line], dict[str, str]]:
    """Every utterance of every name; a name's do not depend on which other names there are.

    Args:
        names: to learn.
        config: how.
        seed: of every draw.
        available: whether an engine can be used here.

    Returns:
        The lines, and for each engine that is not installed the one that speaks in its place.

    Raises:
        ConfigError: the grammars have too few queries, or an engine no voice.
        MissingDependencyError: an engine is not available and has no replacement.
    """
    grammars = [read_grammar(located(path)) for path in config.queries]
    parts, replaced = _usable(config.cast, available)
    lines: list[Line] = []
    for name in names:
        rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.text.encode()).digest()[:6], "big")])
        for split, count in ((TRAIN, config.utterances_per_name), (HELD_OUT, config.held_out_per_name)):
            asked = queries_of(name.text, grammars, config.slots, rng, split, count)
            engines = _shared_out(parts, count)
            ways = {engine: itertools.cycle(_pronunciations(name, engine)) for engine in ENGINES}
            casts = {part.engine: _voices(part, split, rng) for part in parts}
            for query, part in zip(asked, engines, strict=True):
                way = next(ways[part.engine])
                lines.append(_line(name.text, query, split, next(casts[part.engine]), part, way, rng))
    return lines, replaced


def queries_of(
    name: str, grammars: Sequence[Grammar], slots: tuple[str, ...], rng: np.random.Generator, split: str, count: int
) -> list[Query]:
    """Different queries about a name, of one split of the sentences, from the grammars in turn.

    Raises:
        ConfigError: there are too few.
    """
    filled = []
    for grammar in grammars:
        mine = tuple(slot for slot in slots if slot in grammar.slots)
        templates = tuple(t for t in grammar.templates if sum(t.text.count(f"{{{slot}}}") for slot in mine) == 1)
        if mine and templates:
            once = grammar.model_copy(update={"templates": templates})
            filled.append(draw_queries(with_names(once, [Name(name, name)], mine), rng, split))
    if not filled:
        raise ConfigError(f"synthesis.queries: no template names one of the slots {', '.join(slots)}")
    turns = itertools.cycle(filled)
    found = [query for query in (next(next(turns), None) for _ in range(count)) if query is not None]
    if len(found) < count:
        raise ConfigError(f"synthesis.queries: {len(found)} different queries about {name!r}, asked for {count}")
    return found


def _usable(parts: Sequence[CastConfig], available: Callable[[str], bool]) -> tuple[list[CastConfig], dict[str, str]]:
    import dataclasses

    replaced: dict[str, str] = {}
    usable: list[CastConfig] = []
    for part in parts:
        if available(part.engine):
            usable.append(part)
        elif part.otherwise and available(part.otherwise):
            replaced[part.engine] = part.otherwise
            usable.append(dataclasses.replace(part, engine=part.otherwise))
        else:
            raise MissingDependencyError(
                f"the speech engine {part.engine} cannot be used here; dengar doctor tells how to get it, or name "
                "another in synthesis.cast"
            )
    return usable, replaced


def _shared_out(parts: Sequence[CastConfig], count: int) -> list[CastConfig]:
    """`count` turns in proportion to the shares, mixed as evenly as can be."""
    shares = np.array([part.share for part in parts]) / sum(part.share for part in parts)
    given = np.zeros(len(parts))
    turns: list[CastConfig] = []
    for turn in range(1, count + 1):
        chosen = int(np.argmax(shares * turn - given))
        given[chosen] += 1
        turns.append(parts[chosen])
    return turns


def _pronunciations(name: NewName, engine: str) -> list[tuple[str, str]]:
    """Every way in which an engine can say a name, with its source; its own reading is every second.

    Only Kokoro reads phones: those given, and those of the spelling rules as English and as other languages are read.
    """
    others: list[tuple[str, str]] = []
    if engine == "kokoro":
        others = [("given", pronunciation) for pronunciation in name.pronunciations]
        rules = [pronounce(word) for word in name.text.split()]
        readings = dict.fromkeys(" ".join(word[min(k, len(word) - 1)] for word in rules) for k in (0, 1))
        others += [("rules", reading) for reading in readings]
    others += [("heard", spelling) for spelling in name.heard if spelling != name.text]
    return [way for other in others for way in (("text", ""), other)] or [("text", "")]


def _voices(part: CastConfig, split: str, rng: np.random.Generator) -> Iterator[Voice]:
    """The engine's voices of one split in random order, over and over, some of them blended."""
    voices = of_engine(part.engine, split)
    if not voices:
        raise ConfigError(f"synthesis.cast: {part.engine} has no voice in the split {split}")
    while True:
        for index in rng.permutation(len(voices)).tolist():
            voice = voices[index]
            if part.engine == "kokoro" and len(voices) > 1 and rng.random() < part.blend:
                other = voices[(index + 1 + int(rng.integers(len(voices) - 1))) % len(voices)]
                weight = round(float(rng.uniform(0.5, 0.8)), 2)
                voice = blend({voice: weight, other: round(1 - weight, 2)})
            yield voice


def _line(
    name: str, query: Query, split: str, voice: Voice, part: CastConfig, way: tuple[str, str], rng: np.random.Generator
) -> Line:
    speed, pitch, tract = (round(float(rng.uniform(*span)), 3) for span in (part.speed, part.pitch, part.vocal_tract))
    source, said = way
    if voice.engine == "kokoro":
        pitch = 1.0
    return Line(name, query.text, query.written, split, voice.id, speed, pitch, tract, source, said)
