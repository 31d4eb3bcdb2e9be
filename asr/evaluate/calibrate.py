"""Fits the calibration of confidences to what a decoder got right, and measures it on other utterances."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np
import numpy.typing as npt

from asr.decode import Calibration, Hypothesis
from asr.decode import confidence as conf
from asr.decode.config import TextWeights, WordWeights
from asr.evaluate.heard import Heard

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Reliability:
    """How far confidences are from the truth.

    Attributes:
        words: recognised words.
        accuracy: share of them that is right.
        confidence: their mean confidence.
        word_ece: expected calibration error of words.
        text_accuracy: share of the texts that is wholly right.
        text_ece: expected calibration error of whole texts.
    """

    words: int
    accuracy: float
    confidence: float
    word_ece: float
    text_accuracy: float
    text_ece: float


def words_right(heard: Sequence[Heard], hypotheses: Sequence[Hypothesis]) -> Bools:
    """For every recognised word, in order, whether the alignment with least errors matches it."""
    right: list[bool] = []
    for item, hypothesis in zip(heard, hypotheses, strict=True):
        marks = [False] * len(hypothesis.words)
        if marks:
            for chunk in jiwer.process_words(item.text, hypothesis.text).alignments[0]:
                if chunk.type == "equal":
                    marks[chunk.hyp_start_idx : chunk.hyp_end_idx] = [True] * (chunk.hyp_end_idx - chunk.hyp_start_idx)
        right += marks
    return np.array(right, np.bool_)


def texts_right(heard: Sequence[Heard], hypotheses: Sequence[Hypothesis]) -> Bools:
    """For every utterance whether the whole text is right."""
    return np.array([i.text == h.text for i, h in zip(heard, hypotheses, strict=True)], np.bool_)


def fit(
    heard: Sequence[Heard],
    final: Sequence[Hypothesis],
    interim: Sequence[Hypothesis],
    known: frozenset[str] | None,
) -> Calibration:
    """Fits all weights.

    Args:
        heard: utterances; figures are to be reported on others.
        final: their final results, with raw confidences.
        interim: their last interim results, likewise.
        known: words of the language model, None without one.
    """
    word, last = (_fit_words(heard, found, known) for found in (final, interim))
    calibration = Calibration(word, last, TextWeights(0.0, 0.0, 0.0, 0.0))
    changed = [conf.final(hypothesis, calibration, known) for hypothesis in final]
    rows = [conf.text_features(new, raw.confidence) for new, raw in zip(changed, final, strict=True)]
    text = TextWeights(*conf.fit_logistic(np.array(rows).reshape(-1, 3), texts_right(heard, final)))
    return dataclasses.replace(calibration, text=text)


def reliability(heard: Sequence[Heard], hypotheses: Sequence[Hypothesis]) -> Reliability:
    """Of the confidences as they stand."""
    words = np.array([word.confidence for hypothesis in hypotheses for word in hypothesis.words])
    texts = np.array([hypothesis.confidence for hypothesis in hypotheses])
    right, whole = words_right(heard, hypotheses), texts_right(heard, hypotheses)
    return Reliability(
        words=len(words),
        accuracy=float(right.mean()) if len(words) else 0.0,
        confidence=float(words.mean()) if len(words) else 0.0,
        word_ece=conf.expected_calibration_error(words, right),
        text_accuracy=float(whole.mean()) if len(texts) else 0.0,
        text_ece=conf.expected_calibration_error(texts, whole),
    )


def _fit_words(heard: Sequence[Heard], hypotheses: Sequence[Hypothesis], known: frozenset[str] | None) -> WordWeights:
    features = np.concatenate([np.zeros((0, 4)), *(conf.word_features(h.words, known) for h in hypotheses)])
    return WordWeights(*conf.fit_logistic(features, words_right(heard, hypotheses)))
