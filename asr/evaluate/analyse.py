"""From results to findings: everything that `dengar report` says, computed in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from asr.evaluate.advice import advise
from asr.evaluate.breakdowns import breakdowns
from asr.evaluate.differences import group_p
from asr.evaluate.evaluation import Evaluation
from asr.evaluate.fairness import GROUPED_BY, fairness
from asr.evaluate.findings import Findings, ReadUtterance, SliceFinding, Step
from asr.evaluate.ladder import Level, ladder, split_by_noise
from asr.evaluate.measure import Scored, measure, score, units_of
from asr.evaluate.names import Names
from asr.evaluate.reading import read_alignment
from asr.evaluate.results import Results
from asr.evaluate.slices import CLEAN, noise_condition, slices
from asr.evaluate.statistics import MIN_UNITS, Integers, Resampling
from asr.evaluate.wordlists import calibration, confusion_pairs, inserted_words, missed_words


def analyse(
    results: Results,
    *,
    vocabulary: Collection[str] | None = None,
    names: Names | None = None,
    train: Results | None = None,
    train_dev: Results | None = None,
    car: Results | None = None,
    references: Mapping[str, float] | None = None,
    resampling: Resampling | None = None,
) -> Findings:
    """Finds out how good a run is, where it errs, why, and what to do.

    Args:
        results: the run; its items without added noise are the ladder's rung "dev".
        vocabulary: known words.
        names: what a name is.
        train: the same model on data that it was trained on.
        train_dev: on data held out of those.
        car: on a test in the car; by default the items of `results` with added noise.
        references: name -> word error rate (a fraction) of persons or other systems on the test in quiet.
        resampling: how intervals and p-values are drawn.
    """
    resampling = resampling or Resampling()
    vocabulary = frozenset(vocabulary) if vocabulary is not None else None
    scored = score(results)
    evaluation = measure(scored, results.settings, vocabulary=vocabulary, resampling=resampling)
    alignments = [read_alignment(i.utterance.text, i.hypothesis) for i in scored.items]
    quiet, noisy = split_by_noise(scored)
    levels = [
        Level("dev", quiet, "results"),
        Level("car", score(car) if car else noisy, "car" if car else "results"),
    ]
    levels += [Level("train", score(train), "train")] if train else []
    levels += [Level("train_dev", score(train_dev), "train-dev")] if train_dev else []
    findings = Findings(
        evaluation=evaluation,
        slices=worst_slices(scored, evaluation, vocabulary, resampling),
        utterances=_utterances(results, scored, alignments),
        steps=dict(Counter(step.kind for steps in alignments for step in steps)),
        confusions=confusion_pairs(alignments),
        missed=missed_words(alignments, vocabulary=vocabulary, names=names),
        inserted=inserted_words(alignments, vocabulary=vocabulary, names=names),
        breakdowns=breakdowns(scored, vocabulary=vocabulary, names=names, resampling=resampling),
        calibration=calibration(scored, evaluation.calibration, resampling),
        ladder=ladder(levels, references or {}, resampling),
        fairness=fairness(scored, resampling),
    )
    return replace(findings, advice=advise(findings))


def worst_slices(
    scored: Scored, evaluation: Evaluation, vocabulary: Collection[str] | None, resampling: Resampling
) -> tuple[SliceFinding, ...]:
    """The slices of dimensions that divide the test, and what each costs it; worst first, small ones at the end."""
    whole = evaluation.overall
    members = slices([item.utterance for item in scored.items], vocabulary)
    found = []
    for part in evaluation.slices:
        if len(members[part.dimension]) < 2:
            continue
        rest_words = whole.words - part.words
        rest_wer = (whole.word_errors - part.word_errors) / rest_words if rest_words else None
        saved = 0.0 if rest_wer is None else max(0.0, part.word_errors - rest_wer * part.words)
        p_value = None
        if part.dimension != "speaker":
            p_value = _slice_p(scored, members[part.dimension][part.value], resampling)
        wer_if_fixed = (whole.word_errors - saved) / whole.words
        only_in = _only_corpus(scored, members[part.dimension][part.value]) if part.dimension in GROUPED_BY else ""
        found.append(SliceFinding(part, rest_wer, wer_if_fixed, saved, p_value, part.units >= MIN_UNITS, only_in))
    return tuple(sorted(found, key=lambda s: (not s.enough, -(s.result.wer.value or 0.0), s.result.value)))


def _only_corpus(scored: Scored, indices: Integers) -> str:
    """The corpus of all these items, if the test has others; else ""."""
    whole = {item.utterance.corpus for item in scored.items}
    own = {scored.items[index].utterance.corpus for index in indices}
    return own.pop() if len(own) == 1 < len(whole) else ""


def _slice_p(scored: Scored, indices: Integers, resampling: Resampling) -> float | None:
    """Whether a slice differs from the rest; None with too few units on a side or units on both."""
    unit, _ = units_of(scored.items)
    inside = np.zeros(len(unit), bool)
    inside[indices] = True
    left, right = set(unit[inside].tolist()), set(unit[~inside].tolist())
    if min(len(left), len(right)) < MIN_UNITS or left & right:
        return None
    words = [alignment.words for alignment in scored.alignments]
    errors, totals = (np.array(v, np.float64) for v in ([c.errors for c in words], [c.length for c in words]))
    return group_p(errors, totals, unit, inside, resampling)


def _utterances(results: Results, scored: Scored, alignments: Sequence[tuple[Step, ...]]) -> tuple[ReadUtterance, ...]:
    place = {id(item): index for index, item in enumerate(results.items)}
    found = []
    for item, counted, steps in zip(scored.items, scored.alignments, alignments, strict=True):
        utterance = item.utterance
        noise = noise_condition(utterance.augmentation)
        found.append(
            ReadUtterance(
                index=place[id(item)],
                key=item.key,
                corpus=utterance.corpus,
                speaker=utterance.speaker,
                gender=utterance.gender,
                age=utterance.age,
                accent=utterance.accent,
                condition=CLEAN if noise is None else str(noise),
                duration_s=utterance.duration,
                confidence=item.confidence,
                words=counted.words.length,
                errors=counted.words.errors,
                read_errors=sum(step.kind != "hit" for step in steps),
                steps=steps,
            )
        )
    return tuple(sorted(found, key=lambda u: (-u.errors, -u.errors / u.words, u.key)))
