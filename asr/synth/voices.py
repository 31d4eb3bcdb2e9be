"""Who speaks: every voice of every engine, each in exactly one of the splits train, dev and test."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from asr.errors import ConfigError

SPLITS = ("train", "dev", "test")
UNUSED = "unused"
"""The split of a voice that is known and never spoken with (whispering, robots, effects)."""

DEFAULT_CATALOGUE = Path(__file__).parents[2] / "data" / "voices.yaml"


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice.

    Attributes:
        engine: name in the engine registry.
        name: what the engine calls it; for a Kokoro blend ``a*0.6+b*0.4``.
        split: train, dev, test or unused.
        gender: female, male or empty.
        accent: us, england, scotland ...
    """

    engine: str
    name: str
    split: str
    gender: str = ""
    accent: str = ""

    @property
    def id(self) -> str:
        """``engine:name``, the speaker in manifests."""
        return f"{self.engine}:{self.name}"


def catalogue(path: Path = DEFAULT_CATALOGUE) -> tuple[Voice, ...]:
    """Every voice of `path`, in its order.

    An engine's entry is a list of voices, or ``accents`` (name: accent) and ``speakers`` whose product are
    its voices, so that a speaker keeps its split in every accent.

    Raises:
        ConfigError: the file is missing or an entry makes no sense, or a voice stands there twice.
    """
    return _catalogue(path.resolve())


@functools.lru_cache(maxsize=8)
def _catalogue(path: Path) -> tuple[Voice, ...]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the voice catalogue cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must map engines to their voices")
    voices: list[Voice] = []
    for engine, entry in content.items():
        try:
            voices += _entry(str(engine), entry)
        except (TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{path}: the entry of {engine!r} makes no sense ({error})") from error
    seen: set[str] = set()
    for voice in voices:
        if voice.split not in (*SPLITS, UNUSED):
            raise ConfigError(f"{path}: {voice.id} has the split {voice.split!r}; known: {', '.join(SPLITS)}, {UNUSED}")
        if voice.id in seen:
            raise ConfigError(f"{path}: {voice.id} stands there twice")
        seen.add(voice.id)
    return tuple(voices)


def _entry(engine: str, entry: Any) -> list[Voice]:
    if isinstance(entry, list):
        return [Voice(engine=engine, **row) for row in entry]
    return [
        Voice(engine, f"{code}+{row['name']}", row["split"], row.get("gender", ""), accent)
        for row in entry["speakers"]
        for code, accent in entry["accents"].items()
    ]


def of_engine(engine: str, split: str | None = None, path: Path = DEFAULT_CATALOGUE) -> tuple[Voice, ...]:
    """The usable voices of one engine, of one split or of all."""
    return tuple(
        voice
        for voice in catalogue(path)
        if voice.engine == engine and voice.split != UNUSED and split in (None, voice.split)
    )


def find(identifier: str, path: Path = DEFAULT_CATALOGUE) -> Voice:
    """The voice called ``engine:name``; a blend ``kokoro:a*0.6+b*0.4`` is made from its parts.

    Raises:
        ConfigError: no such voice, or a blend across splits.
    """
    voices = {voice.id: voice for voice in catalogue(path)}
    if identifier in voices:
        return voices[identifier]
    engine, _, name = identifier.partition(":")
    weights = parse_blend(name) if "*" in name else {}
    parts = [voices.get(f"{engine}:{part}") for part in weights]
    if not weights or None in parts:
        known = [voice.id for voice in voices.values() if voice.engine == engine and voice.split != UNUSED]
        hint = f"voices of {engine}: {_few(known)}" if known else "a voice is ENGINE:NAME, such as flite:slt"
        raise ConfigError(f"there is no voice {identifier!r}; {hint}")
    return blend({part: weight for part, weight in zip(parts, weights.values(), strict=True) if part})


def blend(weights: dict[Voice, float]) -> Voice:
    """The voice between some voices of one engine and one split.

    Raises:
        ConfigError: the parts belong to different splits or engines.
    """
    parts = list(weights)
    if len({(part.engine, part.split) for part in parts}) != 1:
        raise ConfigError(f"a blend mixes voices of one engine and one split, not {', '.join(p.id for p in parts)}")
    heaviest = max(parts, key=lambda part: weights[part])
    genders = {part.gender for part in parts}
    name = "+".join(f"{part.name}*{weight:.2f}" for part, weight in weights.items())
    return Voice(heaviest.engine, name, heaviest.split, genders.pop() if len(genders) == 1 else "", heaviest.accent)


def parse_blend(name: str) -> dict[str, float]:
    """``a*0.6+b*0.4`` as ``{a: 0.6, b: 0.4}``; a plain name weighs 1.

    Raises:
        ConfigError: not of that form, or the weights do not add up to one.
    """
    weights: dict[str, float] = {}
    for part in name.split("+"):
        match = re.fullmatch(r"(\w+)(?:\*([0-9]*\.?[0-9]+))?", part)
        if not match:
            raise ConfigError(f"{name!r} is not a voice or a blend such as af_bella*0.60+af_sky*0.40")
        weights[match[1]] = float(match[2] or 1.0)
    if abs(sum(weights.values()) - 1.0) > 0.011:
        raise ConfigError(f"the weights of the blend {name!r} must add up to 1, not {sum(weights.values()):.2f}")
    return weights


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
