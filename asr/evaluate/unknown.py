"""How well unknown words are found, with the truth known: words of references that the lexicon lacks.

The truth is the reference aligned to the frames (`asr.evaluate.forced_alignment`). A reference word is unknown if
neither it nor, of a possessive, its stem is in the lexicon. A span finds it if the two share half of the word's time
or half of the span's; a span that finds none is false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from asr.corpus.manifest import Problem
from asr.decode import Decoder, Hypothesis, Word
from asr.decode.confidence import expected_calibration_error, probabilities
from asr.decode.types import LogProbs
from asr.errors import DengarError
from asr.evaluate.forced_alignment import align_words
from asr.evaluate.heard import Heard
from asr.unknown.config import EvidenceWeights, SpanWeights, UnknownConfig
from asr.unknown.evidence import FEATURES, Floats, Unit, evidence, knows, units
from asr.unknown.find import cover, span_features
from asr.unknown.spell import letters_of

Bools = npt.NDArray[np.bool_]
Source = Literal["emissions", "best"]

BEST_ONLY = (
    "doubt",
    "spelled",
    "surprise",
    "surprise_next",
    "opening",
    "rarity",
    "neighbours_doubt",
    "others_doubt",
    "length",
)
"""Features of the baseline, which sees the best hypothesis alone: no posteriors, no spelled reading."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One utterance, examined.

    Attributes:
        text: the reference.
        corpus: it belongs to.
        log_probs: posteriors, shape (T, V).
        hypothesis: the best.
        units: its words with their frames.
        features: (N, F) of the units, see `asr.unknown.evidence`.
        words: of the reference, with times.
        unknown: those of them that the lexicon lacks.
        labels: (N,) whether a unit stands for one of them.
    """

    text: str
    corpus: str
    log_probs: LogProbs
    hypothesis: Hypothesis
    units: tuple[Unit, ...]
    features: Floats
    words: tuple[Word, ...]
    unknown: tuple[Word, ...]
    labels: Bools


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it is scored: which sample and units, its score, and which unknown words of the reference it finds."""

    sample: int
    first: int
    last: int
    score: float
    finds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One threshold of the curve.

    Attributes:
        threshold: spans with this score or more count.
        spans: that count.
        precision: share of them that find an unknown word.
        recall: share of the unknown words that are found.
        false_per_100: false spans in 100 utterances.
    """

    threshold: float
    spans: int
    precision: float
    recall: float
    false_per_100: float


def prepare(
    heard: Iterable[Heard], decoder: Decoder, report: Callable[[], None] = lambda: None
) -> tuple[list[Sample], list[Problem]]:
    """Decodes and examines utterances; those whose reference cannot be aligned are left out and named."""
    samples: list[Sample] = []
    problems: list[Problem] = []
    for number, item in enumerate(heard):
        try:
            samples.append(_examine(item, decoder))
        except DengarError as error:
            problems.append(Problem(f"{item.corpus}, item {number + 1}: {item.text[:40]!r}", str(error)))
        report()
    return samples, problems


def _examine(item: Heard, decoder: Decoder) -> Sample:
    log_probs = item.log_probs.astype(np.float32)
    hypothesis = decoder.decode(log_probs)[0]
    found = units(log_probs, hypothesis.words, decoder.tokens, decoder.frame_s)
    truth = align_words(log_probs, item.text, decoder.tokens, decoder.frame_s)
    unknown = tuple(word for word in truth if not knows(word.word, decoder))
    labels = np.array([any(_meet(*_times(unit, decoder), word) for word in unknown) for unit in found], np.bool_)
    features = evidence(log_probs, found, decoder, letters_of(decoder))
    return Sample(item.text, item.corpus, log_probs, hypothesis, tuple(found), features, truth, unknown, labels)


def spans(samples: Sequence[Sample], config: UnknownConfig, frame_s: float) -> list[Span]:
    """What `asr.unknown.find_unknown` finds, whatever the threshold, without the spellings."""
    found: list[Span] = []
    for number, sample in enumerate(samples):
        scores = probabilities(sample.features, astuple(config.evidence))
        for first, last in cover(scores, config):
            score = float(probabilities(span_features(scores[first:last])[None], astuple(config.span))[0])
            start_s, end_s = _extent(sample.units[first:last], frame_s)
            finds = tuple(place for place, word in enumerate(sample.unknown) if _meet(start_s, end_s, word))
            found.append(Span(number, first, last, score, finds))
    return found


def curve(samples: Sequence[Sample], found: Sequence[Span], thresholds: Sequence[float]) -> list[Point]:
    """Precision and recall at each threshold."""
    words = sum(len(sample.unknown) for sample in samples)
    points = []
    for threshold in thresholds:
        kept = [span for span in found if span.score >= threshold]
        true = sum(bool(span.finds) for span in kept)
        got = {(span.sample, place) for span in kept for place in span.finds}
        points.append(
            Point(
                threshold=threshold,
                spans=len(kept),
                precision=true / len(kept) if kept else 1.0,
                recall=len(got) / max(1, words),
                false_per_100=100 * (len(kept) - true) / max(1, len(samples)),
            )
        )
    return points


def average_precision(samples: Sequence[Sample], found: Sequence[Span]) -> float:
    """The area below the curve of precision over recall, by its steps."""
    words = max(1, sum(len(sample.unknown) for sample in samples))
    got: set[tuple[int, int]] = set()
    area, true = 0.0, 0
    for rank, span in enumerate(sorted(found, key=lambda span: -span.score), start=1):
        true += bool(span.finds)
        new = {(span.sample, place) for place in span.finds} - got
        area += len(new) * true / rank
        got |= new
    return area / words


def calibration_error(found: Sequence[Span]) -> float:
    """The expected calibration error of the spans' scores."""
    return expected_calibration_error(
        np.array([span.score for span in found]), np.array([bool(span.finds) for span in found], np.bool_)
    )


def only(columns: Sequence[str], features: Floats) -> Floats:
    """The features with all other columns 0."""
    return features * np.array([name in columns for name in FEATURES], np.float64)


def weights_of(values: Sequence[float]) -> EvidenceWeights:
    """Weights from the bias and one for each of `FEATURES`."""
    rounded = [round(value, 4) for value in values]
    return EvidenceWeights(**dict(zip(("bias", *FEATURES), rounded, strict=True)))


def span_weights_of(values: Sequence[float]) -> SpanWeights:
    """The same for spans."""
    return SpanWeights(*(round(value, 4) for value in values))


def _times(unit: Unit, decoder: Decoder) -> tuple[float, float]:
    return _extent([unit], decoder.frame_s)


def _extent(found: Sequence[Unit], frame_s: float) -> tuple[float, float]:
    """From the start of the first word to the end of the last."""
    first, last = found[0].word, found[-1].word
    if first is None or last is None:
        return found[0].first * frame_s, found[-1].last * frame_s
    return first.start_s, last.end_s


def _meet(start_s: float, end_s: float, word: Word) -> bool:
    shared = min(end_s, word.end_s) - max(start_s, word.start_s)
    return shared > 0 and shared >= 0.5 * min(end_s - start_s, word.end_s - word.start_s)
