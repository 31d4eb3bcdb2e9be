"""From results to an evaluation: align, count, divide, resample."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asr.corpus.manifest import Problem
from asr.evaluate.align import Alignment, align
from asr.evaluate.evaluation import (
    CalibrationBin,
    Confusion,
    Evaluation,
    Rate,
    SliceResult,
    UnknownWords,
    WordResult,
)
from asr.evaluate.results import Results, ScoredUtterance
from asr.evaluate.slices import has_unknown_word, slices
from asr.evaluate.statistics import Floats, Integers, Resampling, intervals, units

CALIBRATION_BINS = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """The items of a run that count, aligned.

    Attributes:
        items: with a transcript and without error.
        alignments: of each.
        failed, left_out: the others, with reasons.
    """

    items: tuple[ScoredUtterance, ...]
    alignments: tuple[Alignment, ...]
    failed: tuple[Problem, ...]
    left_out: tuple[Problem, ...]


def score(results: Results) -> Scored:
    """Aligns every item that can be scored; the others are kept with the reason."""
    failed = tuple(Problem(item.key, item.error) for item in results.items if item.error is not None)
    heard = [item for item in results.items if item.error is None]
    silent = tuple(Problem(item.key, "has no transcript to compare with") for item in heard if not _reference(item))
    kept = tuple(item for item in heard if _reference(item))
    alignments = align([_reference(item) for item in kept], [item.hypothesis for item in kept])
    return Scored(kept, tuple(alignments), failed, (*results.left_out, *silent))


def select(scored: Scored, indices: Sequence[int] | Integers) -> Scored:
    """Some of the items, in the order of `indices`, without the problems."""
    return Scored(tuple(scored.items[i] for i in indices), tuple(scored.alignments[i] for i in indices), (), ())


def evaluate(
    results: Results, *, vocabulary: Collection[str] | None = None, resampling: Resampling | None = None
) -> Evaluation:
    """Measures one run.

    Args:
        results: what was heard; items that failed or have no transcript are reported, not scored.
        vocabulary: known words, for the slices and rates of unknown ones.
        resampling: how intervals are drawn.
    """
    return measure(score(results), results.settings, vocabulary=vocabulary, resampling=resampling)


def measure(
    scored: Scored,
    settings: Mapping[str, Any],
    *,
    vocabulary: Collection[str] | None = None,
    resampling: Resampling | None = None,
) -> Evaluation:
    """As `evaluate`, of items that are aligned already; `settings` say how the run was made."""
    resampling = resampling or Resampling()
    every = np.arange(len(scored.items))
    total = sum(alignment.words.errors for alignment in scored.alignments)
    utterances = [item.utterance for item in scored.items]
    parts = [
        _slice(scored, (dimension, value), indices, total, resampling)
        for dimension, members in slices(utterances, vocabulary).items()
        for value, indices in members.items()
    ]
    audio_s = float(sum(item.audio_s for item in scored.items))
    return Evaluation(
        overall=_slice(scored, ("all", "all"), every, total, resampling),
        slices=tuple(parts),
        words=_words(scored.alignments, vocabulary),
        confusions=_confusions(scored.alignments),
        unknown_words=_unknown_words(scored, vocabulary, resampling) if vocabulary is not None else None,
        calibration=_calibration(scored),
        rtf=sum(item.processor_s for item in scored.items) / audio_s if audio_s else None,
        audio_s=audio_s,
        failed=scored.failed,
        left_out=scored.left_out,
        settings={**settings, "resampling": asdict(resampling)},
    )


def units_of(items: Sequence[ScoredUtterance]) -> tuple[Integers, str]:
    """Units of resampling of these items; see `asr.evaluate.statistics.units`."""
    return units([item.utterance.speaker for item in items], [item.item for item in items])


def _reference(item: ScoredUtterance) -> str:
    return " ".join(item.utterance.text.split())


def rates(
    errors: Sequence[Sequence[float]], totals: Sequence[Sequence[float]], unit: Integers, resampling: Resampling
) -> list[Rate]:
    """Rates with bootstrap intervals from K lists of per-utterance errors and totals; `unit` as `units_of` gives it."""
    columns, below = np.array(errors, np.float64).T, np.array(totals, np.float64).T
    if not len(columns):
        return [Rate(None, None, None) for _ in errors]
    bounds = intervals(columns, below, unit, resampling)
    values = np.divide(columns.sum(0), below.sum(0), out=np.full(len(bounds), np.nan), where=below.sum(0) > 0)
    known = [[None if np.isnan(x) else float(x) for x in row] for row in np.column_stack([values, bounds])]
    return [Rate(value, low, high) for value, low, high in known]


def _slice(scored: Scored, name: tuple[str, str], indices: Integers, total: int, resampling: Resampling) -> SliceResult:
    alignments = [scored.alignments[index] for index in indices]
    words, characters = [a.words for a in alignments], [a.characters for a in alignments]
    unit, kind = units_of([scored.items[index] for index in indices])
    wer, cer, ser = rates(
        [[c.errors for c in words], [c.errors for c in characters], [c.errors > 0 for c in words]],
        [[c.length for c in words], [c.length for c in characters], [1 for _ in words]],
        unit,
        resampling,
    )
    errors = sum(c.errors for c in words)
    return SliceResult(
        dimension=name[0],
        value=name[1],
        utterances=len(alignments),
        words=sum(c.length for c in words),
        word_errors=errors,
        substitutions=sum(c.substitutions for c in words),
        deletions=sum(c.deletions for c in words),
        insertions=sum(c.insertions for c in words),
        wer=wer,
        cer=cer,
        ser=ser,
        error_share=errors / total if total else 0.0,
        unit=kind,
        units=int(unit.max(initial=-1)) + 1,
    )


def _words(alignments: Sequence[Alignment], vocabulary: Collection[str] | None) -> tuple[WordResult, ...]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for alignment in alignments:
        for spoken, heard in alignment.pairs:
            if spoken:
                counts[spoken]["hits" if spoken == heard else "substitutions" if heard else "deletions"] += 1
            if heard and heard != spoken:
                counts[heard]["false_alarms" if spoken else "insertions"] += 1
    found = [
        WordResult(
            word,
            count=count["hits"] + count["substitutions"] + count["deletions"],
            hits=count["hits"],
            substitutions=count["substitutions"],
            deletions=count["deletions"],
            insertions=count["insertions"],
            false_alarms=count["false_alarms"],
            known=None if vocabulary is None else word in vocabulary,
        )
        for word, count in counts.items()
    ]
    return tuple(sorted(found, key=lambda w: (-(w.substitutions + w.deletions), -w.insertions, w.word)))


def _confusions(alignments: Sequence[Alignment]) -> tuple[Confusion, ...]:
    pairs = Counter(pair for a in alignments for pair in a.pairs if all(pair) and pair[0] != pair[1])
    ranked = sorted(pairs.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Confusion(spoken, heard, count) for (spoken, heard), count in ranked)


def _unknown_words(scored: Scored, vocabulary: Collection[str], resampling: Resampling) -> UnknownWords:
    count, missed = [], []
    for alignment in scored.alignments:
        unknown = [(spoken, heard) for spoken, heard in alignment.pairs if spoken and spoken not in vocabulary]
        count.append(len(unknown))
        missed.append(sum(spoken != heard for spoken, heard in unknown))
    (rate,) = rates([missed], [count], units_of(scored.items)[0], resampling)
    utterances = sum(has_unknown_word(item.utterance.text, vocabulary) for item in scored.items)
    return UnknownWords(sum(count), sum(missed), rate, utterances)


def word_confidences(scored: Scored) -> tuple[Integers, Floats, Floats]:
    """Every recognised word's item, confidence and whether it is right (0 or 1), each of shape (words,).

    Items whose word list is not their text (none given) say nothing.
    """
    index: list[int] = []
    confidences: list[float] = []
    right: list[bool] = []
    for number, (item, alignment) in enumerate(zip(scored.items, scored.alignments, strict=True)):
        heard = [(spoken, said) for spoken, said in alignment.pairs if said]
        if [word.word for word in item.words] == [said for _, said in heard]:
            confidences.extend(word.confidence for word in item.words)
            right.extend(spoken == said for spoken, said in heard)
            index.extend([number] * len(heard))
    return np.array(index, np.int64), np.array(confidences, np.float64), np.array(right, np.float64)


def confidence_bin(confidence: Floats) -> Integers:
    """The calibration bin of each confidence: `CALIBRATION_BINS` of equal width."""
    bins: Integers = np.clip((confidence * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    return bins


def _calibration(scored: Scored) -> tuple[CalibrationBin, ...]:
    _, values, correct = word_confidences(scored)
    index = confidence_bin(values)
    return tuple(
        CalibrationBin(
            bin_ / CALIBRATION_BINS,
            (bin_ + 1) / CALIBRATION_BINS,
            int((index == bin_).sum()),
            float(values[index == bin_].mean()),
            float(correct[index == bin_].mean()),
        )
        for bin_ in np.unique(index).tolist()
    )
