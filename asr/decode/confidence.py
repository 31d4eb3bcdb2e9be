"""Confidences as probabilities: what the search knows of a word, mapped to how often such words are right.

The raw confidence of a word orders words well but says too much or too little: it knows neither that short words are
misheard more often nor that a word held too long for its letters is. A logistic regression on few features (Platt 1999;
for recognisers, Yu et al., "Calibration of confidence measures in speech recognition", 2011) mends both, is fitted
to a few thousand words by `dengar bundle tune`, and stays readable in the bundle's ``decoder.yaml``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import astuple, replace

import numpy as np
import numpy.typing as npt

from asr.decode.config import Calibration, WordWeights
from asr.decode.types import Hypothesis, Word

Floats = npt.NDArray[np.float64]

_SURE = 1e-6  # logits are taken of probabilities no nearer to 0 and 1


def final(hypothesis: Hypothesis, calibration: Calibration, known: Collection[str] | None) -> Hypothesis:
    """The hypothesis with its confidences as probabilities that each word, and all of it, is right.

    Args:
        hypothesis: with raw confidences.
        calibration: weights.
        known: words of the language model; None if there is none, and then every word counts as known.
    """
    changed = replace(hypothesis, words=_calibrated(hypothesis.words, calibration.word, known))
    features = text_features(changed, hypothesis.confidence)[None]
    return replace(changed, confidence=float(probabilities(features, astuple(calibration.text))[0]))


def interim(words: Sequence[Word], calibration: Calibration, known: Collection[str] | None) -> tuple[Word, ...]:
    """The same for words of an interim result, which as a whole is as probable as its weakest word."""
    return _calibrated(words, calibration.interim, known)


def word_features(words: Sequence[Word], known: Collection[str] | None) -> Floats:
    """Shape (N, 4), in the order of `WordWeights` after its bias; confidences are raw."""
    rows = [_features(word, known) for word in words]
    return np.array(rows, np.float64).reshape(-1, 4)


def text_features(hypothesis: Hypothesis, raw: float) -> Floats:
    """Shape (3,), in the order of `TextWeights` after its bias; `hypothesis` has calibrated words, `raw` is its own."""
    weakest = min((word.confidence for word in hypothesis.words), default=0.5)
    return np.array([_logit(raw), np.log1p(len(hypothesis.words)), _logit(weakest)])


def fit_logistic(features: Floats, right: npt.NDArray[np.bool_], *, ridge: float = 1.0) -> tuple[float, ...]:
    """Logistic regression by Newton's method.

    The loss is the negative log-likelihood plus ``ridge / 2`` times the sum of the squared weights, each times its
    feature's standard deviation; a feature that never varies gets no weight.

    Args:
        features: shape (N, F).
        right: shape (N,).
        ridge: strength of the penalty, which the bias does not bear; keeps weights finite where a feature decides.

    Returns:
        The bias and F weights; zeros if there is nothing to fit to.
    """
    count, width = len(features), int(features.shape[1])
    if not count:
        return (0.0,) * (width + 1)
    centre, scale = features.mean(axis=0), features.std(axis=0)
    varies = scale > 1e-9
    scale = np.where(varies, scale, 1.0)
    x = np.hstack([np.ones((count, 1)), np.where(varies, (features - centre) / scale, 0.0)])
    # One of each outcome, spread over all rows, keeps the bias finite where all words are right or wrong (Platt 1999).
    target = (right + 1.0 / count) / (1.0 + 2.0 / count)
    penalty = np.diag([0.0, *[ridge] * width])
    weights = np.zeros(width + 1)
    for _ in range(100):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - target) + penalty @ weights
        step = np.linalg.solve((x * (p * (1.0 - p))[:, None]).T @ x + penalty + 1e-9 * np.eye(width + 1), gradient)
        # Far from the optimum Newton's step overshoots; a bounded one gets there.
        weights -= step * min(1.0, 4.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    slopes = weights[1:] / scale
    return tuple(map(float, [weights[0] - slopes @ centre, *slopes]))


def probabilities(features: Floats, weights: Sequence[float]) -> Floats:
    """Of being right, shape (N,), from features (N, F) and the bias and F weights."""
    return _sigmoid(features @ np.array(weights[1:]) + weights[0])


def expected_calibration_error(probability: Floats, right: npt.NDArray[np.bool_], *, bins: int = 10) -> float:
    """The mean of abs(share right - mean probability) over equal bins by their sizes (Guo et al. 2017); 0 of none."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.abs(np.bincount(place, right.astype(float) - probability, bins))
    return float(gap.sum() / max(1, len(probability)))


def _features(word: Word, known: Collection[str] | None) -> tuple[float, float, float, float]:
    letters = len(word.word)
    pace = math.log((word.end_s - word.start_s) / letters)
    return _logit(word.confidence), math.log(letters), pace, float(known is not None and word.word not in known)


def _calibrated(words: Sequence[Word], weights: WordWeights, known: Collection[str] | None) -> tuple[Word, ...]:
    """Word by word, so that the last digit does not depend on how many there are."""
    slopes = weights.posterior, weights.letters, weights.pace, weights.unknown
    found: list[Word] = []
    for word in words:
        odds = weights.bias + math.fsum(
            slope * value for slope, value in zip(slopes, _features(word, known), strict=True)
        )
        found.append(Word(word.word, word.start_s, word.end_s, 0.5 * (1.0 + math.tanh(0.5 * odds))))
    return tuple(found)


def _sigmoid(x: Floats) -> Floats:
    p: Floats = 0.5 * (1.0 + np.tanh(0.5 * x))
    return p


def _logit(p: float) -> float:
    p = min(max(p, _SURE), 1.0 - _SURE)
    return math.log(p) - math.log1p(-p)
