"""A recipe: who speaks how many utterances of which sentences, in a YAML file such as ``data/demo-train.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from asr.config import load_config
from asr.errors import ConfigError
from asr.synth.engine import ENGINES, MAX_PITCH, MAX_SPEED, MIN_PITCH, MIN_SPEED
from asr.synth.sources import Source
from asr.synth.vocal_tract import MAX_FACTOR, MIN_FACTOR

Range = Annotated[tuple[float, float], Field(description="lowest and highest")]


class Part(BaseModel):
    """Some utterances of one engine.

    Attributes:
        engine: who speaks.
        otherwise: the engine that takes over where `engine` is not installed.
        count: utterances.
        speed, pitch: ranges of the factors, drawn uniformly; an engine without pitch ignores `pitch`.
        vocal_tract: range of the length of the speaker's vocal tract, as a factor, drawn uniformly; see
            `asr.synth.vocal_tract`.
        blend: probability that a voice is a blend of two of the split (engines that can).
        accents: only voices of these accents; empty means all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    count: int = Field(ge=1)
    otherwise: str | None = None
    speed: Range = (1.0, 1.0)
    pitch: Range = (1.0, 1.0)
    vocal_tract: Range = (1.0, 1.0)
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

    @field_validator("vocal_tract")
    @classmethod
    def _of_people(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not MIN_FACTOR <= value[0] <= value[1] <= MAX_FACTOR:
            raise ValueError(f"must be [lowest, highest] within [{MIN_FACTOR}, {MAX_FACTOR}], found {list(value)}")
        return value


class SynthRecipe(BaseModel):
    """What to synthesise: from one grammar (`queries`) or from several sources.

    Attributes:
        corpus: the manifest's ``corpus``.
        queries: the grammar, relative to the recipe's file.
        sources: see `asr.synth.sources.Source`.
        exclude_names: a list of names; a sentence that mentions one is not spoken.
        split: whose voices speak, and which sentences are spoken.
        sentences: how many different sentences; the utterances go round them. None: every one is different.
        format: of the audio files.
        parts: who speaks how many utterances.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    queries: Path | None = None
    sources: tuple[Source, ...] = ()
    exclude_names: Path | None = None
    split: Literal["train", "dev", "test"]
    seed: int = 0
    sentences: int | None = Field(None, ge=1)
    format: Literal["opus", "flac", "wav"] = "opus"
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _says_something(self) -> SynthRecipe:
        if (self.queries is None) == (not self.sources):
            raise ValueError("give either queries (one grammar) or sources")
        if self.queries and self.exclude_names:
            raise ValueError("exclude_names goes with sources; write sources: [{queries: ...}]")
        return self

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
    """Reads and checks a recipe; its paths become such as seen from here, ``$NAME`` in them the environment's.

    Raises:
        ConfigError: the file is missing, not YAML, or a value makes no sense.
    """
    recipe = load_config(SynthRecipe, path)
    folder = Path(path).parent
    changes: dict[str, object] = {"sources": tuple(source.beside(folder) for source in recipe.sources)}
    changes |= {key: folder / value for key in ("queries", "exclude_names") if (value := getattr(recipe, key))}
    return recipe.model_copy(update=changes)
