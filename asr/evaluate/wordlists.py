"""Which words go wrong, and how sure the model was: lists over the spelling-aware alignments of a test."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from asr.evaluate.differences import wilson
from asr.evaluate.evaluation import CalibrationBin, Rate
from asr.evaluate.findings import Calibration, ConfusionFinding, Step, WordFinding
from asr.evaluate.measure import CALIBRATION_BINS, Scored, confidence_bin, units_of, word_confidences
from asr.evaluate.names import Names
from asr.evaluate.statistics import Resampling, percentiles, replicates, sum_by_unit

Alignments = Sequence[tuple[Step, ...]]

HEARD_SHOWN = 5


def missed_words(
    alignments: Alignments, *, vocabulary: Collection[str] | None = None, names: Names | None = None
) -> tuple[WordFinding, ...]:
    """Every word that was missed at least once, most often missed first; a group of words is missed as a whole."""
    spoken: Counter[str] = Counter()
    heard_as: dict[str, Counter[str]] = defaultdict(Counter)
    for step in _steps(alignments):
        words = step.reference.split()
        spoken.update(words)
        if step.kind != "hit":
            for word in words:
                heard_as[word][step.hypothesis] += 1
    named = _named(alignments, names)
    found = [
        WordFinding(
            word,
            spoken[word],
            heard.total(),
            wilson(heard.total(), spoken[word]),
            None if vocabulary is None else word in vocabulary,
            word in named,
            tuple(sorted(heard.items(), key=lambda entry: (-entry[1], entry[0]))[:HEARD_SHOWN]),
        )
        for word, heard in heard_as.items()
    ]
    return tuple(sorted(found, key=lambda w: (-w.errors, w.count, w.word)))


def inserted_words(
    alignments: Alignments, *, vocabulary: Collection[str] | None = None, names: Names | None = None
) -> tuple[WordFinding, ...]:
    """Every word that was made up at least once, most often first."""
    heard: Counter[str] = Counter()
    made_up: Counter[str] = Counter()
    for step in _steps(alignments):
        heard.update(step.hypothesis.split())
        if step.kind == "insertion":
            made_up[step.hypothesis] += 1
    found = [
        WordFinding(
            word,
            heard[word],
            count,
            wilson(count, heard[word]),
            None if vocabulary is None else word in vocabulary,
            names is not None and names.marks([word])[0],
        )
        for word, count in made_up.items()
    ]
    return tuple(sorted(found, key=lambda w: (-w.errors, w.count, w.word)))


def confusion_pairs(alignments: Alignments) -> tuple[ConfusionFinding, ...]:
    """Words heard as others, most frequent first."""
    pairs: Counter[Step] = Counter()
    spoken: Counter[tuple[str, ...]] = Counter()
    for steps in alignments:
        pairs.update(step for step in steps if step.kind != "hit" and step.reference and step.hypothesis)
    sizes = {len(pair.reference.split()) for pair in pairs}
    for steps in alignments:
        words = [word for step in steps for word in step.reference.split()]
        for size in sizes:
            spoken.update(tuple(words[start : start + size]) for start in range(len(words) - size + 1))
    found = []
    for pair, count in pairs.items():
        total = spoken[tuple(pair.reference.split())]
        found.append(ConfusionFinding(pair.kind, pair.reference, pair.hypothesis, count, total, wilson(count, total)))
    return tuple(sorted(found, key=lambda c: (-c.count, c.spoken, c.reference, c.hypothesis)))


def calibration(scored: Scored, bins: tuple[CalibrationBin, ...], resampling: Resampling) -> Calibration:
    """Reliability of word confidences; `bins` are the evaluation's."""
    item, confidence, right = word_confidences(scored)
    if not len(confidence):
        return Calibration((), 0, Rate(None, None, None), None, None)
    table = np.zeros((len(scored.items), CALIBRATION_BINS + 1))
    np.add.at(table, (item, confidence_bin(confidence)), right - confidence)
    np.add.at(table[:, -1], item, 1.0)
    sums = sum_by_unit(table, units_of(scored.items)[0])
    low: float | None = None
    high: float | None = None
    if len(sums) > 1:
        drawn = [np.abs(draw[:, :-1]).sum(1) / np.maximum(draw[:, -1], 1.0) for draw in replicates(sums, resampling)]
        low, high = percentiles(np.concatenate(drawn)[:, None], resampling.level)[0].tolist()
    ece = float(np.abs(table[:, :-1].sum(0)).sum() / len(confidence))
    return Calibration(bins, len(confidence), Rate(ece, low, high), float(confidence.mean()), float(right.mean()))


def _steps(alignments: Alignments) -> list[Step]:
    return [step for steps in alignments for step in steps]


def _named(alignments: Alignments, names: Names | None) -> set[str]:
    """Words that stand as a name, or a part of one, anywhere in the references."""
    found: set[str] = set()
    if names is not None:
        for steps in alignments:
            words = [word for step in steps for word in step.reference.split()]
            found.update(word for word, mark in zip(words, names.marks(words), strict=True) if mark)
    return found
