"""Fits the weights of the search for unknown words to one half of the utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np

from asr.decode.confidence import fit_logistic, probabilities
from asr.evaluate.unknown import (
    Sample,
    Span,
    average_precision,
    curve,
    only,
    span_weights_of,
    spans,
    weights_of,
)
from asr.unknown.config import UnknownConfig
from asr.unknown.evidence import FEATURES
from asr.unknown.find import span_features

_STEPS = (0.05, 0.1, 0.15, 0.2)
GRID = tuple((seed, join) for seed in _STEPS for join in _STEPS if join <= seed)
"""Probabilities from which a span begins, and from which words join it."""


def fit(samples: Sequence[Sample], frame_s: float, columns: Sequence[str] = FEATURES) -> UnknownConfig:
    """Weights of words by logistic regression, `seed` and `join` by average precision, then weights of spans.

    Args:
        samples: the tuning half.
        frame_s: seconds from one frame to the next.
        columns: features that may be used; the others' weights are 0.
    """
    features = only(columns, np.concatenate([sample.features for sample in samples]))
    labels = np.concatenate([sample.labels for sample in samples])
    config = replace(UnknownConfig(), evidence=weights_of(fit_logistic(features, labels)), threshold=0.0)
    best, chosen = -1.0, config
    for seed, join in GRID:
        tried = fit_spans(samples, replace(config, seed=seed, join=join), frame_s)
        precision = average_precision(samples, spans(samples, tried, frame_s))
        if precision > best:
            best, chosen = precision, tried
    return chosen


def fit_spans(samples: Sequence[Sample], config: UnknownConfig, frame_s: float) -> UnknownConfig:
    """The same with weights of spans, by logistic regression on whether they find an unknown word."""
    found = spans(samples, config, frame_s)
    rows = [_features(samples[span.sample], span, config) for span in found]
    right = np.array([bool(span.finds) for span in found], np.bool_)
    return replace(config, span=span_weights_of(fit_logistic(np.array(rows).reshape(-1, 3), right)))


def best_threshold(samples: Sequence[Sample], found: Sequence[Span]) -> float:
    """The score, in steps of 0.05, from which on precision and recall have the highest harmonic mean."""
    points = curve(samples, found, [step / 20 for step in range(1, 20)])
    best = max(points, key=lambda point: point.precision * point.recall / max(1e-9, point.precision + point.recall))
    return best.threshold


def _features(sample: Sample, span: Span, config: UnknownConfig) -> np.ndarray:
    scores = probabilities(sample.features, astuple(config.evidence))
    return span_features(scores[span.first : span.last])
