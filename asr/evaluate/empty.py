"""Words invented where nobody speaks: silence, noise and music streamed through a recogniser.

A sound is heard as many short streams, as a service hears queries: a stream that is opened by mistake, or kept open
by noise, must stay empty. What counts is the words of final results.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from asr import audio
from asr.audio import SAMPLE_RATE_HZ, Samples
from asr.augment import events, loops
from asr.augment.config import CabinConfig, NoiseConfig
from asr.augment.noise import AUDIO_SUFFIXES, CabinBank, NoiseFiles
from asr.augment.seeding import generator
from asr.errors import ConfigError
from asr.evaluate.evaluation import Rate
from asr.evaluate.run import Listener, hear_stream
from asr.evaluate.statistics import Resampling, intervals

HISS_DB = (-80.0, -60.0)
"""Levels of a quiet microphone's noise."""

PIECE_S = 10.0
"""A stream of noise files changes to another file after this time."""

EXAMPLES = 5

GROUPS = {
    "all silence": ("silence", "hiss"),
    "all noise": ("cabin", "noise files"),
    "all music": ("synthetic music", "recorded music"),
}


@dataclass(frozen=True, config={"extra": "forbid"})
class EmptyConfig:
    """What is heard.

    Attributes:
        minutes: of each sound at each level.
        stream_s: length of a stream.
        levels_db: root mean square of noise and music, dB relative to full scale.
        noise_dir: folder of noise files; those reserved for testing are heard.
        music_dir: folder of recorded music, in any format that `asr.audio` reads.
        packet_ms: length of a packet.
        seed: of every draw.
    """

    minutes: Annotated[float, Field(gt=0, le=600)] = 10.0
    stream_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    levels_db: Annotated[tuple[Annotated[float, Field(ge=-90, le=0)], ...], Field(min_length=1)] = (-50.0, -35.0, -20.0)
    noise_dir: str = ""
    music_dir: str = ""
    packet_ms: Annotated[int, Field(ge=10, le=10_000)] = 100
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def streams(self) -> int:
        """How many streams of each sound at each level."""
        return max(1, round(60.0 * self.minutes / self.stream_s))


@plain_dataclass(frozen=True, slots=True)
class EmptySound:
    """One sound without speech at one level.

    Attributes:
        name: "silence", "hiss", "cabin", "noise files", "synthetic music", "recorded music".
        level_db: root mean square relative to full scale, None for digital silence.
        stream: gives stream number n, of shape (stream_s * 16000,).
    """

    name: str
    level_db: float | None
    stream: Callable[[int], Samples]


@plain_dataclass(frozen=True, slots=True)
class Invented:
    """What was heard in a sound without speech.

    Attributes:
        name, level_db: of the sound.
        audio_s: seconds heard.
        streams: how many.
        streams_with_words: how many did not stay empty.
        words: in all final results.
        words_per_hour: with a bootstrap interval over streams.
        examples: the first texts that were made up.
    """

    name: str
    level_db: float | None
    audio_s: float
    streams: int
    streams_with_words: int
    words: int
    words_per_hour: Rate
    examples: tuple[str, ...]


def empty_sounds(config: EmptyConfig) -> list[EmptySound]:
    """The sounds to hear; raises `ConfigError` if a folder holds none."""
    length = int(config.stream_s * SAMPLE_RATE_HZ)

    def hiss(number: int) -> Samples:
        return generator(config.seed, "hiss", number).standard_normal(length, np.float32)

    sounds = [EmptySound("silence", None, lambda _: np.zeros(length, np.float32))]
    sounds += [EmptySound("hiss", level_db, _at_level(hiss, level_db)) for level_db in HISS_DB]
    makers: dict[str, Callable[[int], Samples]] = {"cabin": _cabin(config, length)}
    if config.noise_dir:
        makers["noise files"] = _noise_files(config, length)
    makers["synthetic music"] = lambda number: events.music(generator(config.seed, "music", number), length)
    if config.music_dir:
        makers["recorded music"] = _recordings(Path(config.music_dir), config.seed, length)
    return sounds + [
        EmptySound(name, level_db, _at_level(make, level_db))
        for name, make in makers.items()
        for level_db in config.levels_db
    ]


