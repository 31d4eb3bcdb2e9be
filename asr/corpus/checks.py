"""The checks that every utterance of every corpus passes before it may train or test anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from asr.corpus.items import RawItem, RefReader
from asr.corpus.manifest import Problem, Utterance
from asr.corpus.measure import Measures, measure
from asr.corpus.text import normalise
from asr.errors import AudioError, TextError


class Reason(StrEnum):
    """Why an utterance was left out."""

    BAD_LINE = "line not understood"
    MISSING_FILE = "missing file"
    EMPTY = "empty file"
    UNDECODABLE = "undecodable"
    SILENT = "silent"
    CLIPPED = "clipped"
    TOO_SHORT = "too short"
    TOO_LONG = "too long"
    RATE = "implausible speaking rate"
    TEXT = "text outside the alphabet"
    DUPLICATE_ID = "same id as another"
    DUPLICATE_AUDIO = "same audio as another"
    SPEAKER_IN_TWO_SPLITS = "speaker also in a held-out split"
    SENTENCE_IN_TWO_SPLITS = "sentence also in a held-out split"


class CheckConfig(BaseModel):
    """Bounds of what is kept.

    Attributes:
        min_duration_s: shorter recordings are left out.
        max_duration_s: longer ones too.
        min_level_db: speech quieter than this (mean power of the active frames, re full scale) counts as silence.
        max_clipped: largest fraction of samples in runs at full scale.
        min_rate: fewest characters per second of speech (the slowest learner reads 2).
        max_rate: most (the fastest reader of Common Voice makes 27).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_duration_s: Annotated[float, Field(gt=0)] = 0.15
    max_duration_s: Annotated[float, Field(gt=0)] = 30.0
    min_level_db: Annotated[float, Field(ge=-100, le=0)] = -60.0
    max_clipped: Annotated[float, Field(ge=0, le=1)] = 0.005
    min_rate: Annotated[float, Field(ge=0)] = 1.0
    max_rate: Annotated[float, Field(gt=0)] = 32.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_duration_s >= self.max_duration_s:
            raise ValueError("min_duration_s must be below max_duration_s")
        if self.min_rate >= self.max_rate:
            raise ValueError("min_rate must be below max_rate")
        return self


@dataclass(frozen=True, slots=True)
class Dropped:
    """One utterance that was left out: the line or file it came from, the reason, and what was found."""

    where: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Kept:
    """One utterance that passed: the manifest's row (audio path and shard not yet final) and where its audio is."""

    utterance: Utterance
    item: RawItem
    measures: Measures


def check(item: RawItem | Problem, config: CheckConfig, reader: RefReader) -> Kept | Dropped:
    """Checks one item by itself: text, audio, level, length, rate. Never raises for what the item holds."""
    if isinstance(item, Problem):
        return Dropped(item.where, Reason.BAD_LINE, item.reason)
    try:
        text = normalise(item.text)
    except TextError as error:
        return Dropped(item.where, Reason.TEXT, str(error))
    try:
        if not item.audio.path.is_file():
            raise AudioError(f"{item.audio.path}: no such file")
        samples = reader.read(item.audio)
    except AudioError as error:
        return Dropped(item.where, _audio_reason(str(error)), str(error))
    measures = measure(samples)
    found = _out_of_bounds(measures, len(text), config)
    if found is not None:
        return Dropped(item.where, *found)
    return Kept(_utterance(item, text, measures), item, measures)


def without_duplicates(results: Iterable[Kept | Dropped]) -> Iterator[Kept | Dropped]:
    """Passes results on in their order; a second use of an id or of the same audio becomes `Dropped`."""
    ids: dict[tuple[str, str], str] = {}
    sounds: dict[str, str] = {}
    for result in results:
        if isinstance(result, Dropped):
            yield result
            continue
        identity = (result.utterance.corpus, result.utterance.id)
        if result.utterance.id and identity in ids:
            yield Dropped(result.item.where, Reason.DUPLICATE_ID, f"id {identity[1]!r} is that of {ids[identity]}")
        elif result.measures.fingerprint in sounds:
            where = sounds[result.measures.fingerprint]
            yield Dropped(result.item.where, Reason.DUPLICATE_AUDIO, f"the audio is that of {where}")
        else:
            ids[identity] = sounds[result.measures.fingerprint] = result.item.where
            yield result


def renamed(kept: Kept, **changes: Any) -> Kept:
    """The same with other values in its row, such as its split."""
    return replace(kept, utterance=replace(kept.utterance, **changes))


def _audio_reason(message: str) -> Reason:
    """Which of the reasons the audio module's message stands for."""
    for sign, reason in (
        ("is too short", Reason.TOO_SHORT),
        ("longer than the limit", Reason.TOO_LONG),
        ("the file is empty", Reason.EMPTY),
        ("no such file", Reason.MISSING_FILE),
    ):
        if sign in message:
            return reason
    return Reason.UNDECODABLE


def _out_of_bounds(measures: Measures, characters: int, config: CheckConfig) -> tuple[Reason, str] | None:
    if measures.duration_s < config.min_duration_s:
        return Reason.TOO_SHORT, f"{measures.duration_s:.2f} s, at least {config.min_duration_s:g} s"
    if measures.duration_s > config.max_duration_s:
        return Reason.TOO_LONG, f"{measures.duration_s:.1f} s, at most {config.max_duration_s:g} s"
    if measures.level_db < config.min_level_db:
        return Reason.SILENT, f"{measures.level_db:.0f} dB, at least {config.min_level_db:g} dB"
    if measures.clipped > config.max_clipped:
        return Reason.CLIPPED, f"{measures.clipped:.2%} of the samples, at most {config.max_clipped:.2%}"
    rate = characters / max(measures.speech_s, 0.02)
    if not config.min_rate <= rate <= config.max_rate:
        return Reason.RATE, f"{rate:.1f} characters a second, {config.min_rate:g} to {config.max_rate:g} are plausible"
    return None


def _utterance(item: RawItem, text: str, measures: Measures) -> Utterance:
    raw = " ".join(item.text.split())
    written = item.written or ("" if raw.lower() == text or raw.isupper() else raw)
    return Utterance(
        audio_filepath="",
        duration=round(measures.duration_s, 4),
        text=text,
        id=item.id,
        speaker=item.speaker,
        gender=item.gender,
        age=item.age,
        accent=item.accent,
        corpus=item.corpus,
        split=item.split,
        written="" if written == text else written,
        consent=item.consent,
        source=item.source,
    )
