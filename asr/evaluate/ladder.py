"""The bias/variance ladder of the case study: how far each step from a perfect system takes the error.

From the bottom: what a person or another system reaches, the error on the training data itself, on data held out of
them, on the test in quiet, and in the car. The gap between two rungs names a cause: bias, variance, a mismatch of
training and use, noise (Ng, "Machine learning yearning", chapters 20 to 43; DeepLearning.AI's voice-search example).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr.evaluate.evaluation import Rate
from asr.evaluate.findings import Gap, GapKind, GroupRate, Ladder, Rung, RungKind
from asr.evaluate.like_for_like import MIN_CHANGE, by_corpus, counts, difference, weights, wer
from asr.evaluate.measure import Scored, select
from asr.evaluate.slices import CLEAN, SNR_STEP_DB, NoiseCondition, noise_condition
from asr.evaluate.statistics import Resampling

NAMES: Mapping[RungKind, str] = {
    "reference": "reference",
    "train": "training error",
    "train_dev": "held-out error",
    "dev": "test in quiet",
    "car": "test in the car",
}
_MISSING: Mapping[RungKind, str] = {
    "reference": "no reference system or person was given: bias is measured from zero, which overstates it",
    "train": "the training error is missing: bias cannot be told from variance",
    "train_dev": "the held-out error on the training distribution is missing: variance cannot be told from mismatch",
    "dev": "the test in quiet is missing: mismatch cannot be told from noise",
    "car": "the test in the car is missing: nothing is known of noise",
}
_STEPS: Mapping[RungKind, GapKind] = {"train": "bias", "train_dev": "variance", "dev": "mismatch", "car": "noise"}
"""The gap that leads up to a rung."""


@dataclass(frozen=True, slots=True)
class Level:
    """One measured rung.

    Attributes:
        kind: which.
        scored: its items.
        source: the results they come from.
    """

    kind: RungKind
    scored: Scored
    source: str


def split_by_noise(scored: Scored) -> tuple[Scored, Scored]:
    """The items without added noise and those with it."""
    noisy = np.array([noise_condition(item.utterance.augmentation) is not None for item in scored.items], bool)
    return select(scored, np.flatnonzero(~noisy)), select(scored, np.flatnonzero(noisy))


def ladder(levels: Sequence[Level], references: Mapping[str, float], resampling: Resampling | None = None) -> Ladder:
    """Builds the ladder from what is known.

    Args:
        levels: measured rungs, each kind at most once; one without items counts as missing.
        references: name -> word error rate, a fraction, of persons and other systems on the test in quiet; the lowest
            is what bias is measured from.
        resampling: how intervals are drawn.
    """
    resampling = resampling or Resampling()
    known = {level.kind: level for level in levels if level.scored.items}
    given = sorted(references.items(), key=lambda entry: entry[1])
    rungs = [Rung("reference", name, Rate(value, None, None), 0, 0, "given") for name, value in given]
    missing = [] if given else [_MISSING["reference"]]
    for kind in _STEPS:
        level = known.get(kind)
        if level is None:
            missing.append(_MISSING[kind])
            rungs.append(Rung(kind, NAMES[kind], None, 0, 0, "missing"))
        else:
            rungs.append(_rung(level, resampling))
    gaps = _gaps(known, given[0] if given else ("perfect", 0.0), resampling)
    clear = [(gap.difference.value or 0.0, -index) for index, gap in enumerate(gaps) if gap.clear]
    return Ladder(tuple(rungs), tuple(gaps), -max(clear)[1] if clear else None, tuple(missing))


def _rung(level: Level, resampling: Resampling) -> Rung:
    scored = level.scored
    conditions = _conditions(scored, resampling) if level.kind == "car" else ()
    words = int(counts(scored)[1].sum())
    return Rung(
        level.kind, NAMES[level.kind], wer(scored, resampling), len(scored.items), words, level.source, conditions
    )


def _conditions(scored: Scored, resampling: Resampling) -> tuple[GroupRate, ...]:
    """The noises of a rung, by kind and from quiet to loud, signal-to-noise ratios rounded to 5 dB."""
    members: dict[tuple[str, float], list[int]] = {}
    for index, item in enumerate(scored.items):
        found = noise_condition(item.utterance.augmentation) or NoiseCondition(CLEAN, None)
        snr_db = np.inf if found.snr_db is None else round(found.snr_db / SNR_STEP_DB) * SNR_STEP_DB
        members.setdefault((found.kind, -snr_db), []).append(index)
    groups = []
    for (kind, louder), indices in sorted(members.items()):
        part = select(scored, indices)
        errors, words = counts(part)
        rate = wer(part, resampling)
        name = str(NoiseCondition(kind, None if np.isinf(louder) else -louder))
        inserted = sum(alignment.words.insertions for alignment in part.alignments)
        groups.append(GroupRate(name, len(indices), int(words.sum()), int(errors.sum()), inserted, rate))
    return tuple(groups)


def _gaps(known: Mapping[RungKind, Level], floor: tuple[str, float], resampling: Resampling) -> list[Gap]:
    gaps: list[Gap] = []
    below: Level | None = None
    causes: list[GapKind] = []
    for kind, cause in _STEPS.items():
        causes.append(cause)
        if kind not in known:
            continue
        level = known[kind]
        if below is None:
            # A reference is measured on the test, so the training error is weighed as the test is.
            test = known["dev"].scored if "dev" in known and len(causes) == 1 and floor[1] else None
            step, plain = _above(level.scored, floor[1], test, resampling)
        else:
            # A mismatch is a difference of kinds: weighing them alike would hide it.
            like = len(causes) == 1 and cause != "mismatch"
            step, plain = _between(below.scored, level.scored, resampling, like=like)
        gaps.append(
            Gap(
                causes[0] if len(causes) == 1 else "mixed",
                tuple(causes),
                NAMES[below.kind] if below else floor[0],
                NAMES[kind],
                step,
                clear=step.low is not None and step.low > 0,
                as_they_stand=plain,
                corpora=by_corpus(below.scored, level.scored, resampling) if below else (),
            )
        )
        below, causes = level, []
    return gaps


def _above(scored: Scored, floor: float, test: Scored | None, resampling: Resampling) -> tuple[Rate, float | None]:
    """How far a rate lies above a given number, with the corpora of `test` in its shares; and how far as it stands."""
    plain = _minus(wer(scored, resampling), floor)
    weight = weights(scored, test) if test is not None else None
    return _chosen(plain, None if weight is None else _minus(wer(scored, resampling, weight[0]), floor))


def _between(lower: Scored, upper: Scored, resampling: Resampling, *, like: bool) -> tuple[Rate, float | None]:
    """The difference of two sets, weighed alike if asked for; and as they stand, where that is another."""
    plain = difference(lower, upper, resampling)
    weight = weights(lower, upper) if like else None
    return _chosen(plain, None if weight is None else difference(lower, upper, resampling, weight))


def _chosen(plain: Rate, alike: Rate | None) -> tuple[Rate, float | None]:
    if alike is None or alike.value is None or plain.value is None or abs(alike.value - plain.value) < MIN_CHANGE:
        return plain, None
    return alike, plain.value


def _minus(rate: Rate, floor: float) -> Rate:
    return Rate(*(None if value is None else value - floor for value in (rate.value, rate.low, rate.high)))