def listen_empty(
    listener: Listener, config: EmptyConfig, *, sounds: list[EmptySound] | None = None
) -> Iterator[Invented]:
    """Yields what is heard in each sound in turn."""
    for sound in empty_sounds(config) if sounds is None else sounds:
        seconds, counts, texts = [], [], []
        for number in range(config.streams):
            samples = sound.stream(number)
            text = hear_stream(listener, samples, config.packet_ms)[0].text
            seconds.append(len(samples) / SAMPLE_RATE_HZ)
            counts.append(len(text.split()))
            texts.append(text)
        yield Invented(
            name=sound.name,
            level_db=sound.level_db,
            audio_s=sum(seconds),
            streams=len(counts),
            streams_with_words=sum(count > 0 for count in counts),
            words=sum(counts),
            words_per_hour=_per_hour(counts, seconds, Resampling(seed=config.seed)),
            examples=tuple(text for text in texts if text.strip())[:EXAMPLES],
        )


def _per_hour(counts: list[int], seconds: list[float], resampling: Resampling) -> Rate:
    words, hours = np.array(counts, np.float64)[:, None], np.array(seconds)[:, None] / 3600.0
    low, high = intervals(words, hours, np.arange(len(counts)), resampling)[0].tolist()
    known = len(counts) > 1
    return Rate(float(words.sum() / hours.sum()), low if known else None, high if known else None)


def _at_level(make: Callable[[int], Samples], level_db: float) -> Callable[[int], Samples]:
    def stream(number: int) -> Samples:
        samples = make(number)
        rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
        return np.asarray(np.clip(samples * np.float32(10.0 ** (level_db / 20.0) / max(rms, 1e-9)), -1.0, 1.0))

    return stream


def _cabin(config: EmptyConfig, length: int) -> Callable[[int], Samples]:
    """Cabins that no training met, without voices and music: the clips made for tests."""
    settings = CabinConfig()
    bank = CabinBank(settings, config.seed, "test")
    return lambda number: loops.cut(bank.clip(number % settings.clips)[0], number * 7919, length)


def _noise_files(config: EmptyConfig, length: int) -> Callable[[int], Samples]:
    """Pieces of files reserved for tests, drawn for each stream and put one after another."""
    files = NoiseFiles(config.noise_dir, NoiseConfig(probability=1.0, kinds={"files": 1.0}, heldout="only"))
    piece = int(PIECE_S * SAMPLE_RATE_HZ)

    def stream(number: int) -> Samples:
        rng = generator(config.seed, "noise files", number)
        pieces = [
            _anywhere(files.load(int(rng.integers(len(files.paths)))), rng, min(piece, length - start))
            for start in range(0, length, piece)
        ]
        return np.concatenate(pieces)

    return stream


def _recordings(folder: Path, seed: int, length: int) -> Callable[[int], Samples]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*AUDIO_SUFFIXES, ".g722"))
    if not paths:
        raise ConfigError(f"{folder}: holds no music ({', '.join(AUDIO_SUFFIXES)}, .g722)")
    load = functools.lru_cache(maxsize=8)(audio.load)

    def stream(number: int) -> Samples:
        rng = generator(seed, "recorded music", number)
        return _anywhere(load(paths[int(rng.integers(len(paths)))]), rng, length)

    return stream


def _anywhere(recording: Samples, rng: np.random.Generator, length: int) -> Samples:
    """A piece that begins anywhere in a recording, which begins again at its end."""
    return loops.cut(recording, int(rng.integers(len(recording))), length)


def empty_markdown(models: dict[str, list[Invented]]) -> str:
    """Words invented per hour as a Markdown table, a column for each model; all models heard the same sounds."""
    head = ["sound", "level dB", "minutes", *(f"{name} words/h (streams with words)" for name in models)]
    rows = [head, ["---", *("---:" for _ in head[1:])]]
    for same in zip(*models.values(), strict=True):
        level = "–" if same[0].level_db is None else f"{same[0].level_db:g}"
        cells = [f"{s.words_per_hour.value or 0.0:.0f} ({s.streams_with_words} of {s.streams})" for s in same]
        rows.append([same[0].name, level, f"{same[0].audio_s / 60:.1f}", *cells])
    for label, names in (*GROUPS.items(), ("everything", None)):
        chosen = [[sound for sound in found if names is None or sound.name in names] for found in models.values()]
        minutes = sum(sound.audio_s for sound in chosen[0]) / 60
        if minutes:
            rows.append([label, "", f"{minutes:.1f}", *(f"**{_total(found):.1f}**" for found in chosen)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _total(found: list[Invented]) -> float:
    return sum(sound.words for sound in found) / max(sum(sound.audio_s for sound in found) / 3600.0, 1e-9)


def to_json(found: Invented) -> dict[str, Any]:
    """As JSON values."""
    return asdict(found)
