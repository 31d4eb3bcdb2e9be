"""Whether the stability of interim results means something: how often their words stand, at each stability.

Recordings are streamed in packets as a phone would, with a glimpse after each, and every interim result is held
against the final one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.audio import Samples, packets
from asr.corpus.manifest import AudioReader, Manifest, Problem
from asr.decode import stability as st
from asr.decode.confidence import expected_calibration_error, fit_logistic, probabilities
from asr.decode.config import StabilityWeights
from asr.errors import DengarError
from asr.evaluate.halves import Half, halves
from asr.evaluate.run import RunConfig
from asr.recognize import Recognizer

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Stabilities from which a caller may want to trust words."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shown:
    """One interim result with words.

    Attributes:
        half: of its recording.
        features: as `asr.decode.stability.features`, shape (9,).
        unchanged: share of its words that stood at the same place in the one before: what stability was at first.
        words: how many it has.
        taken_back: how many of them the final result has not at the same place.
    """

    half: Half
    features: Floats
    unchanged: float
    words: int
    taken_back: int


@dataclass(frozen=True, slots=True)
class Trust:
    """What interim results are worth whose stability is at least `stability`.

    Attributes:
        stability: the threshold.
        shown: share of all interim results that reach it.
        stand: share of those all of whose words stand.
        words_taken_back: share of their words that are taken back.
    """

    stability: float
    shown: float
    stand: float
    words_taken_back: float


@dataclass(frozen=True, slots=True)
class StabilityReport:
    """How far stabilities are from the truth.

    Attributes:
        results: interim results with words.
        stand: share all of whose words stand.
        mean: of the stabilities.
        calibration_error: the expected one, over ten bins.
        bins: for each tenth that occurs: mean stability, share that stands, results.
        trust: at `THRESHOLDS`.
    """

    results: int
    stand: float
    mean: float
    calibration_error: float
    bins: tuple[tuple[float, float, int], ...]
    trust: tuple[Trust, ...]


def watch(recognizer: Recognizer, manifests: Sequence[Manifest], config: RunConfig) -> Iterator[list[Shown] | Problem]:
    """Streams the chosen items; the interim results of each, or why it cannot be heard.

    Args:
        recognizer: streams with it are watched.
        manifests: with recordings; transcripts play no part.
        config: which items, and the length of packets; every item is heard under one of the conditions, in turn.
    """
    augmenters = config.augmenters()
    for manifest in manifests:
        reader = AudioReader(manifest.root)
        side = dict(zip(map(id, manifest.utterances), halves(manifest.utterances), strict=True))
        for index, utterance in enumerate(config.chosen(manifest)):
            augmenter = augmenters[index % len(augmenters)]
            try:
                samples = reader.read(utterance)
                if augmenter is not None:
                    samples, _ = augmenter.apply(samples, utterance.id or utterance.audio_filepath)
                yield watch_one(recognizer, samples, side[id(utterance)], config.packet_ms / 1000.0)
            except DengarError as error:
                yield Problem(reader.name(utterance), str(error))


def watch_one(recognizer: Recognizer, samples: Samples, half: Half, packet_s: float) -> list[Shown]:
    """The interim results of one recording of shape (T,), after each packet where there is something new to show."""
    stream = recognizer.stream()
    seen: list[tuple[tuple[str, ...], Floats, float]] = []
    before: tuple[str, ...] = ()
    for packet in packets(samples, packet_s):
        stream.accept(packet)
        recognizer.glimpse([stream])
        partial = stream.partial()
        words = tuple(word.word for word in partial.hypothesis.words)
        if words and partial.features is not None:
            unchanged = sum(a == b for a, b in zip(words, before, strict=False)) / len(words)
            seen.append((words, partial.features, unchanged))
        before = words
    final = [word.word for word in stream.finish()[0].words]
    return [
        Shown(half, features, unchanged, len(words), _taken_back(words, final)) for words, features, unchanged in seen
    ]


def fit(shown: Sequence[Shown]) -> StabilityWeights:
    """Weights by which stabilities are the probability that all words stand, and rise as they do.

    A weight whose sign would make them fall as words stand is left out of the fit, and 0.
    """
    features = np.array([one.features for one in shown]).reshape(len(shown), 9)
    stands = np.array([one.taken_back == 0 for one in shown], np.bool_)
    kept = list(range(features.shape[1]))
    while True:
        bias, *slopes = fit_logistic(features[:, kept], stands)
        weights = dict(zip(kept, slopes, strict=True))
        wrong = [place for place, sign in st.SIGNS.items() if sign * weights.get(place, 0.0) < 0]
        if not wrong:
            return st.from_sequence([bias, *(weights.get(place, 0.0) for place in range(features.shape[1]))])
        kept = [place for place in kept if place not in wrong]


def stabilities(shown: Sequence[Shown], weights: StabilityWeights) -> Floats:
    """What the weights make of interim results, shape (N,)."""
    return probabilities(np.array([one.features for one in shown]).reshape(len(shown), 9), st.as_tuple(weights))


def report(shown: Sequence[Shown], stability: Floats) -> StabilityReport:
    """Holds stabilities (N,) against what became of the interim results."""
    stands = np.array([one.taken_back == 0 for one in shown], np.bool_)
    words = np.array([one.words for one in shown], np.int64)
    taken_back = np.array([one.taken_back for one in shown], np.int64)
    place = np.minimum((10 * stability).astype(int), 9)
    bins = tuple(
        (float(stability[place == tenth].mean()), float(stands[place == tenth].mean()), int((place == tenth).sum()))
        for tenth in range(10)
        if (place == tenth).any()
    )
    trust = []
    for threshold in THRESHOLDS:
        sure = stability >= threshold
        if sure.any():
            share = float(taken_back[sure].sum() / words[sure].sum())
            trust.append(Trust(threshold, float(sure.mean()), float(stands[sure].mean()), share))
    error = expected_calibration_error(stability, stands)
    return StabilityReport(len(shown), float(stands.mean()), float(stability.mean()), error, bins, tuple(trust))


def _taken_back(words: Sequence[str], final: Sequence[str]) -> int:
    return sum(place >= len(final) or final[place] != word for place, word in enumerate(words))
