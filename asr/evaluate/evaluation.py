"""What an evaluation says: rates overall, per slice and per word, as plain values that travel as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from asr.corpus.manifest import Problem


@dataclass(frozen=True, slots=True)
class Rate:
    """An error rate with its bootstrap interval, fractions; None where nothing can be divided or resampled."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SliceResult:
    """Rates of one slice of the test, or of the whole.

    Attributes:
        dimension: what was divided by, "all" for the whole.
        value: which slice.
        utterances: how many.
        words: in the references.
        word_errors: substitutions + deletions + insertions.
        substitutions, deletions, insertions: of words.
        wer: word errors per reference word.
        cer: character errors per reference character, spaces included.
        ser: utterances with a word error per utterance.
        error_share: this slice's part of all word errors.
        unit: what the intervals resampled, "speaker" or "utterance" (a recording, in whatever noise).
        units: how many; with few, an interval says little.
    """

    dimension: str
    value: str
    utterances: int
    words: int
    word_errors: int
    substitutions: int
    deletions: int
    insertions: int
    wer: Rate
    cer: Rate
    ser: Rate
    error_share: float
    unit: str
    units: int


@dataclass(frozen=True, slots=True)
class WordResult:
    """One word of the test.

    Attributes:
        word: as in the references or, with `count` 0, only in hypotheses.
        count: times spoken.
        hits, substitutions, deletions: what became of them.
        insertions: times heard where nothing was spoken.
        false_alarms: times heard in place of another word.
        known: whether it is in the vocabulary; None if no vocabulary was given.
    """

    word: str
    count: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    false_alarms: int
    known: bool | None = None


@dataclass(frozen=True, slots=True)
class Confusion:
    """A word heard as another, and how often."""

    reference: str
    hypothesis: str
    count: int


@dataclass(frozen=True, slots=True)
class UnknownWords:
    """Spoken words outside the vocabulary.

    Attributes:
        count: such words in the references.
        missed: of them, not recognised as spoken.
        rate: missed per count.
        utterances: that hold at least one.
    """

    count: int
    missed: int
    rate: Rate
    utterances: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Recognised words whose confidence lies in [low, high): how many, their mean confidence, how many are right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything measured on one run.

    Attributes:
        overall: the whole test.
        slices: of every dimension, in natural order.
        words: most errors first.
        confusions: most frequent first.
        unknown_words: None if no vocabulary was given.
        calibration: bins of word confidence that hold any word.
        rtf: processor seconds per second of audio, None without audio.
        audio_s: seconds of audio scored.
        failed: items that could not be recognised, with reasons; in no rate.
        left_out: manifest lines and items without transcript that were not scored, with reasons.
        settings: how the run and the intervals were made.
    """

    overall: SliceResult
    slices: tuple[SliceResult, ...]
    words: tuple[WordResult, ...]
    confusions: tuple[Confusion, ...]
    unknown_words: UnknownWords | None
    calibration: tuple[CalibrationBin, ...]
    rtf: float | None
    audio_s: float
    failed: tuple[Problem, ...] = ()
    left_out: tuple[Problem, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        value: dict[str, Any] = TypeAdapter(Evaluation).dump_python(self, mode="json")
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """Reads what `to_json` gave."""
        return TypeAdapter(Evaluation).validate_python(value)

    def summary(self, top: int = 20) -> dict[str, Any]:
        """The flat object that `dengar evaluate --json` prints: the rates first, long lists cut to `top`."""
        whole = self.overall
        rates = {"wer": whole.wer, "cer": whole.cer, "ser": whole.ser}
        full = self.to_json()
        return {
            **{name: rate.value for name, rate in rates.items()},
            "utterances": whole.utterances,
            "words": whole.words,
            "rtf": self.rtf,
            "audio_s": self.audio_s,
            "intervals": {name: [rate.low, rate.high] for name, rate in rates.items()},
            "interval_unit": whole.unit,
            **{name: full["overall"][name] for name in ("substitutions", "deletions", "insertions")},
            "slices": full["slices"],
            "worst_words": full["words"][:top],
            "confusions": full["confusions"][:top],
            "unknown_words": full["unknown_words"],
            "failed": [{"file": problem.where, "error": problem.reason} for problem in self.failed],
            "left_out": full["left_out"],
            "settings": self.settings,
        }
